"""p values of a crossover, and its interval at another confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from heavyweight.article.claim import Answer
from heavyweight.stats import Estimate, crossover, log_ratio_t, p_of

Curves = tuple[Sequence[int], Mapping[int, np.ndarray]]
"""Loads, and block -> ratio at each of them."""


def p_of_crossing(curves: Curves, limit: float, answer: Answer) -> float:
    """p of a verdict on "the ratio stays above 1 from this load on".

    Reproduced, it must be above 1 at the limit and at every load beyond: the largest of the p
    values counts (Berger 1982, intersection and union). Refuted, it is below 1 at one of them: the
    smallest counts, times their number (Bonferroni). Each is the two-sided p of "the ratio there
    is 1", and 1 where the ratio lies on the other side.

    Args:
        curves: the ratio at each load, block by block.
        limit: of the rule, in users.
        answer: whose p is wanted; for an open one the smaller of both.

    Returns:
        p; NaN with one block, or where the limit lies outside the loads.
    """
    loads, ratios = curves
    if not loads[0] <= limit <= loads[-1] or len(ratios) < 2:
        return math.nan
    above, below = [], []
    for load in [limit, *(n for n in loads if n > limit)]:
        estimate = _ratio_at(curves, load)
        p = p_of(estimate, 1.0)
        above.append(p if estimate.value > 1 else 1.0)
        below.append(p if estimate.value < 1 else 1.0)
    reproduced, refuted = max(above), min(min(below) * len(below), 1.0)
    by_answer = {"reproduced": reproduced, "refuted": refuted}
    return by_answer.get(answer, min(reproduced, refuted))


def widened(curves: Curves, confidence: float) -> Estimate:
    """The crossover at another confidence."""
    loads, ratios = curves
    return crossover(loads, dict(ratios), confidence=confidence).estimate


def _ratio_at(curves: Curves, load: float) -> Estimate:
    """The ratio at a load, between the measured ones linear in the logarithms."""
    loads, ratios = curves
    at = {
        block: math.exp(float(np.interp(math.log(load), np.log(loads), np.log(row))))
        for block, row in ratios.items()
    }
    return log_ratio_t(at, dict.fromkeys(at, 1.0))
