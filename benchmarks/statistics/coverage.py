"""How often each interval holds the truth, beside how often it says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from benchmarks.statistics import simulate
from heavyweight.stats import (
    Estimate,
    NotEstimable,
    blocks_needed,
    crossover,
    effective_sample_size,
    goodput,
    hierarchical,
    holm,
    log_ratio_bca,
    log_ratio_t,
    mean_log_t,
    mean_t,
    order_statistic_interval,
    p_of,
    plan,
    tost,
    trend,
    usl,
)
from heavyweight.stats.bootstrap import Samples, Statistic

BLOCKS = (3, 4, 6, 10)
RATIO = 1.7


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        interval: which method.
        setting: of the simulated studies.
        blocks: of each study; requests for an interval inside a session.
        nominal: share that the method promises; NaN: none.
        measured: share that was seen.
        studies: that were simulated and had an interval.
    """

    interval: str
    setting: str
    blocks: int
    nominal: float
    measured: float
    studies: int

    @property
    def error(self) -> float:
        """Monte Carlo standard error of the measured share."""
        share = min(max(self.measured, 0.5 / self.studies), 1 - 0.5 / self.studies)
        return math.sqrt(share * (1 - share) / self.studies)


def row(interval: str, setting: str, blocks: int, nominal: float, seen: Iterable[bool]) -> Row:
    """A line from what was seen in each study."""
    hits = np.fromiter(seen, dtype=bool)
    return Row(interval, setting, blocks, nominal, float(hits.mean()), int(hits.size))


def holds(found: Estimate | NotEstimable | None, truth: float) -> bool:
    """Whether the interval holds the truth.

    Raises:
        TypeError: there is no interval, which in a simulated study cannot be.
    """
    if not isinstance(found, Estimate):
        raise TypeError(f"no interval: {found}")
    return found.low <= truth <= found.high


def by_block(values: np.ndarray) -> dict[int, float]:
    """One number a block."""
    return dict(enumerate(values.tolist()))


def ratios(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Student's t of the ratio, with block effects of three shapes."""
    for tails in ("normal", "heavy", "skewed"):
        for blocks in BLOCKS:
            arms = simulate.levels(rng, studies, blocks, RATIO, tails)
            seen = (holds(log_ratio_t(by_block(a), by_block(b)), RATIO) for a, b in arms)
            yield row("t of the ratio", f"{tails} block effects", blocks, 0.95, seen)


def percentiles(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Student's t of ratios of percentiles over 200 requests in waves; A/A studies."""
    for blocks in BLOCKS:
        requests = simulate.latencies(rng, studies // 2, blocks, 200, ratio=RATIO)
        for q in (0.5, 0.95):
            tops = np.quantile(requests, q, axis=-1, method="inverted_cdf")
            truth = simulate.quantile_ratio(RATIO, q)
            seen = (holds(log_ratio_t(by_block(a), by_block(b)), truth) for a, b in tops)
            yield row(f"t of ratios of the p{100 * q:g}", "waves", blocks, 0.95, seen)
    for blocks in BLOCKS:
        same = simulate.latencies(rng, studies // 2, blocks, 200, spread=(0.5, 0.5))
        tops = np.quantile(same, 0.5, axis=-1, method="inverted_cdf")
        seen = (not holds(log_ratio_t(by_block(a), by_block(b)), 1.0) for a, b in tops)
        yield row("t of ratios: false alarms", "A/A, the p50", blocks, 0.05, seen)


def bca(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """BCa over blocks: as given out from 10 blocks on, and what it would be with fewer."""
    for blocks in BLOCKS:
        arms = simulate.levels(rng, studies // 2, blocks, RATIO)
        first = log_ratio_bca(by_block(arms[0, 0]), by_block(arms[0, 1]), seed=0)
        setting = "given" if isinstance(first, Estimate) else "refused"
        logs = np.log(arms[:, 0] / arms[:, 1])
        found = (
            stats.bootstrap((x,), np.mean, n_resamples=1999, method="BCa", rng=rng) for x in logs
        )
        intervals = (f.confidence_interval for f in found)
        seen = (i.low <= math.log(RATIO) <= i.high for i in intervals)
        yield row("BCa of the ratio", setting, blocks, 0.95, seen)


def resampling(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """The hierarchical bootstrap of ratios over 100 requests in waves."""
    truths = {"mean": simulate.mean_ratio(RATIO), "p50": simulate.quantile_ratio(RATIO, 0.5)}
    truths["p95"] = simulate.quantile_ratio(RATIO, 0.95)
    for blocks in BLOCKS:
        requests = simulate.latencies(rng, studies // 8, blocks, 100, ratio=RATIO)
        for name, truth in truths.items():
            seen: list[bool] = []
            for a, b in requests:
                study: Samples = {"a": {1: by_row(a)}, "b": {1: by_row(b)}}
                q = 0.95 if name == "p95" else 0.5
                kind: Statistic = "mean" if name == "mean" else "quantile"
                found = hierarchical(study, kind, q, resamples=1999, seed=len(seen))
                seen.append(holds(found.ratio("a", "b", 1), truth))
            yield row(f"hierarchical bootstrap, {name}", "waves", blocks, 0.95, seen)


def by_row(values: np.ndarray) -> dict[int, np.ndarray]:
    """One array a block."""
    return dict(enumerate(values))


def order_statistics(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Percentiles inside a session, requests independent and in waves."""
    for n, q in ((100, 0.5), (500, 0.5), (500, 0.95), (2000, 0.95), (2000, 0.99)):
        truth = float(special.ndtri(q))
        independent = rng.standard_normal((studies // 2, n))
        dependent = simulate.waves(rng, (studies // 2, n))
        strong = simulate.waves(rng, (studies // 2, n), share=0.8)
        for setting, samples, counted in (
            ("independent", independent, False),
            ("waves taken for independent", dependent, False),
            ("waves, effective size", dependent, True),
            ("strong waves, effective size", strong, True),
        ):
            found = [order_statistics_of(sample, q, counted) for sample in samples]
            seen = [holds(e, truth) for e in found if isinstance(e, Estimate) and e.has_interval]
            if len(seen) > len(found) / 10:
                yield row(f"order statistics, p{100 * q:g}", setting, n, 0.95, seen)


def order_statistics_of(sample: np.ndarray, q: float, counted: bool) -> object:
    """As a cell's percentile is computed, with its effective sample size or without."""
    top = np.quantile(sample, q, method="inverted_cdf")
    n_eff = effective_sample_size(sample <= top) if counted else None
    return order_statistic_interval(sample, q, n_eff=n_eff)


def crossovers(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """The crossover in the middle, near both edges, beyond them, and of a bent curve."""
    for where, bend in ((5.0, 0.0), (5.0, 0.2), (1.2, 0.0), (45.0, 0.0), (0.9, 0.0), (60.0, 0.0)):
        truth = 0.0 if where < 1 else math.inf if where > 50 else where
        setting = f"N* = {where:g}{', bent' if bend else ''}"
        for blocks in (3, 6, 10):
            mean = simulate.crossing_curve(where, bend)
            found = [
                crossover(simulate.LOADS, by_row(study))
                for study in simulate.curves(rng, studies // 2, blocks, mean)
            ]
            decided = [c for c in found if c.estimate is c.by_t]
            if len(decided) > 50:
                seen = (holds(c.by_t, truth) for c in decided)
                yield row("crossover, t where it decides", setting, blocks, 0.95, seen)
                seen = (holds(c.by_inversion, truth) for c in decided)
                yield row("crossover, inverted in these studies", setting, blocks, 0.95, seen)
            seen = (holds(c.by_inversion, truth) for c in found)
            yield row("crossover, by inversion", setting, blocks, 0.95, seen)
            seen = (holds(c.estimate, truth) for c in found)
            yield row("crossover, as given", setting, blocks, 0.95, seen)


def scalings(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Parameters of the Universal Scalability Law."""
    for blocks in (3, 6):
        for kappa in (0.001, 0.0):
            truths = {"rate": 60.0, "sigma": 0.05, "kappa": kappa}
            if kappa:
                truths["peak"] = math.sqrt((1 - 0.05) / kappa)
            found = [
                usl(simulate.LOADS, by_row(study))
                for study in simulate.scaling(rng, studies // 10, blocks, kappa=kappa)
            ]
            for name, truth in truths.items():
                parts = [getattr(f, name, None) for f in found]
                seen = [holds(p, truth) for p in parts if isinstance(p, Estimate)]
                yield row(f"scalability law, {name}", f"kappa = {kappa:g}", blocks, 0.95, seen)


def decisions(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """False alarms of the tests: TOST at the band's edge, Holm with five true hypotheses."""
    for blocks in BLOCKS:
        arms = simulate.levels(rng, studies, blocks, 1.25)
        seen = (tost(by_block(a), by_block(b), 0.8, 1.25).equivalent for a, b in arms)
        yield row("TOST: false alarms", "ratio at the edge", blocks, 0.05, seen)
    arms = simulate.levels(rng, studies, 5 * 6, 1.0).reshape(studies, 2, 5, 6)
    wrong = []
    for study in np.log(arms[:, 0] / arms[:, 1]):
        p = [p_of(mean_log_t(np.exp(x)), 1.0) for x in study]
        wrong.append(min(holm(p).adjusted) < 0.05)
    yield row("Holm: false alarms", "5 true hypotheses", 6, 0.05, wrong)


def goodputs(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Goodput inside a session, and its mean over blocks, zeros among them."""
    for share in (0.9, 0.5, 0.02):
        limit = float(special.ndtri(share))
        dependent, strong = (
            simulate.waves(rng, (studies // 2, 400), share=s) < limit for s in (0.5, 0.8)
        )
        for setting, samples, counted in (
            ("waves taken for independent", dependent, False),
            ("waves, effective size", dependent, True),
            ("strong waves, effective size", strong, True),
        ):
            found = (
                goodput(x, 40.0, n_eff=effective_sample_size(x) if counted else None)
                for x in samples
            )
            seen = (holds(e, share * 10) for e in found)
            yield row(f"goodput in a session, {share:.0%} met", setting, 400, 0.95, seen)
    for blocks in BLOCKS:
        for setting, values in (
            ("80% met, sd 10%", 10 * rng.beta(12, 3, (studies // 2, blocks))),
            ("20% met, half of the blocks none", 4 * rng.integers(0, 2, (studies // 2, blocks))),
        ):
            truth = 8.0 if "80%" in setting else 2.0
            seen = (holds(mean_t(x), truth) for x in values)
            yield row("goodput over blocks, t", setting, blocks, 0.95, seen)


def trends(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Change over the blocks of a study, where there is none and where there is one."""
    for change in (0.0, 0.2):
        for blocks in BLOCKS:
            means = (1 + change) ** np.linspace(0, 1, blocks)
            values = means * simulate.levels(rng, studies // 4, blocks, 1.0)[:, 0]
            seen = (holds(trend(x), change) for x in values)
            yield row("trend", f"change of {change:.0%}", blocks, 0.95, seen)


def plans(rng: np.random.Generator, studies: int) -> Iterator[Row]:
    """Share of planned studies that reach the width: as planned, and planned with caution."""
    sd, width = 0.0566 * math.sqrt(2), 0.05
    for pilot in BLOCKS:
        reached: dict[str, list[bool]] = {"as planned": [], "with caution": []}
        for x in np.exp(sd * rng.standard_normal((studies // 2, pilot))):
            found = plan(x, width)
            if isinstance(found, NotEstimable):
                raise TypeError(f"no plan: {found}")
            for name, blocks in (("as planned", found.blocks), ("with caution", found.cautious)):
                study = mean_log_t(np.exp(sd * rng.standard_normal(blocks)))
                reached[name].append(study.high / study.value <= 1 + width)
        for name, seen in reached.items():
            yield row("blocks_needed: reach the width", name, pilot, math.nan, seen)
    true = blocks_needed(sd, width)
    measured = (mean_log_t(x) for x in np.exp(sd * rng.standard_normal((studies, true))))
    narrow = (e.high / e.value <= 1 + width for e in measured)
    yield row("blocks_needed: reach the width", "true spread known", true, math.nan, narrow)


GROUPS: dict[str, Callable[[np.random.Generator, int], Iterator[Row]]] = {
    "ratios": ratios,
    "percentiles": percentiles,
    "bca": bca,
    "resampling": resampling,
    "order_statistics": order_statistics,
    "crossovers": crossovers,
    "scalings": scalings,
    "decisions": decisions,
    "goodputs": goodputs,
    "trends": trends,
    "plans": plans,
}


def measure(studies: int, seed: int = 1, groups: Iterable[str] = GROUPS) -> Iterator[Row]:
    """The table, a group of methods after the other; each group has its own random numbers."""
    order = list(GROUPS)
    for name in groups:
        rng = np.random.default_rng([seed, order.index(name)])
        yield from GROUPS[name](rng, studies)
