"""What the memory of each server is made of, and its KV cache: reserved, assigned, used."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes

from heavyweight.figures.canvas import GREY, INK, OVER_BLOCKS, StudyFigure, look, make
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import number
from heavyweight.tables.memory import COUNTS, MB
from heavyweight.text import count_of

COLOURS = dict(
    zip(("weights", "KV cache", "rest"), sns.color_palette("colorblind")[:3], strict=True)
)
STEPS = {"reserved_tokens": "reserved", "assigned_tokens": "assigned", "used_tokens": "used"}
STEP_LOOKS = {"reserved_tokens": ("|", GREY), "assigned_tokens": ("D", "#de8f05"),
              "used_tokens": ("o", "#0173b2")}  # fmt: skip
BAR_IN = 0.42


def memory_parts(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """The peak of each server at its highest load, as a bar of weights, KV cache and the rest.

    Args:
        table: of ``estimates.breakdown_table``.
        provenance: of the run.
    """
    labels = list(dict.fromkeys(table["label"]))
    users = int(table["users"].iloc[0]) if len(table) else 0
    count = COUNTS[table["quantity"].iloc[0]] if len(table) else "memory"
    wide = table.pivot(index="label", columns="part", values="bytes") / MB
    alt = f"Peak {count} while {users} users are served, MB: " + "; ".join(
        f"{label} {number(wide.loc[label, 'total'])}, of it weights "
        f"{number(wide.loc[label, 'weights'])} and KV cache {number(wide.loc[label, 'KV cache'])}"
        for label in labels
    )
    note = (
        f"Peak of {count} of all processes of a server, mean over blocks; bars at the end: "
        f"{OVER_BLOCKS}. Weights: size of their files. KV cache: all that is reserved; where the "
        "end lies inside it, a part was never touched and is not in memory."
    )
    with look():
        figure, (axes,) = make(
            provenance, f"Memory while {count_of(users, 'user')} are served", alt,
            table, height_in=1.1 + BAR_IN * max(len(labels), 2), notes=[note],
        )  # fmt: skip
        for place, label in enumerate(labels):
            _bar(axes, place, table[table["label"] == label].set_index("part"))
        axes.set_yticks(range(len(labels)), labels, fontsize=8.6)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{count}, MB")
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        for part, color in COLOURS.items():
            axes.barh([0], [0], color=color, label=part)
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    return figure


def _bar(axes: Axes, place: int, mine: pd.DataFrame) -> None:
    """One server: the parts that are known, and the total with its interval."""
    parts = {part: mine.loc[part, "bytes"] / MB for part in COLOURS}
    total, low, high = (mine.loc["total", name] / MB for name in ("bytes", "low", "high"))
    if pd.isna(total):
        axes.annotate(f" {mine.loc['total', 'note']}", (0, place), va="center", fontsize=8)
        return
    left = 0.0
    for part, size in parts.items():
        if pd.isna(size):
            continue
        if size > 0:
            axes.barh(place, size, left=left, height=0.62, color=COLOURS[part], zorder=2)
        left += size
    if pd.isna(parts["rest"]):
        axes.barh(place, total, height=0.62, color="#cccccc", zorder=1)
    error = [[total - low], [high - total]] if not pd.isna(low) else None
    axes.errorbar(
        total, place, xerr=error, fmt="|", color=INK, markersize=15, markeredgewidth=1.6,
        elinewidth=1.6, capsize=4, zorder=4,
    )  # fmt: skip
    most = max(total, left, 0 if pd.isna(high) else high)
    axes.annotate(f"  {number(total)}", (most, place), va="center", fontsize=8.6)
    axes.set_xlim(right=max(axes.get_xlim()[1], most * 1.13))


def kv_cache(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """KV cache that is reserved, assigned and used by equal streams, tokens on a log scale.

    Args:
        table: of ``estimates.kv_cache_table``.
        provenance: of the run.
    """
    labels = list(dict.fromkeys(table["label"]))
    by = table.set_index(["label", "quantity"])
    alt = "KV cache in tokens: " + "; ".join(
        f"{label} "
        + ", ".join(f"{called} {number(by.loc[(label, name), 'value'])}"
                    for name, called in STEPS.items())
        for label in labels
    )  # fmt: skip
    note = (
        "Equal streams in flight, as many as the server works on at once and at most 8, with "
        "longer answers than the loads'; means over the time in which they grow and over blocks; "
        f"bars: {OVER_BLOCKS}. At the right: the share of what is assigned that no token uses. "
        "Ollama assigns a slot its whole context for good; vLLM assigns blocks as a sequence grows."
    )
    with look():
        figure, (axes,) = make(
            provenance, "KV cache: reserved, assigned, used", alt, table,
            height_in=1.1 + BAR_IN * max(len(labels), 2), notes=[note],
        )  # fmt: skip
        for place, label in enumerate(labels):
            _steps(axes, place, by.loc[label])
        axes.set_yticks(range(len(labels)), labels, fontsize=8.6)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        axes.grid(visible=False, axis="y")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1,)))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("tokens (log scale)")
        for name, called in STEPS.items():
            marker, color = STEP_LOOKS[name]
            axes.plot([], [], linestyle="none", marker=marker, color=color, label=called,
                      markersize=9, markeredgewidth=2 if marker == "|" else 0)  # fmt: skip
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    return figure


def _steps(axes: Axes, place: int, mine: pd.DataFrame) -> None:
    """One server: three marks on a line, and what is wasted."""
    values = mine.loc[list(STEPS), "value"]
    if values.isna().any():
        axes.annotate(mine["note"].iloc[0], (0.02, place), xycoords=("axes fraction", "data"),
                      va="center", fontsize=8)  # fmt: skip
        return
    axes.plot([values.min(), values.max()], [place, place], color="#cccccc", linewidth=2, zorder=1)
    for name in STEPS:
        marker, color = STEP_LOOKS[name]
        row = mine.loc[name]
        error = None if pd.isna(row["low"]) else [
            [row["value"] - max(row["low"], row["value"] / 10)], [row["high"] - row["value"]]
        ]  # fmt: skip
        axes.errorbar(
            row["value"], place, xerr=error, fmt=marker, color=color, capsize=3, elinewidth=1.4,
            markersize=14 if marker == "|" else 7, markeredgewidth=2 if marker == "|" else 0,
            zorder=3,
        )  # fmt: skip
    share = mine.loc["wasted_share", "value"]
    axes.annotate(
        f"{share:.0%} wasted", (1.01, place), xycoords=("axes fraction", "data"), va="center",
        fontsize=8.4, annotation_clip=False,
    )  # fmt: skip
