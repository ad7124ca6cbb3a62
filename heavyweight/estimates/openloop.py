"""Open loops at shares of the capacity: latency from the due time, goodput, capacity, knee.

A load of an open loop is its share of the capacity that the arm showed in the same session; the
rates themselves differ from block to block. Only VALID cells enter.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import (
    Blocks,
    by_block,
    closed_loads,
    notes,
    of_cells,
    over_blocks,
    over_blocks_or_infinite,
)
from heavyweight.estimates.crossings import whole_curves
from heavyweight.estimates.goodput import Objective, goodput_of
from heavyweight.stats import Crossover, crossover, mean_log_t, mean_t

PERCENTILES = tuple(
    f"{quantity}_p{percent}_ms" for quantity in ("ttft", "e2e", "tpot") for percent in (50, 95)
)
KNEE_FACTOR = 2.0

RATE_COLUMNS = (
    "arm", "label", "fraction", "quantity", "blocks", "value", "low", "high", "note",
)  # fmt: skip
CAPACITY_COLUMNS = ("arm", "label", "users", "blocks", "per_s", "low", "high", "note")
KNEE_COLUMNS = (
    "arm", "label", "blocks", "fraction", "low", "high", "per_s", "per_s_low", "per_s_high", "note",
)  # fmt: skip


def fractions(assessment: Assessment) -> list[float]:
    """The shares of the capacity that were measured, ascending."""
    return sorted(assessment.cells["capacity_fraction"].dropna().unique())


def cells_at_fraction(assessment: Assessment, arm: str, fraction: float) -> pd.DataFrame:
    """The cells of one arm at one share of its capacity, VALID or not."""
    cells = assessment.cells
    return cells[(cells["arm"] == arm) & (cells["capacity_fraction"] == fraction)]


def rates_table(
    assessment: Assessment, objective: Objective | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """What each arm did at each share of its capacity, over blocks.

    Latencies count from when a request was due. Rates and percentiles are geometric means with
    Student's t on the log scale; goodput and its share, which may be zero, are means with
    Student's t. A percentile that failures reach in one block is infinite.

    Args:
        assessment: of a run of the experiment openloop.
        objective: what a request must keep to be good; None: no rows of goodput.
        confidence: of the intervals.

    Returns:
        One row an arm, share and quantity: arm, label, fraction, quantity (rate_per_s: offered;
        requests_per_s: answered in the window; ttft_p50_ms, ttft_p95_ms, e2e_p50_ms, e2e_p95_ms,
        tpot_p50_ms, tpot_p95_ms; goodput_per_s: good requests/s; met_fraction: share of good
        requests), blocks, value, low, high, note.
    """
    rows = []
    for arm in assessment.arms:
        for fraction in fractions(assessment):
            cells = cells_at_fraction(assessment, arm, fraction)
            shared = {"arm": arm, "label": assessment.label(arm), "fraction": fraction}
            for quantity in ("rate_per_s", "requests_per_s", *PERCENTILES):
                found = of_cells(assessment, arm, cells, quantity)
                value, low, high, note = over_blocks_or_infinite(found, confidence)
                rows.append(shared | {"quantity": quantity, "blocks": len(found.values),
                                      "value": value, "low": low, "high": high,
                                      "note": note})  # fmt: skip
            if objective is not None:
                rows += [shared | row for row in _good(assessment, cells, objective, confidence)]
    table = pd.DataFrame(rows, columns=list(RATE_COLUMNS))
    return table.astype({"blocks": "Int64", **dict.fromkeys(("value", "low", "high"), float)})


def _good(
    assessment: Assessment, cells: pd.DataFrame, objective: Objective, confidence: float
) -> list[dict[str, Any]]:
    """The two rows of goodput; one block of several cells counts by their mean."""
    valid = cells[cells["valid"]]
    each = [goodput_of(assessment.arrays(i), objective, confidence) for i in valid["cell_id"]]
    made = pd.DataFrame(each, columns=["goodput_per_s", "met_fraction"]).astype(float)
    rows = []
    for quantity in made:
        means = made[quantity].groupby(valid["block"].to_numpy()).mean()
        row = {"quantity": quantity, "blocks": len(means), "value": math.nan, "low": math.nan,
               "high": math.nan, "note": "no valid block"}  # fmt: skip
        if len(means):
            one = mean_t(means.to_numpy(), confidence)
            high = min(one.high, 1.0) if quantity == "met_fraction" else one.high
            row |= {"value": one.value, "low": one.low, "high": high, "note": one.note}
        rows.append(row)
    return rows


def capacity_of(assessment: Assessment, arm: str) -> Blocks:
    """Requests/s of an arm's closed loop with the most users, block by block."""
    closed = closed_loads(assessment)
    if not closed:
        return Blocks()
    return by_block(assessment, arm, closed[max(closed)], "requests_per_s")


def capacity_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """The capacity of each arm, over blocks.

    Args:
        assessment: of a run of the experiment openloop.
        confidence: of the intervals.

    Returns:
        One row an arm: arm, label, users (of the closed loop), blocks, per_s, low, high
        (requests/s), note.
    """
    rows = []
    for arm in assessment.arms:
        found = capacity_of(assessment, arm)
        value, low, high, note = over_blocks(found, confidence)
        rows.append(
            {"arm": arm, "label": assessment.label(arm),
             "users": max(closed_loads(assessment), default=0), "blocks": len(found.values),
             "per_s": value, "low": low, "high": high, "note": note}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(CAPACITY_COLUMNS))


def knee_of(
    assessment: Assessment, arm: str, factor: float = KNEE_FACTOR, confidence: float = 0.95
) -> tuple[Crossover, str] | None:
    """The share of the capacity from which on the p95 of the response is a multiple of its lowest.

    The multiple is of the p95 of the end-to-end time, from the due time, at the lowest share that
    was measured; between two shares both are linear on the log scale. See :func:`stats.crossover`
    for what decides over blocks, and for a knee outside the shares.

    Args:
        assessment: of a run of the experiment openloop.
        arm: which.
        factor: the multiple.
        confidence: of the interval.

    Returns:
        The knee in shares of the capacity, and a note on shares that blocks lack; None where no
        block has the lowest and the highest share.
    """
    found = {
        fraction: of_cells(
            assessment, arm, cells_at_fraction(assessment, arm, fraction), "e2e_p95_ms"
        ).values
        for fraction in fractions(assessment)
    }
    shares, curves, lacking = whole_curves(found, "cell at {} of the capacity")
    if len(shares) < 2 or not curves:
        return None
    growth = {block: curve / curve[0] for block, curve in curves.items()}
    return crossover(shares, growth, factor, confidence), lacking


def knee_table(
    assessment: Assessment, factor: float = KNEE_FACTOR, confidence: float = 0.95
) -> pd.DataFrame:
    """The knee of each arm: as a share of its capacity, and in requests/s.

    Args:
        assessment: of a run of the experiment openloop.
        factor: see :func:`knee_of`.
        confidence: of the intervals.

    Returns:
        One row an arm: arm, label, blocks, fraction with low and high (0: below the lowest share,
        infinite: above the highest), per_s with per_s_low and per_s_high (requests/s: each block's
        knee times its capacity; NaN where a block's knee lies outside the shares), note.
    """
    rows = []
    for arm in assessment.arms:
        row = dict.fromkeys(KNEE_COLUMNS, math.nan) | {
            "arm": arm, "label": assessment.label(arm), "blocks": 0,
            "note": "no block has the lowest and the highest rate",
        }  # fmt: skip
        if (found := knee_of(assessment, arm, factor, confidence)) is not None:
            one, lacking = found
            row |= {"blocks": len(one.crossings), "fraction": one.value, "low": one.low,
                    "high": one.high, "note": notes(one.note, lacking)}  # fmt: skip
            if one.inside == len(one.crossings):
                per_s = [x * _seen(assessment, arm, block) for block, x in one.crossings.items()]
                rate = mean_log_t(per_s, confidence)
                row |= {"per_s": rate.value, "per_s_low": rate.low, "per_s_high": rate.high}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(KNEE_COLUMNS))


def _seen(assessment: Assessment, arm: str, block: int) -> float:
    """The capacity that a block's rates were shares of, requests/s."""
    cells = assessment.cells
    mine = cells[(cells["arm"] == arm) & (cells["block"] == block)]
    return float((mine["rate_per_s"] / mine["capacity_fraction"]).median())
