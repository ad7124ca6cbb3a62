"""Throughput and ratios over blocks. Only VALID cells enter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import LOAD, Assessment
from heavyweight.estimates.blocks import (
    NOTHING,
    Blocks,
    by_block,
    loads,
    notes,
    over_blocks,
    say,
    tidy,
)
from heavyweight.stats import log_ratio_t


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
        sides = [by_block(assessment, arm, load, quantity) for arm in arms]
        left_out = _unpaired(arms, sides)
        common = sorted((sides[0].values.keys() & sides[1].values.keys()) - left_out.keys())
        restarted = (sides[0].restarted | sides[1].restarted) & set(common)
        value, low, high, note = _ratio(sides, common, confidence)
        if restarted:
            rest = _ratio(sides, [b for b in common if b not in restarted], confidence)
            note = notes(note, say({b: "needed a second start" for b in restarted}))
            note += f" (without: {_shown(*rest[:3])})"
        rows.append(
            {"contrast": contrast, "numerator": arms[0], "denominator": arms[1],
             "quantity": quantity, **dict(zip(LOAD, load, strict=True)), "blocks": len(common),
             "ratio": value, "low": low, "high": high, "note": note,
             "blocks_left_out": say(left_out)}
        )  # fmt: skip
    return tidy(
        rows,
        ("contrast", "numerator", "denominator", "quantity", *LOAD, "blocks", "ratio", "low",
         "high", "note", "blocks_left_out"),
    )  # fmt: skip


def _unpaired(arms: Sequence[str], sides: Sequence[Blocks]) -> dict[int, str]:
    """Blocks that cannot be paired, and why."""
    left_out: dict[int, str] = {}
    for arm, side in zip(arms, sides, strict=True):
        for block, reason in side.left_out.items():
            left_out[block] = notes(left_out.get(block, ""), f"{arm} {reason}")
    first, second = sides
    for block in first.values.keys() ^ second.values.keys():
        left_out.setdefault(block, f"not in {arms[int(block in first.values)]}")
    for block in first.values.keys() & second.values.keys():
        if first.machines[block] != second.machines[block]:
            left_out[block] = "on two machines"
    return left_out


def _ratio(
    sides: Sequence[Blocks], blocks: list[int], confidence: float
) -> tuple[float, float, float, str]:
    """Value, ends and note of the ratio over some blocks."""
    if not blocks:
        return math.nan, math.nan, math.nan, NOTHING
    above, below = ({b: side.values[b] for b in blocks} for side in sides)
    estimate = log_ratio_t(above, below, confidence)
    return estimate.value, estimate.low, estimate.high, estimate.note


def _shown(value: float, low: float, high: float) -> str:
    """A ratio with its interval, to be read."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g}, {low:.3g} to {high:.3g}"
