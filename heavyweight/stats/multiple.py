"""Several decisions at once: Holm's procedure, and intervals as wide as it asks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from heavyweight.stats.estimate import Estimate

ROUNDING = 1e-13  # a smaller standard error is that of equal blocks


@dataclass(frozen=True)
class HolmResult:
    """A family of tests, each in the place where it was given.

    Args:
        adjusted: p values to be compared with alpha; NaN where a test could not be made.
        confidence: of an interval that decides as the adjusted p value does; NaN where a test could
            not be made.
        tests: how many could be made.
        alpha: chance of one wrong rejection or more in the family.
    """

    adjusted: tuple[float, ...]
    confidence: tuple[float, ...]
    tests: int
    alpha: float


def holm(p_values: ArrayLike, alpha: float = 0.05) -> HolmResult:
    """Holm's step-down procedure (Holm 1979).

    The p value of rank i of m is compared with alpha / (m - i + 1), and with the limit of the first
    rank that is not rejected from there on; equal p values have the lowest rank of them all. An
    interval of confidence 1 - limit leaves out its boundary exactly where the test is rejected.
    Together these intervals do not cover with confidence 1 - alpha: only Bonferroni's do.

    Args:
        p_values: of one family; NaN: could not be tested, and is not counted.
        alpha: chance of one wrong rejection or more.

    Raises:
        ValueError: a p value or alpha that is not between 0 and 1.
    """
    p = np.asarray(p_values, dtype=float).ravel()
    tested = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any() or not 0 < alpha < 1:
        raise ValueError("p values and alpha must lie between 0 and 1")
    adjusted, confidence = np.full((2, p.size), math.nan)
    ordered = np.sort(p[tested])
    m = int(ordered.size)
    if m:
        rank = np.searchsorted(ordered, p[tested])  # from 0; the lowest among equals
        steps = m - np.searchsorted(ordered, ordered)
        raised = np.minimum(np.maximum.accumulate(steps * ordered), 1.0)
        kept = np.flatnonzero(ordered >= alpha / steps)
        limits = alpha / steps
        if kept.size:
            limits[kept[0] :] = limits[kept[0]]
        adjusted[tested] = raised[rank]
        confidence[tested] = 1 - limits[rank]
    return HolmResult(tuple(adjusted.tolist()), tuple(confidence.tolist()), m, alpha)


def log_standard_error(estimate: Estimate) -> float:
    """Standard error on the log scale of an estimate by Student's t over blocks.

    Raises:
        ValueError: the estimate is of another kind, has no interval, or one from 0 to
            infinity.
    """
    if "Student's t" not in estimate.method or "log scale" not in estimate.method:
        raise ValueError(f"needs Student's t on the log scale, not {estimate.method}")
    if not estimate.has_interval:
        raise ValueError("one block has no standard error")
    t = float(special.stdtrit(estimate.n - 1, (1 + estimate.confidence) / 2))
    if estimate.low > 0 and estimate.high < math.inf:
        return max(math.log(estimate.high) - math.log(estimate.low), 0.0) / (2 * t)
    if estimate.high < math.inf:
        return (math.log(estimate.high) - math.log(estimate.value)) / t
    if estimate.low > 0:
        return (math.log(estimate.value) - math.log(estimate.low)) / t
    raise ValueError("an interval from 0 to infinity does not tell its standard error")


def rewiden(estimate: Estimate, confidence: float) -> Estimate:
    """The same estimate by Student's t on the log scale with an interval of another confidence.

    Args:
        estimate: of :func:`mean_log_t` or :func:`log_ratio_t`, or of one block.
        confidence: of the new interval.

    Raises:
        ValueError: the estimate is of another kind, or confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    low = high = math.nan
    if estimate.has_interval:
        t = float(special.stdtrit(estimate.n - 1, (1 + confidence) / 2))
        half = t * log_standard_error(estimate)
        with np.errstate(over="ignore"):
            low = float(estimate.value * np.exp(-half))
            high = float(estimate.value * np.exp(half))
    return Estimate(
        estimate.value, low, high, estimate.n, confidence, estimate.method, estimate.note
    )


def p_of(estimate: Estimate, boundary: float) -> float:
    """Two-sided p value of "the true value is the boundary", on the log scale.

    It is below 1 - confidence exactly where the boundary lies outside the interval.

    Args:
        estimate: of :func:`mean_log_t` or :func:`log_ratio_t`, or of one block.
        boundary: positive, in the unit of the estimate.

    Returns:
        The p value; NaN with one block.

    Raises:
        ValueError: the estimate is of another kind, or the boundary is not positive and finite.
    """
    if not 0 < boundary < math.inf:
        raise ValueError("the boundary must be positive and finite")
    if not estimate.has_interval:
        return math.nan
    distance = abs(math.log(estimate.value) - math.log(boundary))
    error = log_standard_error(estimate)
    if error < ROUNDING:
        return 0.0 if distance > 10 * ROUNDING else 1.0
    return 2 * float(special.stdtr(estimate.n - 1, -distance / error))
