"""Latency percentiles by concurrent users."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes

from heavyweight.figures.canvas import (
    StudyFigure,
    arms_in,
    arms_legend,
    dodge,
    look,
    make,
    nothing,
    series,
    style,
    users_axis,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import by_length, number

BESIDE = 1.06
TITLES = {
    "ttft": "Time to first text",
    "e2e": "Response from end to end",
    "itl": "Gap between chunks of text",
    "tpot": "Time per output token after the first",
}


def latency(table: pd.DataFrame, quantity: str, provenance: Provenance) -> StudyFigure:
    """Percentiles of one latency, a panel each, by concurrent users.

    Args:
        table: of ``estimates.latency_table``.
        quantity: ttft, e2e, itl or tpot.
        provenance: of the run.
    """
    percentiles = sorted(table["percentile"].unique())
    blocks = table[table["scope"] == "blocks"]
    known = blocks[np.isfinite(blocks["estimate_ms"].astype(float))]
    missing = len(known) < len(blocks)
    alt = f"{TITLES[quantity]} by concurrent users: " + "; ".join(
        f"{label} p{percentile:g} "
        + ", ".join(f"{number(r.estimate_ms)} ms at {r.users}" for r in rows.itertuples())
        for (label, percentile), rows in known.groupby(["label", "percentile"], sort=False)
    )
    notes = [
        "Points: geometric mean over blocks of each block's percentile, with 95% interval "
        "(Student's t over blocks, log scale). Beside them, thin: single blocks with the 95% "
        "interval of order statistics."
        + (" Crosses: not estimable, too few requests or too many failures." if missing else ""),
        instrument_note(blocks),
    ]
    with look():
        figure, panels = make(
            provenance, TITLES[quantity], alt, table, notes=notes, height_in=3.4,
            ncols=max(len(percentiles), 1), sharey=True,
        )  # fmt: skip
        if not percentiles:
            nothing(panels[0], "no closed loop")
            return figure
        for axes, percentile in zip(panels, percentiles, strict=True):
            _panel(axes, table[table["percentile"] == percentile], provenance)
            axes.set_title(f"p{percentile:g}" + (" (median)" if percentile == 50 else ""))
        panels[0].set_ylabel("milliseconds (log scale)")
        panels[len(panels) // 2].set_xlabel("concurrent users")
        arms_legend(figure, arms_in(provenance, table), provenance)
    return figure


def instrument_note(blocks: pd.DataFrame) -> str:
    """The client's own error at the loads of a figure, in words.

    Args:
        blocks: rows of ``estimates.latency_table`` of scope "blocks".
    """
    largest = blocks.groupby("users")["instrument_p99_ms"].max()
    known = largest.dropna()
    if known.empty:
        return "The client's own error at these loads is not known."
    told = ", ".join(f"{number(error)} at {users}" for users, error in known.items())
    return (
        f"The client's own error (p99, on cores kept busy), ms: {told} users"
        + ("; not known at the others." if len(known) < len(largest) else ".")
    )  # fmt: skip


def _panel(axes: Axes, table: pd.DataFrame, provenance: Provenance) -> None:
    """One percentile."""
    arms = arms_in(provenance, table)
    axes.set_yscale("log")
    for place, arm in enumerate(arms):
        mine = table[table["arm"] == arm].sort_values("users")
        rows = mine[mine["scope"] == "blocks"]
        good = rows[np.isfinite(rows["estimate_ms"].astype(float))]
        shift = dodge(place, len(arms))
        for nth, (_, part) in enumerate(by_length(good)):
            series(
                axes, part["users"] * shift, part["estimate_ms"], part["low_ms"], part["high_ms"],
                **style(provenance, arm), alpha=0.6**nth,
            )  # fmt: skip
        _sessions(axes, mine[mine["scope"] == "session"], shift, style(provenance, arm)["color"])
        absent = rows.drop(good.index)
        crosses = axes.plot(
            absent["users"].astype(float) * shift, np.full(len(absent), 0.04 + 0.05 * place),
            linestyle="none", marker="x", markersize=5, color=style(provenance, arm)["color"],
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        crosses[0].set_in_layout(False)
    users_axis(axes, table["users"], label=False)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.tick_params(axis="x", labelsize=8.5)
    axes.grid(visible=True, which="minor", axis="y", color="#f2f2f2")
    axes.tick_params(which="minor", left=False)


def _sessions(axes: Axes, rows: pd.DataFrame, shift: float, color: tuple[float, ...]) -> None:
    """Single sessions, each with its interval, beside their mean."""
    for nth, (_, of_block) in enumerate(rows.groupby("block")):
        x = of_block["users"].astype(float) * shift * BESIDE * 1.012**nth
        y, low, high = (of_block[f"{c}_ms"].to_numpy(float) for c in ("estimate", "low", "high"))
        known = np.isfinite(y) & np.isfinite(low) & np.isfinite(high)
        axes.errorbar(
            x[known], y[known], yerr=[(y - low)[known], (high - y)[known]], fmt=".", markersize=3,
            color=color, elinewidth=0.8, alpha=0.65, zorder=2,
        )  # fmt: skip
