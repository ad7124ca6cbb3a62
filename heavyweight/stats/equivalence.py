"""Whether two arms are as good as equal: two one-sided tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import special

from heavyweight.stats.estimate import Estimate
from heavyweight.stats.multiple import ROUNDING, log_standard_error
from heavyweight.stats.ratios import log_ratio_t


@dataclass(frozen=True)
class Equivalence:
    """A ratio against a band.

    Args:
        estimate: the ratio with its interval of confidence 1 - 2 alpha.
        low: lower edge of the band.
        high: upper edge of the band.
        alpha: error of each one-sided test.
        p: the larger of the two one-sided p values; NaN with one block.
        equivalent: whether p is below alpha: the whole interval lies inside the band.
        different: whether the whole interval lies outside the band.
    """

    estimate: Estimate
    low: float
    high: float
    alpha: float
    p: float
    equivalent: bool
    different: bool


def tost(
    numerator_by_block: Mapping[int, float],
    denominator_by_block: Mapping[int, float],
    low: float,
    high: float,
    alpha: float = 0.05,
) -> Equivalence:
    """Two one-sided t tests of a ratio, paired by block, on the log scale (Schuirmann 1987).

    Args:
        numerator_by_block: block -> statistic of the first arm.
        denominator_by_block: block -> statistic of the second arm, in the same unit.
        low: lower edge of the band of ratios that count as equal.
        high: upper edge of the band.
        alpha: error of each test, and of the two together.

    Returns:
        The decision; one block decides nothing.

    Raises:
        ValueError: no block in common, a value that is not positive and finite, a band that is
            empty or not positive, or an alpha that is not between 0 and 0.5.
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"a band needs 0 < low < high, not {low} and {high}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, not {alpha}")
    estimate = log_ratio_t(numerator_by_block, denominator_by_block, 1 - 2 * alpha)
    if not estimate.has_interval:
        return Equivalence(estimate, low, high, alpha, math.nan, False, False)
    log_value = math.log(estimate.value)
    error = log_standard_error(estimate)
    p = max(
        _one_sided(log_value - math.log(low), error, estimate.n),
        _one_sided(math.log(high) - log_value, error, estimate.n),
    )
    different = estimate.high < low or estimate.low > high
    return Equivalence(estimate, low, high, alpha, p, p < alpha, different)


def _one_sided(distance: float, error: float, n: int) -> float:
    """p value of "the true distance is not positive"."""
    if error < ROUNDING:
        return 0.0 if distance > 0 else 1.0
    return float(special.stdtr(n - 1, -distance / error))
