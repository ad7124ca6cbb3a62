"""Whether a window is steady, and how many independent values its sequence is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from heavyweight.stats.estimate import Estimate, NotEstimable

BATCH = 5  # MSER-5
TAIL_BATCHES = 5  # never cut into these: the mean of a few values is steady by chance
LEAST_POINTS, MOST_POINTS = 10, 300  # of a Theil-Sen line, which looks at all pairs


@dataclass(frozen=True)
class Cut:
    """Where the start-up phase ends.

    Args:
        index: values before it belong to the start-up phase.
        fraction: index over the number of values.
    """

    index: int
    fraction: float


def mser5(values: ArrayLike) -> Cut:
    """The cut that MSER-5 proposes: the one that leaves the smallest standard error of the mean.

    Of the means of batches of 5 values, those after the cut d minimise
    ``sum((z - mean(z))**2) / (m - d)**2`` (White, Cobb & Spratt 2000; the last five
    batches are no candidates: Hoad, Robinson & Davies 2010). Fewer than 30 values are never cut.

    Args:
        values: a sequence in order of time, finite.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    sequence = _finite(values)
    batches = sequence.size // BATCH
    if batches <= TAIL_BATCHES:
        return Cut(0, 0.0)
    means = sequence[: batches * BATCH].reshape(batches, BATCH).mean(axis=1)
    # Centred and scaled first: sums of squares of large equal numbers would cancel.
    means = means - means.mean()
    scale = float(np.abs(means).max())
    if scale <= 1e-12 * float(np.abs(sequence).max()):
        return Cut(0, 0.0)
    means = means / scale
    left = np.arange(batches, 0, -1)
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means**2)[::-1])[::-1]
    error = np.maximum(squares - sums**2 / left, 0.0) / left**2
    index = int(np.argmin(error[: batches - TAIL_BATCHES + 1])) * BATCH
    return Cut(index, index / sequence.size)


def shift(values: ArrayLike, index: int, confidence: float = 0.95) -> Estimate:
    """How far the values before a cut lie from those after it, relative to the mean after it.

    MSER-5 says where to cut, not whether it matters: of 60 to 200 independent values it cuts more
    than half in 6 to 22% of all sequences. The interval is Welch's (1947), over batches of 5.

    Args:
        values: a sequence in order of time, finite, with a positive mean.
        index: the first value after the cut; at least two batches lie on each side.
        confidence: of the interval.

    Raises:
        ValueError: too few values on a side, or one that is not finite.
    """
    sequence = _finite(values)
    sides = [sequence[index % BATCH : index], sequence[index:]]
    before, after = (x[: x.size // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1) for x in sides)
    if min(before.size, after.size) < 2:
        raise ValueError("needs two batches of 5 values on each side of the cut")
    level = float(after.mean())
    if level <= 0:
        raise ValueError("needs a positive mean after the cut")
    method = "difference of means, Welch's t over batches of 5"
    change = float(before.mean()) - level
    if before.var() + after.var() == 0:
        low = high = change
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            interval = stats.ttest_ind(before, after, equal_var=False).confidence_interval(
                confidence
            )
        low, high = float(interval.low), float(interval.high)
    return Estimate(change / level, low / level, high / level, sequence.size, confidence, method)


def drift(times: ArrayLike, values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Relative change of a quantity over the window: Theil-Sen slope x span / median.

    The interval is Sen's (1968), from Kendall's statistic, which takes the values for independent.
    Means of successive batches stand for them where neighbours resemble each other (as many as the
    residuals of a straight line are worth, at least 10), and at most 300, since all pairs are seen.

    Args:
        times: when each value was seen, in any unit, ascending.
        values: finite, with a positive median.
        confidence: of the interval.

    Raises:
        ValueError: fewer than 10 values, one that is not finite, or no span of time.
    """
    x, y = _finite(times), _finite(values)
    if x.size != y.size or x.size < LEAST_POINTS:
        raise ValueError("needs at least 10 values, each with its time")
    span, middle = float(x[-1] - x[0]), float(np.median(y))
    if span <= 0 or middle <= 0:
        raise ValueError("needs ascending times and a positive median")
    n = x.size
    residuals = y - np.polynomial.Polynomial.fit(x, y, 1)(x)
    points = min(max(effective_sample_size(residuals), LEAST_POINTS), MOST_POINTS)
    size = min(math.ceil(n / points), n // LEAST_POINTS)
    if size > 1:
        whole = n // size * size
        x = x[:whole].reshape(-1, size).mean(axis=1)
        y = y[:whole].reshape(-1, size).mean(axis=1)
    slope = stats.theilslopes(y, x, alpha=confidence)
    unit = span / middle
    return Estimate(
        value=float(slope.slope) * unit,
        low=float(slope.low_slope) * unit,
        high=float(slope.high_slope) * unit,
        n=n,
        confidence=confidence,
        method="Theil-Sen slope, relative change over the window",
    )


def trend(values_in_order: ArrayLike, confidence: float = 0.95) -> Estimate | NotEstimable:
    """Relative change from the first block to the last: least squares of the logs.

    Student's t interval of the slope, with n - 2 degrees of freedom.

    Args:
        values_in_order: one positive number a block, in the order in which they were measured.
        confidence: of the interval.

    Returns:
        The change (0.1: the last is 10% above the first); below 3 values :class:`NotEstimable`.

    Raises:
        ValueError: no values, or one that is not positive and finite.
    """
    sequence = _finite(values_in_order)
    if (sequence <= 0).any():
        raise ValueError("a value is not positive, so it has no logarithm")
    n = int(sequence.size)
    method = "least squares of the logs in order, Student's t of the slope"
    if n < 3:
        return NotEstimable(3, n, method, f"a trend needs 3 blocks, has {n}")
    logs = np.log(sequence)
    slope = half = 0.0
    if np.ptp(logs) > 0:
        line = stats.linregress(np.arange(n), logs)
        slope = float(line.slope)
        half = float(stats.t.ppf((1 + confidence) / 2, n - 2)) * float(line.stderr)
    ends = (np.array([0.0, -half, half]) + slope) * (n - 1)
    with np.errstate(over="ignore"):
        value, low, high = (float(x) for x in np.expm1(ends))
    note = "three blocks: one degree of freedom, a very wide interval" if n == 3 else ""
    return Estimate(value, low, high, n, confidence, method, note)


def effective_sample_size(values: ArrayLike) -> float:
    """How many independent values a sequence is worth for its mean.

    ``n / (1 + 2 * sum of autocorrelations)``, the sum cut by the initial monotone sequence of Geyer
    (1992, section 3.3). Never above n: that neighbours balance each other is not counted on.

    Args:
        values: a sequence in order of time, finite; for a quantile, whether each value lies at or
            below it.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    sequence = _finite(values)
    n = sequence.size
    centred = sequence - sequence.mean()
    if np.abs(centred).max() <= 1e-12 * np.abs(sequence).max():
        return float(n)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(centred, size)) ** 2
    correlations = np.fft.irfft(spectrum, size)[:n]
    correlations /= correlations[0]
    pairs = correlations[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    below = np.flatnonzero(pairs <= 0)
    kept = pairs[: below[0]] if below.size else pairs
    inflation = 2 * float(np.minimum.accumulate(kept).sum()) - 1 if kept.size else 1.0
    return float(n / max(inflation, 1.0))


def _finite(values: ArrayLike) -> np.ndarray:
    """The values as floats.

    Raises:
        ValueError: none, or one that is not finite.
    """
    numbers = np.asarray(values, dtype=float).ravel()
    if numbers.size == 0:
        raise ValueError("no values")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not finite")
    return numbers
