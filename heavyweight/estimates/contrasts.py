"""Ratios of named pairs of arms at every load, paired by block. Only VALID cells enter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import NOTHING, loads, notes, say, tidy
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.pairing import pair
from heavyweight.stats import Estimate

COLUMNS = (
    "contrast", "numerator", "denominator", "quantity", *LOAD, "blocks", "ratio", "low", "high",
    "note", "blocks_left_out",
)  # fmt: skip


def contrast_table(
    assessment: Assessment,
    pairs: Mapping[str, tuple[str, str]],
    quantities: Sequence[str] = ("throughput_tok_s",),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Ratios of pairs of arms, paired by block, with Student's t on the log scale.

    Args:
        assessment: the run.
        pairs: name -> arms, numerator first. An arm that the run does not have makes rows without
            a ratio, and the note says so.
        quantities: columns of the assessment's cells.
        confidence: of the intervals.

    Returns:
        One row for each pair, quantity and load: contrast (the pair's name), numerator,
        denominator, quantity, users, output_tokens, prompt_tokens, blocks, ratio, low, high, note,
        blocks_left_out. Where a session needed a second start, the note also gives the ratio
        without its block.

    Raises:
        BadInput: a quantity is unknown.
    """
    check_quantities(assessment, quantities)
    rows = []
    for name, arms in pairs.items():
        absent = [arm for arm in arms if arm not in assessment.arms]
        for quantity in quantities:
            for load in loads(assessment):
                pairing = pair(assessment, arms, load, quantity)
                value, low, high, note = ends(pairing.ratio(confidence))
                left_out = pairing.note
                if absent:
                    note, left_out = f"not in this run: {', '.join(absent)}", ""
                if pairing.restarted:
                    rest = ends(pairing.ratio(confidence, without=pairing.restarted))
                    again = {block: "needed a second start" for block in pairing.restarted}
                    note = notes(note, f"{say(again)} (without: {_shown(*rest[:3])})")
                rows.append(
                    {"contrast": name, "numerator": arms[0], "denominator": arms[1],
                     "quantity": quantity, **dict(zip(LOAD, load, strict=True)),
                     "blocks": len(pairing.numerator), "ratio": value, "low": low, "high": high,
                     "note": note, "blocks_left_out": left_out}
                )  # fmt: skip
    return tidy(rows, COLUMNS)


def check_quantities(assessment: Assessment, quantities: Sequence[str]) -> None:
    """Whether all are columns of numbers of the cells.

    Raises:
        BadInput: one is not.
    """
    known = [
        c
        for c in assessment.cells
        if c.endswith(("_ms", "_s", "_bytes")) and not c.startswith("instrument_")
    ]
    for quantity in quantities:
        if quantity not in known:
            raise BadInput(f"no quantity {quantity!r}", f"one of {', '.join(known)}")


def ends(found: Estimate | None) -> tuple[float, float, float, str]:
    """Value, ends and note of an estimate; NaN where no block is left."""
    if found is None:
        return math.nan, math.nan, math.nan, NOTHING
    return found.value, found.low, found.high, found.note


def _shown(value: float, low: float, high: float) -> str:
    """A ratio with its interval, to be read."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g}, {low:.3g} to {high:.3g}"
