"""The load at which one arm overtakes the other, with its interval over blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from heavyweight.stats.estimate import Estimate
from heavyweight.stats.ratios import mean_log_t

T_METHOD = "crossings paired by block, Student's t over blocks on the log scale"
INVERSION = "t intervals of the log ratio at each load, inverted (Fieller 1954)"


@dataclass(frozen=True)
class Crossover:
    """Where the ratio of two arms passes a threshold upward for the last time, in users or rate.

    A value or an end of 0 says "below the lowest load", one of infinity "above the highest load".

    Args:
        estimate: what decides: Student's t over the blocks' crossings where all of them and the
            interval by inversion lie inside the loads, else the interval by inversion.
        by_t: Student's t over the blocks' crossings; None where one lies outside.
        by_inversion: the loads at which the interval of the mean log ratio holds the threshold.
        crossings: block -> its crossing.
        lowest: lowest load.
        highest: highest load.
        threshold: the ratio that is passed.
        several: blocks in which the ratio passes upward more than once.
    """

    estimate: Estimate
    by_t: Estimate | None
    by_inversion: Estimate
    crossings: Mapping[int, float]
    lowest: float
    highest: float
    threshold: float
    several: int

    @property
    def below(self) -> int:
        """Blocks in which the ratio is at or above the threshold from the lowest load on."""
        return sum(x == 0 for x in self.crossings.values())

    @property
    def above(self) -> int:
        """Blocks in which the ratio is below the threshold at the highest load."""
        return sum(math.isinf(x) for x in self.crossings.values())

    @property
    def inside(self) -> int:
        """Blocks that cross between the lowest and the highest load."""
        return len(self.crossings) - self.below - self.above

    @property
    def value(self) -> float:
        """The load, or 0 below the lowest one, or infinity above the highest one."""
        return self.estimate.value

    @property
    def low(self) -> float:
        """Lower end of the interval; NaN with one block."""
        return self.estimate.low

    @property
    def high(self) -> float:
        """Upper end of the interval; NaN with one block."""
        return self.estimate.high

    @property
    def note(self) -> str:
        """What a reader must know."""
        return self.estimate.note


def crossing(loads: ArrayLike, ratios: ArrayLike, threshold: float = 1.0) -> float:
    """The load from which on the ratio of one block stays at or above the threshold.

    The logarithm of the ratio is taken for linear in the logarithm of the load between two loads.
    A ratio that passes upward more than once crosses where it does so for the last time.

    Args:
        loads: ascending and positive, at least two.
        ratios: the ratio at each load, positive.
        threshold: the ratio that is passed.

    Returns:
        The load; 0 where the ratio is at or above the threshold at every load, infinity where it is
        below it at the highest one.

    Raises:
        ValueError: loads that are not ascending and positive, or a ratio or threshold that is not
            positive and finite.
    """
    x, y = _curve(loads, [ratios], threshold)
    return _crossing(x, y[0])


def crossover(
    loads: ArrayLike,
    ratios_by_block: Mapping[int, ArrayLike],
    threshold: float = 1.0,
    confidence: float = 0.95,
) -> Crossover:
    """The load from which on the ratio stays at or above the threshold, over blocks.

    By inversion: at each load there is Student's t interval over blocks of the log ratio,
    interpolated in each block (Fieller 1954: where its ends meet the threshold is a quadratic
    equation between two loads). The lower end is the highest load at which the ratio is shown to be
    below the threshold, or 0; the upper end is the lowest load from which on it is shown to be
    above, or infinity. No block is ever left out.

    Args:
        loads: ascending and positive, at least two.
        ratios_by_block: block -> the ratio at each load, positive.
        threshold: the ratio that is passed.
        confidence: of the interval.

    Returns:
        The crossover; one block has a value and no interval. As given, an interval of 95% covers
        94 to 95% for crossovers inside the loads, near their edges too (benchmarks/statistics).

    Raises:
        ValueError: no blocks, loads that are not ascending and positive, or a ratio or threshold
            that is not positive and finite.
    """
    if not ratios_by_block:
        raise ValueError("no blocks")
    x, y = _curve(loads, list(ratios_by_block.values()), threshold)
    numbers = [_crossing(x, row) for row in y]
    crossings = dict(zip(ratios_by_block, numbers, strict=True))
    lowest, highest = float(x[0]), float(x[-1])
    n = len(numbers)
    low, high = (math.nan, math.nan) if n == 1 else _inverted(x, y, confidence)
    below = sum(c == 0 for c in numbers)
    above = sum(math.isinf(c) for c in numbers)
    several = sum(_passings(row) > 1 for row in y)
    note = _note(n, below, above, several, lowest, highest)
    if below + above == 0 and n > 1 and not _inside(low, high):
        note = _joined(note, "all blocks cross inside the loads, by a narrow margin")
    by_inversion = Estimate(_crossing(x, y.mean(axis=0)), low, high, n, confidence, INVERSION, note)
    by_t = None
    if below + above == 0:
        t = mean_log_t(numbers, confidence)
        remark = note if n == 1 else _joined(t.note, note)
        by_t = Estimate(t.value, t.low, t.high, n, confidence, T_METHOD, remark)
    return Crossover(
        estimate=by_t if by_t and (n == 1 or _inside(low, high)) else by_inversion,
        by_t=by_t,
        by_inversion=by_inversion,
        crossings=crossings,
        lowest=lowest,
        highest=highest,
        threshold=threshold,
        several=several,
    )


def _curve(
    loads: ArrayLike, rows: list[ArrayLike], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """The loads, and the logs of the ratios over the threshold, one row a block."""
    x = np.asarray(loads, dtype=float)
    if x.ndim != 1 or x.size < 2:
        raise ValueError("a crossing needs at least two loads")
    if not (np.isfinite(x) & (x > 0)).all() or (np.diff(x) <= 0).any():
        raise ValueError("loads must be positive, finite and ascending, each once")
    y = [np.asarray(row, dtype=float) for row in rows]
    if any(row.shape != x.shape for row in y):
        raise ValueError(f"each block needs one ratio at each of the {x.size} loads")
    if not math.isfinite(threshold) or threshold <= 0:
        raise ValueError("the threshold must be positive and finite")
    ratios = np.stack(y)
    if not (np.isfinite(ratios) & (ratios > 0)).all():
        raise ValueError("a ratio is not positive and finite, so it has no logarithm")
    return x, np.log(ratios) - math.log(threshold)


def _at(loads: np.ndarray, i: int, u: float) -> float:
    """The load a share u of the way from load i to the next, on the log scale."""
    low, high = float(loads[i]), float(loads[i + 1])
    return high if u == 1 else low * (high / low) ** u


def _crossing(loads: np.ndarray, y: np.ndarray) -> float:
    """The last upward passing of 0."""
    below = np.flatnonzero(y < 0)
    if not below.size:
        return 0.0
    i = int(below[-1])
    if i == loads.size - 1:
        return math.inf
    return _at(loads, i, float(-y[i] / (y[i + 1] - y[i])))


def _passings(y: np.ndarray) -> int:
    """How many times a curve passes 0 upward."""
    return int(np.count_nonzero((y[:-1] < 0) & (y[1:] >= 0)))


def _inverted(loads: np.ndarray, y: np.ndarray, confidence: float) -> tuple[float, float]:
    """Ends of the interval by inversion.

    Between two loads, at a share u of the way, the mean is a + b u, and the interval there holds 0
    where (a + b u)^2 - factor x variance(u), a quadratic in u, is not positive.
    """
    blocks = y.shape[0]
    mean = y.mean(axis=0)
    off = y - mean
    t = float(special.stdtrit(blocks - 1, (1 + confidence) / 2))
    factor = t**2 / (blocks * (blocks - 1))
    low, high = 0.0, math.inf
    for i in range(loads.size - 1):
        a, b = float(mean[i]), float(mean[i + 1] - mean[i])
        start, step = off[:, i], off[:, i + 1] - off[:, i]
        square = b * b - factor * float(step @ step)
        linear = 2 * (a * b - factor * float(start @ step))
        rest = a * a - factor * float(start @ start)
        cuts = {0.0, 1.0, *_inner_roots(square, linear, rest), *_inner_roots(0.0, b, a)}
        for left, right in pairwise(sorted(cuts)):
            u = (left + right) / 2
            if (square * u + linear) * u + rest <= 0:
                high = math.inf
            elif a + b * u < 0:
                low, high = _at(loads, i, right), math.inf
            else:
                high = min(high, _at(loads, i, left))
    return low, high


def _inner_roots(square: float, linear: float, rest: float) -> list[float]:
    """Roots of ``square u^2 + linear u + rest`` between 0 and 1, without cancellation."""
    inside = linear * linear - 4 * square * rest
    if inside < 0:
        return []
    half = -(linear + math.copysign(math.sqrt(inside), linear)) / 2
    roots = [half / square] if square else []
    roots += [rest / half] if half else []
    return [u for u in roots if 0 < u < 1]


def _inside(low: float, high: float) -> bool:
    """Whether an interval by inversion ends inside the loads on both sides."""
    return low > 0 and high < math.inf


def _note(n: int, below: int, above: int, several: int, lowest: float, highest: float) -> str:
    """What a reader of the estimate must know."""
    parts = ["one block: no interval"] if n == 1 else []
    if below:
        parts.append(f"{below} of {n} blocks cross below {lowest:.4g}, the lowest load")
    if above:
        parts.append(f"{above} of {n} blocks cross above {highest:.4g}, the highest load")
    if several:
        parts.append(f"{several} of {n} blocks pass the threshold more than once: the last counts")
    return "; ".join(parts)


def _joined(*parts: str) -> str:
    """Remarks that say something, in one line."""
    return "; ".join(part for part in parts if part)
