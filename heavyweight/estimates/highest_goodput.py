"""The highest goodput of two arms over the rates that were measured, and its ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import Blocks, notes, of_cells
from heavyweight.estimates.goodput import Objective, goodput_of
from heavyweight.estimates.openloop import cells_at_fraction, fractions
from heavyweight.estimates.pairing import Pairing, paired
from heavyweight.stats import Estimate, mean_t

RATIO_COLUMNS = (
    "numerator", "denominator", "blocks", "ratio", "low", "high", "numerator_per_s",
    "denominator_per_s", "note",
)  # fmt: skip


def highest_goodput(assessment: Assessment, arm: str, objective: Objective) -> Blocks:
    """The highest goodput of an arm over the rates that were measured, block by block.

    The highest of several is a little above the best one's truth by chance, in both arms. A block
    whose best rate of the other blocks is INVALID or missing there may have missed its highest, and
    is left out. A value may be zero.

    Args:
        assessment: of a run of the experiment openloop.
        arm: which.
        objective: what a request must keep to be good.

    Returns:
        Good requests/s; why a block has none.
    """
    found = Blocks()
    goods: dict[int, dict[float, float]] = {}
    lacking: dict[int, dict[str, list[str]]] = {}
    tested = fractions(assessment)
    for fraction in tested:
        cells = cells_at_fraction(assessment, arm, fraction)
        here = of_cells(assessment, arm, cells, "rate_per_s")
        found.spoiled |= here.spoiled
        found.restarted |= here.restarted
        found.machines |= here.machines
        for block, reason in here.left_out.items():
            lacking.setdefault(block, {}).setdefault(reason, []).append(f"{fraction:g}")
        for cell_id, block in cells.loc[cells["valid"], ["cell_id", "block"]].to_numpy():
            good = goodput_of(assessment.arrays(cell_id), objective, 0.95)["goodput_per_s"]
            goods.setdefault(int(block), {})[fraction] = good
    for block, reasons in lacking.items():
        found.left_out[block] = notes(
            *(
                reason + f" at {', '.join(at)} of the capacity" * (len(at) < len(tested))
                for reason, at in reasons.items()
            )
        )
    means = pd.DataFrame(goods).mean(axis=1)
    best = float(means.idxmax()) if len(means) else math.nan
    for block, by_fraction in sorted(goods.items()):
        if best in by_fraction:
            found.values[block] = max(by_fraction.values())
            found.left_out.pop(block, None)
    return found


def goodput_pairing(assessment: Assessment, arms: Sequence[str], objective: Objective) -> Pairing:
    """The highest goodput of two arms, paired by block; a value may be zero.

    Args:
        assessment: of a run of the experiment openloop.
        arms: numerator, denominator.
        objective: what a request must keep to be good.
    """
    return paired(arms, [highest_goodput(assessment, arm, objective) for arm in arms])


def goodput_ratio(pairing: Pairing, confidence: float = 0.95) -> Estimate | None:
    """The ratio of the highest goodputs over blocks.

    Student's t on the log scale where no goodput is zero. Where only numerators are, the mean of
    the blocks' ratios with Student's t, cut at zero.

    Args:
        pairing: of :func:`goodput_pairing`.
        confidence: of the interval.

    Returns:
        None: no block is left, or the denominator is zero in one of them.
    """
    above, below = list(pairing.numerator.values()), list(pairing.denominator.values())
    if not above or min(below) <= 0:
        return None
    if min(above) > 0:
        return pairing.ratio(confidence)
    return mean_t(np.array(above) / np.array(below), confidence)


def goodput_ratio_table(
    assessment: Assessment, objective: Objective | None, confidence: float = 0.95
) -> pd.DataFrame:
    """The ratio of the highest goodputs of each contrast, over blocks.

    Args:
        assessment: of a run of the experiment openloop.
        objective: what a request must keep to be good; None: there is none, and no row.
        confidence: of the intervals.

    Returns:
        One row a contrast: numerator, denominator, blocks, ratio, low, high, numerator_per_s and
        denominator_per_s (good requests/s, means over the same blocks), note.
    """
    rows = []
    for arms in assessment.run.contrasts.values() if objective is not None else ():
        assert objective is not None
        pairing = goodput_pairing(assessment, arms, objective)
        one = goodput_ratio(pairing, confidence)
        sides = (list(side.values()) for side in (pairing.numerator, pairing.denominator))
        above, below = (float(np.mean(side)) if side else math.nan for side in sides)
        row = {"numerator": arms[0], "denominator": arms[1], "blocks": len(pairing.numerator),
               "ratio": math.nan, "low": math.nan, "high": math.nan, "numerator_per_s": above,
               "denominator_per_s": below, "note": pairing.note}  # fmt: skip
        if one is not None:
            row |= {"ratio": one.value, "low": one.low, "high": one.high,
                    "note": notes(one.note, pairing.note)}  # fmt: skip
        elif pairing.numerator:
            row["note"] = notes("the denominator has no good request in a block", pairing.note)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(RATIO_COLUMNS))
