"""What slots give and cost: throughput and memory by slots and users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, StrMethodFormatter

from heavyweight.figures.canvas import (
    DASHES,
    GREY,
    INK,
    MARKERS,
    StudyFigure,
    dodge,
    look,
    make,
    nothing,
    series,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import interval, number
from heavyweight.text import count_of

SPEED, MEMORY = "throughput_tok_s", "server_rss_bytes"
INTERVALS = (
    "Points: geometric mean over blocks. Bars: 95% interval (Student's t over blocks, log scale); "
    "no bar: a single block."
)


def slots(
    table: pd.DataFrame, provenance: Provenance, family: str, beside: str | None = None
) -> StudyFigure:
    """Total tok/s of a family of arms by their slots, a line for each number of users.

    Args:
        table: of ``estimates.slots_table``.
        provenance: of the run.
        family: of arms that differ in slots only; see ``estimates.slot_families``.
        beside: an arm whose level is drawn across, dashed, with its interval as a band.
    """
    rows = _rows(table, SPEED)
    mine = rows[rows["family"] == family]
    other = rows[rows["arm"] == beside]
    alt = f"Throughput of {_name(provenance, family)} by slots: " + _told(mine, "tok/s")
    if len(other):
        alt += f"; beside it {provenance.labels[str(beside)]}: " + ", ".join(
            f"{number(r.value)} tok/s at {r.users}" for r in other.itertuples()
        )
    note = f"{INTERVALS} Users of a line: in the legend."
    if len(other):
        note += f" Dashed, with a band for the interval: {provenance.labels[str(beside)]}."
    with look():
        figure, (axes,) = make(
            provenance,
            "More slots: throughput",
            alt,
            pd.concat([mine, other]),
            height_in=3.9,
            notes=[note],
        )
        if mine.empty:
            nothing(axes)
            return figure
        users = sorted(set(mine["users"]))
        for place, count in enumerate(users):
            line = mine[mine["users"] == count].sort_values("slots")
            shift, form = dodge(place, len(users)), _form(place)
            series(
                axes, line["slots"].astype(float) * shift, line["value"], line["low"],
                line["high"], label=count_of(count, "user"), **form,
            )  # fmt: skip
            level = other[other["users"] == count]
            _level(axes, level, form["color"], place, len(users))
        _slots_axis(axes, mine["slots"])
        axes.set_ylabel("tokens a second, all users (tok/s)")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        _legend(axes, provenance.labels[str(beside)] if len(other) else None)
    return figure


def slots_map(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Total tok/s of every arm (rows) under every number of users (columns), with its interval.

    The colour is the share of the column's largest: which arm is the best for so many users.

    Args:
        table: of ``estimates.slots_table``.
        provenance: of the run.
    """
    rows = _rows(table, SPEED)
    order = list(dict.fromkeys(rows["label"]))
    wide = rows.pivot(index="label", columns="users", values="value").reindex(order)
    share = wide.to_numpy(float) / wide.max().to_numpy(float)
    alt = "Throughput in tok/s, an arm a row, a number of users a column: " + "; ".join(
        f"{label} " + ", ".join(f"{number(r.value)} at {r.users}" for r in mine.itertuples())
        for label, mine in rows.groupby("label", sort=False)
    )
    note = (
        "tok/s of all users together with the 95% interval over blocks (Student's t, log scale; "
        "none: a single block). Colour: share of the best arm for as many users."
    )
    with look():
        figure, (axes,) = make(
            provenance, "Which configuration for how many users", alt, rows,
            height_in=1.1 + 0.42 * max(len(order), 2), notes=[note],
        )  # fmt: skip
        if rows.empty:
            nothing(axes)
            return figure
        image = axes.imshow(
            share, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest"
        )
        for r in rows.itertuples():
            x, y = list(wide.columns).index(r.users), order.index(r.label)
            _cell(axes, x, y, interval(r.value, r.low, r.high), dark=share[y, x] < 0.55)
        axes.set_xticks(range(len(wide.columns)), [str(n) for n in wide.columns])
        axes.set_yticks(range(len(order)), order, fontsize=8.2)
        axes.set_xlabel("concurrent users")
        axes.grid(visible=False)
        bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.015)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0%}"))
        bar.set_label("of the best", fontsize=8.2)
        bar.ax.tick_params(labelsize=7.6)
    return figure


def slots_memory(
    table: pd.DataFrame, per_slot: pd.DataFrame, provenance: Provenance, family: str
) -> StudyFigure:
    """Resident memory of a family of arms by their slots, and the MB that each slot adds.

    Args:
        table: of ``estimates.slots_table``.
        per_slot: of ``estimates.memory_per_slot_table``.
        provenance: of the run.
        family: of arms that differ in slots only; see ``estimates.slot_families``.
    """
    rows = _rows(table, MEMORY)
    mine = rows[rows["family"] == family]
    # The line through all arms where there is one, else the one step that there is.
    steps = per_slot[(per_slot["family"] == family) & per_slot["bytes_per_slot"].notna()]
    steps = steps.drop_duplicates("users", keep="last").set_index("users")
    users = sorted(set(mine["users"]))
    labels = {n: count_of(n, "user") for n in users}
    labels |= {
        n: f"{labels[n]}: {interval(*_mb(steps.loc[n]))} MB a slot"
        for n in users
        if n in steps.index
    }
    alt = f"Resident memory of {_name(provenance, family)} by slots: "
    alt += _told(mine.assign(value=mine["value"] / 1e6), "MB") + "; " + "; ".join(labels.values())
    note = (
        f"{INTERVALS} Resident memory of all the server's processes at the end of each load; pages "
        "that processes share count for each. MB a slot: least squares in each block, with "
        "Student's t interval over blocks."
    )
    with look():
        figure, (axes,) = make(
            provenance, "More slots: memory", alt, mine, height_in=3.6, notes=[note]
        )
        if mine.empty:
            nothing(axes)
            return figure
        for place, count in enumerate(users):
            line = mine[mine["users"] == count].sort_values("slots")
            ends = [line[name] / 1e6 for name in ("value", "low", "high")]
            x = line["slots"].astype(float) * dodge(place, len(users))
            series(axes, x, *ends, label=labels[count], **_form(place))
        _slots_axis(axes, mine["slots"])
        axes.set_ylabel("resident memory (MB)")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.legend(loc="upper left")
    return figure


def _rows(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """What was measured of one quantity, of the length that most loads have."""
    rows = table[(table["quantity"] == quantity) & table["value"].notna()]
    lengths = rows[["output_tokens", "prompt_tokens"]].value_counts().sort_index(kind="stable")
    if len(lengths) < 2:
        return rows
    answered, asked = lengths.idxmax()
    return rows[(rows["output_tokens"] == answered) & (rows["prompt_tokens"] == asked)]


def _told(rows: pd.DataFrame, unit: str) -> str:
    return "; ".join(
        f"at {users} users "
        + ", ".join(f"{number(r.value)} {unit} with {r.slots}" for r in line.itertuples())
        for users, line in rows.sort_values("slots").groupby("users")
    )


def _name(provenance: Provenance, family: str) -> str:
    """A family's name: its first arm's, without the slots."""
    return provenance.labels.get(family, family).partition(",")[0]


def _mb(row: pd.Series) -> tuple[float, float, float]:
    return row["bytes_per_slot"] / 1e6, row["low"] / 1e6, row["high"] / 1e6


def _form(place: int) -> dict[str, Any]:
    """Colour, marker and dashes of a number of users."""
    palette = sns.color_palette("colorblind")
    return {
        "color": palette[place % len(palette)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[0],
    }


def _level(axes: Axes, level: pd.DataFrame, color: Any, place: int, places: int) -> None:
    """Another server's level for the same users: dashed, with a band."""
    for r in level.itertuples():
        axes.axhline(r.value, color=color, linewidth=1.3, linestyle=(0, (5, 3)), zorder=1)
        if np.isfinite(r.low) and np.isfinite(r.high):
            axes.axhspan(r.low, r.high, color=color, alpha=0.12, linewidth=0, zorder=0)
        axes.annotate(
            f"{r.users}", (0.995, r.value), xycoords=("axes fraction", "data"), fontsize=7.6,
            color=color, ha="right", va="bottom",
        )  # fmt: skip


def _slots_axis(axes: Axes, slots: Iterable[int]) -> None:
    """A logarithmic axis of slots with a tick at each arm."""
    ticks = sorted({int(n) for n in slots})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(ticks[0] / 1.25, ticks[-1] * 1.25)
    axes.set_xlabel("slots: requests at work at once (log scale)")


def _legend(axes: Axes, beside: str | None) -> None:
    handles = list(axes.get_legend_handles_labels()[0])
    if beside:
        handles.append(Line2D([], [], color=GREY, linestyle=(0, (5, 3)), label=beside))
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=max(len(handles), 1),
        borderaxespad=0.2, columnspacing=1.4, handlelength=2.4,
    )  # fmt: skip


def _cell(axes: Axes, x: int, y: int, text: str, *, dark: bool) -> None:
    """The number in a cell, readable on its colour."""
    axes.text(x, y, text, ha="center", va="center", fontsize=7.8, color="white" if dark else INK)
