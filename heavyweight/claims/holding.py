"""An estimate held against a rule of numbers: on which side its whole interval lies."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

from heavyweight.article.claim import Answer
from heavyweight.article.rules import Band, Condition, Equivalence, Range, Threshold
from heavyweight.stats import Estimate, p_of
from heavyweight.tables import interval, load_interval, number
from heavyweight.text import count_of

NumberRule = Band | Range | Threshold | Equivalence
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Held:
    """What a rule says of an estimate.

    Args:
        answer: of the rule.
        why: the rest of a sentence that begins with the number.
        limits: the numbers it was held against.
        p: two-sided p value of the nearest limit; 1 where the value lies between two limits of
            which neither decides; NaN without an interval.
    """

    answer: Answer
    why: str
    limits: tuple[float, ...]
    p: float


def limits_of(
    rule: NumberRule, published: tuple[float, float] | None, fraction: float
) -> tuple[float, ...]:
    """The numbers that a rule compares with, in the unit of the published number.

    Args:
        rule: of the ledger.
        published: lowest and highest published value, equal for a single one; for a band or range.
        fraction: the ledger's width of a band, where the rule has none of its own.

    Raises:
        ValueError: a band or range without a published value.
    """
    if isinstance(rule, Band | Range):
        if published is None:
            raise ValueError(f"a {rule.by} needs a published number")
        wide = 1 + (fraction if rule.fraction is None else rule.fraction)
        return published[0] / wide, published[1] * wide
    if isinstance(rule, Equivalence):
        return rule.low, rule.high
    sides = (rule.reproduced, rule.refuted)
    return tuple(sorted({side.value for side in sides if side is not None}))


def hold(rule: NumberRule, estimate: Estimate, limits: tuple[float, ...]) -> Held:
    """Hold an estimate against a rule.

    Args:
        rule: of the ledger; for an equivalence the estimate has the interval at 1 - 2 alpha.
        estimate: with its interval, or without: then nothing is decided.
        limits: of :func:`limits_of`, in the estimate's unit.
    """
    if not estimate.has_interval:
        reason = estimate.note or "it has no interval"
        return Held("inconclusive", f"{reason}, so that nothing is decided", limits, math.nan)
    if isinstance(rule, Threshold):
        return _threshold(rule, estimate, limits)
    low, high = limits
    name = "limits of equality" if isinstance(rule, Equivalence) else "band"
    words = f"the {name} {'are' if name != 'band' else 'is'} {number(low)} to {number(high)}"
    inside = low <= estimate.low and estimate.high <= high
    outside = estimate.high < low or estimate.low > high
    place = "inside" if inside else "outside altogether" if outside else "across a limit"
    answer: Answer = "reproduced" if inside else "refuted" if outside else "inconclusive"
    return Held(answer, f"{words}: {place}", limits, _nearest(estimate, limits))


def _threshold(rule: Threshold, estimate: Estimate, limits: tuple[float, ...]) -> Held:
    sides: tuple[tuple[Answer, Condition | None], ...] = (
        ("reproduced", rule.reproduced),
        ("refuted", rule.refuted),
    )
    words = ", ".join(f"{name} if {c.op} {c.value:g}" for name, c in sides if c is not None)
    for name, condition in sides:
        if condition is None:
            continue
        # The end that is nearest to the limit must meet the condition.
        end = estimate.low if condition.op.startswith(">") else estimate.high
        if OPERATORS[condition.op](end, condition.value):
            return Held(name, f"{words}: {name}", limits, _p(estimate, condition.value))
    across = [v for v in limits if estimate.low <= v <= estimate.high]
    if across:
        place = f"the interval holds {' and '.join(f'{v:g}' for v in across)}"
        return Held("inconclusive", f"{words}: {place}", limits, _nearest(estimate, limits))
    return Held("inconclusive", f"{words}: on no side that decides", limits, 1.0)


def _nearest(estimate: Estimate, limits: tuple[float, ...]) -> float:
    """p of the nearest limit: inside a band both must be excluded, outside it the nearer one."""
    found = [_p(estimate, limit) for limit in limits]
    return max(found)


def _p(estimate: Estimate, limit: float) -> float:
    """Two-sided p of one limit; NaN where the interval is not one of Student's t on logs."""
    by_t = "Student's t" in estimate.method and "log scale" in estimate.method
    if not (by_t and estimate.value > 0 and math.isfinite(estimate.value) and estimate.low > 0):
        return math.nan
    return p_of(estimate, limit)


def told(estimate: Estimate, unit: str) -> str:
    """An estimate in words: ``8.99 x [7.76, 10.4] over 3 blocks``."""
    blocks = count_of(estimate.n, "block")
    ends = (estimate.value, estimate.low, estimate.high)
    users = unit == "users"
    shown = load_interval(*ends) if users else interval(*ends)
    level = "" if estimate.confidence == 0.95 else f" ({estimate.confidence:.0%} interval)"
    return f"{shown} {unit}{level} over {blocks}"
