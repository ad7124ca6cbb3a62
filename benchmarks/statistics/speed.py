"""What the hierarchical bootstrap costs, beside scipy's on the part that both can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from heavyweight.stats import hierarchical
from heavyweight.stats.bootstrap import Samples, Statistic

ARMS, LOADS, BLOCKS, REQUESTS = 4, 7, 6, 500


@dataclass(frozen=True)
class Timing:
    """One line of the table.

    Args:
        work: what was done.
        by: which program.
        seconds: best of the rounds.
        ratio: to the first line of the same work.
    """

    work: str
    by: str
    seconds: float
    ratio: float


def best(work: Callable[[], object], rounds: int) -> float:
    """Shortest time of a few rounds, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def study(rng: np.random.Generator, blocks: int) -> dict[str, dict[float, dict[int, np.ndarray]]]:
    """Requests of all arms, loads and blocks."""
    return {
        f"arm {a}": {
            float(n): {b: rng.lognormal(size=REQUESTS) for b in range(blocks)}
            for n in range(1, LOADS + 1)
        }
        for a in range(ARMS)
    }


def measure(resamples: int = 10_000, rounds: int = 3) -> Iterator[Timing]:
    """The table."""
    rng = np.random.default_rng(1)
    whole, one = study(rng, BLOCKS), study(rng, 1)

    def ours(values: Samples, statistic: Statistic) -> Callable[[], None]:
        def work() -> None:
            found = hierarchical(values, statistic, resamples=resamples, seed=1)
            for arm, load in found.draws:
                if found.level(arm, load).n == 1:
                    np.quantile(found.draws[arm, load], (0.025, 0.975))

        return work

    statistics: dict[Statistic, tuple[str, Callable[..., object]]] = {
        "quantile": ("median", np.median), "mean": ("mean", np.mean),
    }  # fmt: skip
    cells = f"{ARMS} arms x {LOADS} loads"
    for statistic, (name, _) in statistics.items():
        seconds = best(ours(whole, statistic), rounds if statistic == "quantile" else 1)
        text = f"{name}: {cells} x {BLOCKS} blocks x {REQUESTS} requests, {resamples:,} resamples"
        yield Timing(text, "heavyweight", seconds, 1.0)

    def scipys(statistic: Callable[..., object]) -> Callable[[], None]:
        def work() -> None:
            for loads in one.values():
                for cell in loads.values():
                    stats.bootstrap(
                        (cell[0],), statistic, n_resamples=resamples, method="percentile",
                        batch=1000, rng=np.random.default_rng(1),
                    )  # fmt: skip

        return work

    for statistic, (name, function) in statistics.items():
        text = f"{name}: {cells}, {REQUESTS} requests of one block, {resamples:,} resamples"
        mine = best(ours(one, statistic), rounds)
        theirs = best(scipys(function), 1)
        yield Timing(text, "heavyweight", mine, 1.0)
        yield Timing(text, "scipy.stats.bootstrap", theirs, theirs / mine)
