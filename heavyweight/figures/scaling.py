"""Growth of throughput, goodput, and one arm against itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import ticker

from heavyweight.estimates import Objective
from heavyweight.figures.canvas import (
    GREY,
    INK,
    OVER_BLOCKS,
    StudyFigure,
    dodge,
    look,
    make,
    series,
    style,
    users_axis,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import number
from heavyweight.tables.curves import MEASURES
from heavyweight.text import count_of


def growth(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Throughput as a multiple of that of the lowest load, by users, both on a log scale.

    Args:
        table: of ``estimates.growth_table``.
        provenance: of the run.
    """
    alt = "Throughput as a multiple of that of the lowest load: " + "; ".join(
        f"{label} " + ", ".join(f"{number(r.growth)} at {r.users}" for r in rows.itertuples())
        for label, rows in table.groupby("label", sort=False)
    )
    note = (
        f"Points: geometric mean over blocks, paired inside each block; bars: {OVER_BLOCKS}. "
        "Dashed: as if each user had as much as one alone."
    )
    with look():
        figure, (axes,) = make(
            provenance,
            "How throughput grows with users",
            alt,
            table,
            height_in=3.6,
            notes=[note],
        )
        arms = list(dict.fromkeys(table["arm"]))
        for place, arm in enumerate(arms):
            rows = table[table["arm"] == arm]
            series(
                axes, rows["users"] * dodge(place, len(arms)), rows["growth"], rows["low"],
                rows["high"], label=provenance.labels[arm], **style(provenance, arm),
            )  # fmt: skip
        if len(table):
            users = np.array(sorted(set(table["users"].astype(float))))
            axes.plot(users, users / users[0], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
            users_axis(axes, table["users"].astype(int))
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}x"))
            axes.yaxis.set_minor_locator(ticker.NullLocator())
            axes.legend(loc="upper left")
        axes.set_ylabel("multiple of the lowest load (log scale)")
    return figure


def goodput(
    table: pd.DataFrame, objective: Objective | None, provenance: Provenance
) -> StudyFigure:
    """Good requests a second by users, beside all requests.

    Args:
        table: of ``estimates.goodput_table``.
        objective: that was met.
        provenance: of the run.
    """
    rows = table[table["scope"] == "blocks"]
    alt = f"Requests a second with {objective or 'no objective'}: " + "; ".join(
        f"{label} "
        + ", ".join(f"{number(r.goodput_per_s)} at {r.users}" for r in mine.itertuples())
        for label, mine in rows.groupby("label", sort=False)
    )
    note = (
        f"Good: {objective}. Filled: good requests a second, mean over blocks with {OVER_BLOCKS}; "
        "open, thin: all requests a second."
    )
    with look():
        figure, (axes,) = make(provenance, "Goodput", alt, rows, height_in=3.6, notes=[note])
        arms = list(dict.fromkeys(rows["arm"]))
        for place, arm in enumerate(arms):
            mine = rows[rows["arm"] == arm]
            shift, look_of = dodge(place, len(arms)), style(provenance, arm)
            users = mine["users"].astype(float) * shift
            series(axes, users, mine["goodput_per_s"], mine["low"], mine["high"],
                   label=provenance.labels[arm], **look_of)  # fmt: skip
            thin = look_of | {"linestyle": ":", "linewidth": 0.9, "markerfacecolor": "white"}
            axes.plot(users, mine["requests_per_s"], alpha=0.8, zorder=1, **thin)
        if len(rows):
            users_axis(axes, rows["users"].astype(int))
            axes.set_ylim(bottom=0)
            axes.legend(loc="upper left")
        axes.set_ylabel("requests a second")
    return figure


def self_test(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Ratios of one arm against itself, with their intervals and 1.

    Args:
        table: of ``estimates.self_test_table``.
        provenance: of that run.
    """
    table = table.dropna(subset="ratio")  # what is not estimable is in the table
    held = int(table["holds_one"].fillna(False).sum())
    tested = int(table["holds_one"].notna().sum())
    alt = f"One arm against itself: {held} of {tested} intervals hold 1; " + "; ".join(
        f"{MEASURES.get(r.quantity, r.quantity)} at {r.users}: {number(r.ratio)}"
        for r in table.itertuples()
    )
    note = (
        f"Ratio of the same server under two names, paired by block; bars: {OVER_BLOCKS}. "
        "An interval that excludes 1 is a cross; one in twenty does by chance."
    )
    with look():
        figure, (axes,) = make(
            provenance, f"One arm against itself: {held} of {tested} intervals hold 1", alt, table,
            height_in=0.9 + 0.26 * max(len(table), 3), notes=[note],
        )  # fmt: skip
        axes.axvline(1, color=INK, linewidth=1)
        for y, row in enumerate(table.itertuples()):
            held_here = bool(row.holds_one) if pd.notna(row.holds_one) else True
            color = "#0173b2" if held_here else "#d55e00"
            if np.isfinite(row.low):
                axes.plot([row.low, row.high], [y, y], color=color, linewidth=2)
            axes.plot(row.ratio, y, marker="o" if held_here else "X", color=color, markersize=6,
                      markeredgecolor="white")  # fmt: skip
        names = [
            f"{MEASURES.get(r.quantity, r.quantity)}, {count_of(r.users, 'user')}"
            for r in table.itertuples()
        ]
        axes.set_yticks(range(len(table)), names, fontsize=8.2)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axes.set_xlabel("ratio")
    return figure
