"""Open loops: latency and goodput by offered rate, and the highest rate that a search found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from heavyweight.estimates import Objective
from heavyweight.figures.canvas import (
    GREY,
    OVER_BLOCKS,
    StudyFigure,
    arms_in,
    arms_legend,
    look,
    make,
    series,
    style,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import number

CAPACITY = "the server's capacity, from a closed loop in the same session"
PANELS = (
    ("ttft_p50_ms", "first text, p50 (median)"), ("ttft_p95_ms", "first text, p95"),
    ("e2e_p50_ms", "whole answer, p50 (median)"), ("e2e_p95_ms", "whole answer, p95"),
)  # fmt: skip


def _wide(rates: pd.DataFrame, arm: str, quantity: str) -> pd.DataFrame:
    """One quantity of one arm, with the offered rate of each share beside it."""
    mine = rates[rates["arm"] == arm]
    offered = mine[mine["quantity"] == "rate_per_s"].set_index("fraction")["value"]
    rows = mine[mine["quantity"] == quantity].set_index("fraction")
    return rows.assign(offered=offered).sort_values("offered").dropna(subset="offered")


def _capacity_lines(axes: Axes, capacity: pd.DataFrame, provenance: Provenance) -> None:
    """A line at each arm's capacity, in its colour, with its interval as a band."""
    for r in capacity.dropna(subset="per_s").itertuples():
        color = style(provenance, r.arm)["color"]
        axes.axvline(r.per_s, color=color, linewidth=1.1, linestyle=(0, (2, 2)), zorder=1)
        if np.isfinite(r.low) and np.isfinite(r.high):
            axes.axvspan(r.low, r.high, color=color, alpha=0.08, linewidth=0, zorder=0)


def _log(axis: Axis, limits: tuple[float, float]) -> None:
    """Ticks of a logarithmic axis that a reader knows; few where it spans much."""
    subs = (1, 2, 5) if limits[1] / max(limits[0], 1e-9) < 300 else (1,)
    axis.set_major_locator(ticker.LogLocator(subs=subs))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,g}"))
    axis.set_minor_locator(ticker.NullLocator())


def response(
    rates: pd.DataFrame, capacity: pd.DataFrame, provenance: Provenance
) -> StudyFigure:  # fmt: skip
    """First text and whole answer by offered rate, both on a log scale, median and p95.

    Args:
        rates: of ``estimates.rates_table``.
        capacity: of ``estimates.capacity_table``.
        provenance: of the run.
    """
    arms = arms_in(provenance, rates)
    alt = "Response from the due time by offered rate: " + "; ".join(
        f"{provenance.labels[arm]} {title} "
        + ", ".join(f"{number(r.value)} ms at {number(r.offered)} requests/s"
                    for r in _wide(rates, arm, quantity).itertuples())
        for quantity, title in PANELS[1::2] for arm in arms
    )  # fmt: skip
    note = (
        f"From each request's due time. Points: geometric mean over blocks with {OVER_BLOCKS}, "
        "at each share of the capacity. Crosses: not estimable, INVALID, or too many failures. "
        f"Dashed, with band: {CAPACITY}."
    )
    with look():
        figure, panels = make(
            provenance, "Response by offered rate", alt,
            rates[rates["quantity"].isin([name for name, _ in PANELS])], notes=[note],
            height_in=5.4, nrows=2, ncols=2, sharex=True, sharey="row",
        )  # fmt: skip
        for axes, (quantity, title) in zip(panels, PANELS, strict=True):
            axes.set_title(title)
            axes.set_xscale("log")
            axes.set_yscale("log")
            _capacity_lines(axes, capacity, provenance)
            for place, arm in enumerate(arms):
                rows = _wide(rates, arm, quantity)
                good = rows[np.isfinite(rows["value"])]
                look_of = style(provenance, arm)
                series(axes, good["offered"], good["value"], good["low"], good["high"], **look_of)
                absent = rows.drop(good.index)
                axes.plot(
                    absent["offered"], np.full(len(absent), 0.04 + 0.05 * place),
                    linestyle="none", marker="x", markersize=5, color=look_of["color"],
                    transform=axes.get_xaxis_transform(),
                )[0].set_in_layout(False)  # fmt: skip
            _log(axes.xaxis, axes.get_xlim())
            _log(axes.yaxis, axes.get_ylim())
        for axes in panels[::2]:
            axes.set_ylabel("milliseconds (log scale)")
        for axes in panels[2:]:
            axes.set_xlabel("offered rate (requests/s, log scale)")
        arms_legend(figure, arms, provenance)
    return figure


def goodput_by_rate(
    rates: pd.DataFrame,
    capacity: pd.DataFrame,
    objective: Objective | None,
    provenance: Provenance,
) -> StudyFigure:
    """Good requests a second by offered rate, beside the line on which all are good.

    Args:
        rates: of ``estimates.rates_table``, with goodput.
        capacity: of ``estimates.capacity_table``.
        objective: that was met.
        provenance: of the run.
    """
    arms = arms_in(provenance, rates)
    told = str(objective) if objective else "no objective: a latency of one user is not estimable"
    alt = f"Good requests a second by offered rate ({told}): " + "; ".join(
        f"{provenance.labels[arm]} "
        + ", ".join(f"{number(r.value)} of {number(r.offered)}"
                    for r in _wide(rates, arm, "goodput_per_s").itertuples())
        for arm in arms
    )  # fmt: skip
    note = (
        f"Good: {told}. Points: mean over blocks with {OVER_BLOCKS}. Grey: all that come are good. "
        f"Dashed, with band: {CAPACITY}."
    )
    with look():
        figure, (axes,) = make(
            provenance, "Goodput", alt, rates[rates["quantity"] == "goodput_per_s"],
            height_in=3.8, notes=[note],
        )  # fmt: skip
        axes.set_title(told, fontsize=9, fontweight="normal")
        _capacity_lines(axes, capacity, provenance)
        for arm in arms:
            rows = _wide(rates, arm, "goodput_per_s").dropna(subset="value")
            series(axes, rows["offered"], rows["value"], rows["low"], rows["high"],
                   **style(provenance, arm))  # fmt: skip
        most = rates.loc[rates["quantity"] == "rate_per_s", "value"].max()
        if np.isfinite(most):
            axes.plot([0, 1.05 * most], [0, 1.05 * most], color=GREY, linewidth=1, zorder=1)
            axes.set_xlim(0, 1.08 * most)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("offered rate (requests/s)")
        axes.set_ylabel("good requests a second")
        arms_legend(figure, arms, provenance)
    return figure


def highest_rate(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """The highest rate at which the objectives held, by server, over blocks and in each session.

    Args:
        table: of ``estimates.search_table``.
        provenance: of the run.
    """
    blocks = table[table["scope"] == "blocks"]
    question = next(iter(blocks["question"]), "no search was made")
    alt = "Highest rate at which the objectives held: " + "; ".join(
        f"{r.label} {number(r.per_s)} requests/s" for r in blocks.itertuples()
    )
    note = (
        f"Asked of each session: {question} Large: geometric mean over blocks with {OVER_BLOCKS}; "
        "there is none where a session's probes do not bracket it. Below, thin: each session, from "
        "the highest rate that surely holds to the lowest that surely fails, and its estimate; an "
        "arrow where only one of the two is known."
    )
    with look():
        figure, (axes,) = make(
            provenance, "The highest rate that holds", alt, table, notes=[note],
            height_in=0.9 + 0.85 * max(len(blocks), 1),
        )  # fmt: skip
        for y, r in enumerate(blocks.itertuples()):
            look_of = style(provenance, r.arm) | {"linestyle": "-"}
            color = look_of["color"]
            if np.isfinite(r.low) and np.isfinite(r.high):
                axes.plot([r.low, r.high], [y, y], color=color, linewidth=2.6, zorder=2)
            axes.plot(r.per_s, y, markersize=8, markeredgecolor="white", zorder=3, **look_of)
            mine = table[(table["arm"] == r.arm) & (table["scope"] == "session")]
            for nth, one in enumerate(mine.itertuples()):
                at = y + 0.18 + 0.1 * nth
                axes.plot([one.low, one.high], [at, at], color=color, linewidth=1, alpha=0.7,
                          marker="|", markersize=6)  # fmt: skip
                axes.plot(one.per_s, at, color=color, marker=".", markersize=6, alpha=0.9)
                if np.isfinite(one.low) != np.isfinite(one.high):  # open on one side
                    end, arrow = (one.low, ">") if np.isfinite(one.low) else (one.high, "<")
                    axes.plot(end, at, color=color, marker=arrow, markersize=5, alpha=0.9)
        axes.set_yticks(range(len(blocks)), list(blocks["label"]))
        axes.set_ylim(max(len(blocks), 1) - 0.35, -0.4)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_xlabel("requests/s")
    return figure
