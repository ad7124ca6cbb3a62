"""How throughput grows with the load: the Universal Scalability Law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from heavyweight.stats.estimate import Estimate, NotEstimable
from heavyweight.stats.goodput import mean_t
from heavyweight.stats.ratios import mean_log_t

LEAST_LOADS = 5
MOST_RESIDUAL = 0.5  # a law that is farther off at a load has parameters that say nothing
METHOD = "Universal Scalability Law, fitted in each block on the log scale"


@dataclass(frozen=True)
class Scaling:
    """The law X(N) = rate N / (1 + sigma (N - 1) + kappa N (N - 1)), over blocks.

    Args:
        rate: throughput at one user, in the unit of the data.
        sigma: contention: the share of the work that is done one after the other. Below 0 the
            throughput grows faster than the load.
        kappa: cost of agreeing with each other, which makes throughput fall at high loads. Below 0
            the throughput bends upward.
        peak: load of the highest throughput; :class:`NotEstimable` where a block has none.
        residual: largest distance of a measured throughput from its block's fit, relative.
    """

    rate: Estimate
    sigma: Estimate
    kappa: Estimate
    peak: Estimate | NotEstimable
    residual: float

    def at(self, loads: ArrayLike) -> np.ndarray:
        """Throughput at each load by the mean parameters, in the unit of the data."""
        n = np.asarray(loads, dtype=float)
        share = 1 + self.sigma.value * (n - 1) + self.kappa.value * n * (n - 1)
        return np.asarray(self.rate.value * n / share)


def usl(
    loads: ArrayLike, throughput_by_block: Mapping[int, ArrayLike], confidence: float = 0.95
) -> Scaling | NotEstimable:
    """Fit the Universal Scalability Law in each block; intervals over blocks (Gunther 2007, ch. 4).

    The fit is by least squares of the log throughput, so that each load counts alike. Parameters
    are not held above 0: held there, they would be too large on average where the truth is 0.

    Args:
        loads: ascending and positive, in users.
        throughput_by_block: block -> positive throughput at each load, in any unit.
        confidence: of the intervals: Student's t over blocks, of the rate and the peak on the log
            scale.

    Returns:
        The law; one block has values and no intervals. :class:`NotEstimable` below 5 loads, and
        where the law is off by more than half at a load of a block.

    Raises:
        ValueError: no blocks, loads that are not ascending and positive, or a throughput that is
            not positive and finite.
    """
    n = np.asarray(loads, dtype=float)
    if not throughput_by_block:
        raise ValueError("no blocks")
    if n.ndim != 1 or not (np.isfinite(n) & (n > 0)).all() or (np.diff(n) <= 0).any():
        raise ValueError("loads must be positive, finite and ascending, each once")
    fits = {}
    for block, throughput in throughput_by_block.items():
        x = np.asarray(throughput, dtype=float)
        if x.shape != n.shape:
            raise ValueError(f"each block needs one throughput at each of the {n.size} loads")
        if not (np.isfinite(x) & (x > 0)).all():
            raise ValueError("a throughput is not positive and finite, so it has no logarithm")
        fits[block] = x
    if n.size < LEAST_LOADS:
        return NotEstimable(LEAST_LOADS, n.size, METHOD, f"needs {LEAST_LOADS} loads, has {n.size}")
    rows, residual = [], 0.0
    for block, x in fits.items():
        found = _fit(n, x)
        if found is None:
            note = f"the law does not describe block {block}: no fit within {MOST_RESIDUAL:.0%}"
            return NotEstimable(LEAST_LOADS, n.size, METHOD, note)
        rows.append(found[:3])
        residual = max(residual, found[3])
    rate, sigma, kappa = np.array(rows).T
    return Scaling(
        rate=_named(mean_log_t(rate, confidence)),
        sigma=_named(mean_t(sigma, confidence, least=-math.inf)),
        kappa=_named(mean_t(kappa, confidence, least=-math.inf)),
        peak=_peak(sigma, kappa, float(n[-1]), confidence),
        residual=residual,
    )


def _fit(n: np.ndarray, x: np.ndarray) -> tuple[float, float, float, float] | None:
    """Rate, sigma, kappa and largest relative residual; None where the law does not fit.

    N / X is linear in 1/rate, sigma/rate and kappa/rate: its least squares, relative to N / X, are
    where the search starts.
    """
    terms = np.column_stack([np.ones_like(n), n - 1, n * (n - 1)])
    cost = n / x
    unit = float(np.exp(np.log(cost).mean()))
    cost = cost / unit
    start = np.linalg.lstsq(terms / cost[:, None], np.ones_like(cost), rcond=None)[0]

    def distances(parameters: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(np.maximum(terms @ parameters, 1e-12)) - np.log(cost))

    def slopes(parameters: np.ndarray) -> np.ndarray:
        return np.asarray(terms / np.maximum(terms @ parameters, 1e-12)[:, None])

    found = optimize.least_squares(
        distances, start, slopes, method="lm", x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12
    )
    one, sigma, kappa = found.x
    if not found.success or one <= 0 or (terms @ found.x <= 0).any():
        return None
    worst = float(np.abs(np.expm1(distances(found.x))).max())
    if worst > MOST_RESIDUAL:
        return None
    return 1 / (one * unit), sigma / one, kappa / one, worst


def _named(estimate: Estimate) -> Estimate:
    """The estimate with the law in its method."""
    method = f"{METHOD}; {estimate.method}"
    return Estimate(
        estimate.value,
        estimate.low,
        estimate.high,
        estimate.n,
        estimate.confidence,
        method,
        estimate.note,
    )


def _peak(
    sigma: np.ndarray, kappa: np.ndarray, highest: float, confidence: float
) -> Estimate | NotEstimable:
    """Load of the highest throughput, sqrt((1 - sigma) / kappa) (Gunther 2007, eq. 4.33)."""
    has = (kappa > 0) & (sigma < 1)
    n = int(has.size)
    if not has.all():
        note = f"{n - int(has.sum())} of {n} blocks have no peak: throughput rises with every user"
        return NotEstimable(n, int(has.sum()), METHOD, note)
    peak = _named(mean_log_t(np.sqrt((1 - sigma) / kappa), confidence))
    if peak.value <= highest:
        return peak
    note = "; ".join(filter(None, (peak.note, "beyond the highest load: not seen, extrapolated")))
    return Estimate(peak.value, peak.low, peak.high, n, confidence, peak.method, note)
