"""Where one arm overtakes the other: the load from which on their ratio stays above a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import closed_loads, notes
from heavyweight.estimates.pairing import pair
from heavyweight.stats import Crossover, crossover

COLUMNS = (
    "numerator", "denominator", "quantity", "threshold", "blocks", "below", "inside", "above",
    "users", "low", "high", "by_inversion_low", "by_inversion_high", "note",
)  # fmt: skip


def ratios_by_block(
    assessment: Assessment, arms: Sequence[str], quantity: str
) -> tuple[list[int], dict[int, np.ndarray], str]:
    """The ratio of two arms at each load, block by block.

    A load that a block lacks (its cell is INVALID or missing) is taken from the block's loads on
    both sides of it, linear between the logarithms; a block that lacks the lowest or the highest
    load has no crossing that could be told, and is left out.

    Args:
        assessment: the run.
        arms: numerator, denominator.
        quantity: a column of the assessment's cells.

    Returns:
        The loads in ascending order, block -> ratio at each of them, and a note on what lacks.
    """
    found: dict[int, dict[int, float]] = {}
    for n, load in closed_loads(assessment).items():
        pairing = pair(assessment, arms, load, quantity)
        found[n] = {
            block: above / pairing.denominator[block] for block, above in pairing.numerator.items()
        }
    return whole_curves(found, "pair at {} users")


def whole_curves(
    found: Mapping[Any, Mapping[int, float]], lacking_words: str
) -> tuple[list[Any], dict[int, np.ndarray], str]:
    """A positive number at each load, block by block, with the gaps of a block filled.

    Args:
        found: load, ascending -> block -> number.
        lacking_words: what a block lacks at loads that are named in it.

    Returns:
        As :func:`ratios_by_block`.
    """
    blocks = sorted({block for ratios in found.values() for block in ratios})
    # A load that only a few blocks have, as one that was added by hand, is no end of the others.
    loads = [n for n in found if 2 * len(found[n]) > len(blocks)]
    curves, remarks = {}, []
    for block in blocks:
        there = [n for n in loads if block in found[n]]
        if len(loads) < 2 or not {loads[0], loads[-1]} <= set(there):
            remarks.append(f"block {block} lacks the lowest or highest load and is left out")
            continue
        lacking = [f"{n:g}" for n in loads if n not in there]
        if lacking:
            remarks.append(f"block {block} has no valid {lacking_words.format(', '.join(lacking))}")
        logs = np.interp(np.log(loads), np.log(there), [np.log(found[n][block]) for n in there])
        curves[block] = np.exp(logs)
    return loads, curves, "; ".join(remarks)


def crossover_of(
    assessment: Assessment,
    arms: Sequence[str],
    quantity: str,
    threshold: float = 1.0,
    confidence: float = 0.95,
) -> tuple[Crossover, str] | None:
    """The load from which on a ratio stays at or above a threshold; None where none can be told.

    Args:
        assessment: the run.
        arms: numerator, denominator.
        quantity: a column of the assessment's cells.
        threshold: the ratio that is passed.
        confidence: of the interval.

    Returns:
        The crossover, and a note on loads that blocks lack.
    """
    loads, curves, lacking = ratios_by_block(assessment, arms, quantity)
    if len(loads) < 2 or not curves:
        return None
    return crossover(loads, curves, threshold, confidence), lacking


def crossover_table(
    assessment: Assessment,
    contrast: str,
    thresholds: Sequence[float] = (1.0,),
    quantities: Sequence[tuple[str, bool]] = (("throughput_tok_s", False),),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Crossovers of a contrast, by several measures and thresholds.

    Args:
        assessment: the run.
        contrast: of the run.
        thresholds: ratios that are passed.
        quantities: a column of the cells, and whether its ratio is turned (the denominator's arm
            over the numerator's), so that above 1 the numerator's server is the better one.
        confidence: of the intervals.

    Returns:
        One row a quantity and threshold: numerator, denominator, quantity, threshold, blocks, how
        many cross below, inside and above the loads, users with low and high (0: below the lowest
        load, infinite: above the highest), the ends by inversion, note.
    """
    arms = assessment.run.contrasts[contrast]
    rows = []
    for quantity, turned in quantities:
        pair_of = tuple(reversed(arms)) if turned else arms
        for threshold in thresholds:
            row = dict.fromkeys(COLUMNS, np.nan) | {
                "numerator": pair_of[0], "denominator": pair_of[1], "quantity": quantity,
                "threshold": threshold, "blocks": 0, "below": 0, "inside": 0, "above": 0,
                "note": "no block has both servers at two loads",
            }  # fmt: skip
            found = crossover_of(assessment, pair_of, quantity, threshold, confidence)
            if found is not None:
                one, lacking = found
                row |= {
                    "blocks": len(one.crossings), "below": one.below, "inside": one.inside,
                    "above": one.above, "users": one.value, "low": one.low, "high": one.high,
                    "by_inversion_low": one.by_inversion.low,
                    "by_inversion_high": one.by_inversion.high,
                    "note": notes(one.note, lacking),
                }  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))
