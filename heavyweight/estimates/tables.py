"""Throughput and ratios over blocks. Only VALID cells enter."""

from __future__ import annotations

import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import by_block, loads, over_blocks, tidy
from heavyweight.estimates.contrasts import contrast_table
from heavyweight.estimates.frames import LOAD


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
        prompt_tokens, blocks, ratio, low, high, note, blocks_left_out; see ``contrast_table``.

    Raises:
        BadInput: the contrast or the quantity is unknown.
    """
    if contrast not in assessment.run.contrasts:
        raise BadInput(
            f"no contrast {contrast!r} in {assessment.run.run}",
            f"one of {', '.join(assessment.run.contrasts) or '(none: a run by hand)'}",
            "measure a profile that has it",
        )
    arms = assessment.run.contrasts[contrast]
    return contrast_table(assessment, {contrast: arms}, (quantity,), confidence)
