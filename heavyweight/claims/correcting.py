"""Holm's correction over all that was tested together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from heavyweight.article.claim import Answer
from heavyweight.article.rules import Equivalence
from heavyweight.claims.crossing import widened as crossing_at
from heavyweight.claims.verdict import Part
from heavyweight.stats import Estimate, holm, rewiden


def corrected(parts: Sequence[Part], alpha: float) -> list[Part]:
    """The parts with their answers after Holm's correction (Holm 1979).

    All parts that count and were tested against a limit are one family. A number that decided
    without a p value decides nothing after the correction.

    Args:
        parts: of all claims that are judged together.
        alpha: chance of one wrong decision or more.
    """
    found = holm([part.p if part.counts else math.nan for part in parts], alpha)
    return [
        _one(part, p, confidence, alpha)
        for part, p, confidence in zip(parts, found.adjusted, found.confidence, strict=True)
    ]


def _one(part: Part, p: float, confidence: float, alpha: float) -> Part:
    if math.isnan(p):
        undone = part.estimate is not None and part.counts
        return dataclasses.replace(part, adjusted="inconclusive") if undone else part
    adjusted: Answer = part.answer if p < alpha else "inconclusive"
    wide = _widened(part, confidence)
    return dataclasses.replace(part, adjusted=adjusted, p_adjusted=p, widened=wide)


def _widened(part: Part, confidence: float) -> Estimate | None:
    """The interval that leaves out a limit exactly where the corrected test is rejected."""
    if part.estimate is None or not part.estimate.has_interval:
        return None
    if part.curves is not None:
        return crossing_at(part.curves, confidence)
    if isinstance(part.rule, Equivalence):  # two one-sided tests
        confidence = 2 * confidence - 1
    if "Student's t" not in part.estimate.method:
        return None
    return rewiden(part.estimate, confidence)
