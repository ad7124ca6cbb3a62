"""Throughput and ratios over blocks. Only VALID cells enter."""

from __future__ import annotations

import math

import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import (
    NOTHING,
    by_block,
    loads,
    notes,
    over_blocks,
    say,
    tidy,
)
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.pairing import pair
from heavyweight.stats import Estimate


def throughput_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """Tokens per second over all users: geometric mean over blocks with Student's t interval.

    Args:
        assessment: the run.
        confidence: of the intervals.

    Returns:
        One row for each arm and load: arm, label, users, output_tokens, prompt_tokens, blocks,
        tok_s, low, high (tok/s), note. What was not measured is NaN, and the note says why.
    """
    rows = []
    for arm in assessment.arms:
        for load in loads(assessment):
            found = by_block(assessment, arm, load, "throughput_tok_s")
            value, low, high, note = over_blocks(found, confidence)
            rows.append(
                {"arm": arm, "label": assessment.label(arm), **dict(zip(LOAD, load, strict=True)),
                 "blocks": len(found.values), "tok_s": value, "low": low, "high": high,
                 "note": note}
            )  # fmt: skip
    return tidy(rows, ("arm", "label", *LOAD, "blocks", "tok_s", "low", "high", "note"))


def ratio_table(
    assessment: Assessment,
    contrast: str,
    quantity: str = "throughput_tok_s",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Ratio of a contrast's two arms, paired by block, with Student's t on the log scale.

    Args:
        assessment: the run.
        contrast: name of a contrast of the run.
        quantity: a column of the assessment's cells.
        confidence: of the intervals.

    Returns:
        One row for each load: contrast, numerator, denominator, quantity, users, output_tokens,
        prompt_tokens, blocks, ratio, low, high, note, blocks_left_out. Where a session needed a
        second start, the note also gives the ratio without its block.

    Raises:
        BadInput: the contrast or the quantity is unknown.
    """
    if contrast not in assessment.run.contrasts:
        raise BadInput(
            f"no contrast {contrast!r} in {assessment.run.run}",
            f"one of {', '.join(assessment.run.contrasts) or '(none: a run by hand)'}",
            "measure a profile that has it",
        )
    numeric = [
        c for c in assessment.cells if c.endswith(("_ms", "_s")) and not c.startswith("instrument_")
    ]
    if quantity not in numeric:
        raise BadInput(f"no quantity {quantity!r}", f"one of {', '.join(numeric)}")
    arms = assessment.run.contrasts[contrast]
    rows = []
    for load in loads(assessment):
        pairing = pair(assessment, arms, load, quantity)
        value, low, high, note = _ends(pairing.ratio(confidence))
        if pairing.restarted:
            rest = _ends(pairing.ratio(confidence, without=pairing.restarted))
            note = notes(note, say({b: "needed a second start" for b in pairing.restarted}))
            note += f" (without: {_shown(*rest[:3])})"
        rows.append(
            {"contrast": contrast, "numerator": arms[0], "denominator": arms[1],
             "quantity": quantity, **dict(zip(LOAD, load, strict=True)),
             "blocks": len(pairing.numerator), "ratio": value, "low": low, "high": high,
             "note": note, "blocks_left_out": pairing.note}
        )  # fmt: skip
    return tidy(
        rows,
        ("contrast", "numerator", "denominator", "quantity", *LOAD, "blocks", "ratio", "low",
         "high", "note", "blocks_left_out"),
    )  # fmt: skip


def _ends(found: Estimate | None) -> tuple[float, float, float, str]:
    """Value, ends and note of a ratio; NaN where no block is left."""
    if found is None:
        return math.nan, math.nan, math.nan, NOTHING
    return found.value, found.low, found.high, found.note


def _shown(value: float, low: float, high: float) -> str:
    """A ratio with its interval, to be read."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g}, {low:.3g} to {high:.3g}"
