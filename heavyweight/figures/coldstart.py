"""Cold starts: where the time of a start goes, and how fast the first requests are."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from heavyweight.article import Article
from heavyweight.estimates.frames import WARM
from heavyweight.figures.canvas import DASHES, GREY, INK, MARKERS, StudyFigure, arms_in, look, make
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import number

PARTS = ("process", "weights", "compile", "engine", "API server", "other", "first request")
"""Parts of a start in a fixed order, so that each has one colour on all figures."""

FULL, READY, PUBLISHED = "D", "|", "X"
BAR = 0.58
BESIDE = 0.09  # lines of several conditions stand beside each other


def coldstart(
    table: pd.DataFrame, provenance: Provenance, article: Article | None = None
) -> StudyFigure:
    """Seconds from the spawn to the first token, split into their parts; a panel a server.

    Args:
        table: of ``estimates.coldstart_table``.
        provenance: of the run.
        article: its published starts are drawn in the rows of the ordinary restart, as those of
            another machine and model.
    """
    arms = arms_in(provenance, table)
    totals = table[table["quantity"] == "first_token_ms"]
    alt = "Restart to the first token: " + "; ".join(
        f"{label} "
        + ", ".join(f"{r.condition} {number(r.value_ms / 1e3)} s" for r in rows.itertuples())
        for label, rows in totals.groupby("label", sort=False)
    )
    note = (
        "Bars end at the first token: geometric mean over blocks, split by the mean shares of the "
        "parts; line: 95% interval over blocks (Student's t), none: a single block. Diamond: full "
        "speed. Each panel has a scale of its own."
    )
    if article is not None:
        note += (
            f" Cross: published, {article.article.setting}: another machine and model, not to be "
            "compared in seconds."
        )
    rows = [int((totals["arm"] == arm).sum()) for arm in arms] or [3]
    with look():
        figure, axes = make(
            provenance, "Where the time of a restart goes", alt, table,
            height_in=1.3 + 0.42 * sum(rows) + 0.55 * len(rows), notes=[note],
            nrows=len(rows), height_ratios=[n + 0.6 for n in rows],
        )  # fmt: skip
        for panel, arm in zip(axes, arms, strict=False):
            _bars(panel, table[table["arm"] == arm], article)
            panel.set_title(provenance.labels[arm])
        axes[-1].set_xlabel("seconds from the spawn")
        handles = _legend(table, article is not None)
        axes[0].legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0 + 0.55 / rows[0]), ncols=5,
            borderaxespad=0.2, handlelength=1.2, columnspacing=1.1, fontsize=8.2,
        )  # fmt: skip
    return figure


def _bars(axes: Axes, mine: pd.DataFrame, article: Article | None) -> None:
    """The starts of one arm, a row a condition."""
    conditions = list(dict.fromkeys(mine["condition"]))
    for lane, condition in enumerate(conditions):
        known = mine[mine["condition"] == condition].set_index("quantity")
        total = known.loc["first_token_ms"]
        left = 0.0
        for part in PARTS:
            share = known["share"].get(part, math.nan)
            if math.isnan(share):
                continue
            width = share * total["value_ms"] / 1e3
            axes.barh(lane, width, left=left, height=BAR, color=_color(part), linewidth=0)
            left += width
        ends = total[["low_ms", "high_ms"]].to_numpy(dtype=float) / 1e3
        if np.isfinite(ends).all():
            axes.plot(ends, [lane, lane], color=INK, linewidth=1.4, marker=READY, markersize=8)
        full_s = known.loc["full_speed_ms", "value_ms"] / 1e3
        axes.plot(full_s, lane, marker=FULL, color=INK, markeredgecolor="white", markersize=7)
        axes.annotate(
            f"first token {number(total['value_ms'] / 1e3)} s",
            (max(filter(math.isfinite, (left, full_s, *ends))), lane), xytext=(9, 0),
            textcoords="offset points", va="center", fontsize=8.4, color=INK,
        )  # fmt: skip
        if article is not None and condition == WARM:
            seconds = _published(article, mine["server"].iloc[0])
            axes.plot(seconds, lane, marker=PUBLISHED, color=GREY, markeredgecolor="white",
                      markersize=8, linestyle="none")  # fmt: skip
    axes.set_yticks(range(len(conditions)), conditions)
    axes.set_ylim(len(conditions) - 0.5, -0.5)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.2)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))


def _published(article: Article, server: str) -> float:
    """Seconds that the article prints for a kind of server; NaN where it prints none."""
    published = article.cold_start
    return {"vllm": published.vllm_s, "ollama": published.ollama_s}.get(server, math.nan)


def _color(part: str) -> str:
    """Colour of a part: that of its place; what is not told is grey."""
    palette = sns.color_palette("colorblind").as_hex()
    return "#c9c9c9" if part == "other" else str(palette[PARTS.index(part)])


def _legend(table: pd.DataFrame, published: bool) -> list[Patch | Line2D]:
    """One entry a part that is there, and one a mark."""
    seen = set(table.loc[table["share"].notna(), "quantity"])
    handles: list[Patch | Line2D] = [
        Patch(color=_color(part), label=part) for part in PARTS if part in seen
    ]
    marks = [(FULL, INK, "full speed")] + [(PUBLISHED, GREY, "published")] * published
    return handles + [
        Line2D([], [], color=color, marker=marker, linestyle="none", label=label)
        for marker, color, label in marks
    ]


def ramp(starts: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Tokens a second of each request after the first one, by condition; a panel a server.

    Args:
        starts: of ``estimates.cold_starts``.
        provenance: of the run.
    """
    arms = arms_in(provenance, starts)
    speeds = starts.explode("speeds_tok_s", ignore_index=True)
    speeds["request"] = speeds.groupby(["session", "start_id"]).cumcount() + 1
    speeds["speeds_tok_s"] = speeds["speeds_tok_s"].astype(float)
    means = speeds.groupby(["arm", "condition", "request"])["speeds_tok_s"].mean()
    alt = "Speed of the requests after a restart, first and last: " + "; ".join(
        f"{provenance.labels[arm]} {condition} {number(v.iloc[0])} and {number(v.iloc[-1])} tok/s"
        for (arm, condition), v in means.groupby(level=[0, 1])
    )
    note = (
        "One request after the other, each with a prompt of its own, from the first token on. "
        "Lines: mean over blocks; dots: single blocks."
    )
    with look():
        figure, axes = make(
            provenance, "How soon a server is at full speed", alt,
            speeds[["session", "arm", "condition", "start_id", "request", "speeds_tok_s"]],
            height_in=3.4, notes=[note], ncols=max(1, len(arms)),
        )  # fmt: skip
        palette = sns.color_palette("colorblind")
        for panel, arm in zip(axes, arms, strict=False):
            mine = speeds[speeds["arm"] == arm]
            names = sorted(mine["condition"].unique(), key=lambda name: (name != WARM, name))
            for place, condition in enumerate(names):
                rows = mine[mine["condition"] == condition]
                shift = BESIDE * (place - (len(names) - 1) / 2)
                panel.scatter(rows["request"] + shift, rows["speeds_tok_s"], s=9, alpha=0.5,
                              color=palette[place], linewidths=0)  # fmt: skip
                mean = means.loc[(arm, condition)]
                panel.plot(
                    mean.index + shift, mean, color=palette[place], linestyle=DASHES[place % 4],
                    marker=MARKERS[place], markeredgecolor="white", label=condition,
                )  # fmt: skip
            panel.set_title(provenance.labels[arm])
            panel.set_xlabel("request after the first one")
            panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
            panel.set_ylim(bottom=0)
            panel.legend(loc="lower right", fontsize=8.2)
        axes[0].set_ylabel("tokens a second (tok/s)")
    return figure
