"""What is measured: the loads, and the figures that are to be reached with each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

PROMPT_TOKENS = 64
MODEL = "emulated"


@dataclass(frozen=True)
class Figure:
    """One measure of a load.

    Args:
        name: of the function in :mod:`benchmarks.measures`.
        title: as it is printed, with its unit.
        must: what has to be reached; None: only shown.
        aim: what would be good.
        higher: whether more is better.
        whole: the value from which a distance is judged (100 for a percentage); None: 0.
    """

    name: str
    title: str
    must: float | None = None
    aim: float | None = None
    higher: bool = False
    whole: float | None = None


@dataclass(frozen=True)
class Case:
    """One load.

    Args:
        name: for --case.
        title: as it is printed.
        figures: what is looked at.
        ttft_ms: the server's time to the first token, in ms.
        itl_ms: its time between two tokens, in ms; 0: as fast as they come.
        tokens: of each answer.
        users: of a closed loop; 0: an open one.
        rate_per_s: of an open loop.
        arrivals: of an open loop.
        seconds: how long this project's clients go on sending once all users have started.
        requests: how many a client sends that is told a number.
        with_peers: measured only in the rounds in which the peers take part.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    ttft_ms: float
    itl_ms: float
    tokens: int
    users: int = 0
    rate_per_s: float = 0.0
    arrivals: Literal["poisson", "constant"] = "constant"
    seconds: float = 5.0
    requests: int = 500
    with_peers: bool = False

    @property
    def response_s(self) -> float:
        """How long the server takes for one answer."""
        return (self.ttft_ms + (self.tokens - 1) * self.itl_ms) / 1e3

    def task(self, port: int, out: str) -> dict[str, Any]:
        """What a client script of this folder is told."""
        told = {name: value for name, value in asdict(self).items() if name != "figures"}
        return {
            **told, "response_s": self.response_s, "port": port, "out": out, "model": MODEL,
            "prompt_tokens": PROMPT_TOKENS,
        }  # fmt: skip


def _ttft(must: float, aim: float) -> tuple[Figure, ...]:
    return (
        Figure("ttft_error_p99_ms", "TTFT error p99, ms", must, aim),
        Figure("ttft_matched_p99_ms", "the same by matched quantiles, ms"),
    )


CASES: tuple[Case, ...] = (
    Case(
        "8", "8 streams, TTFT 50 ms, ITL 10 ms, 16 tokens", _ttft(0.6, 0.3),
        ttft_ms=50, itl_ms=10, tokens=16, users=8, seconds=6, requests=240,
    ),
    Case(
        "256", "256 streams, TTFT 200 ms, ITL 20 ms, 128 tokens",
        (
            *_ttft(1.0, 0.3),
            Figure("e2e_error_p99_ms", "E2E error p99, ms", 5.0, 2.0),
            Figure("e2e_matched_p99_ms", "the same by matched quantiles, ms"),
            Figure("tokens_seen_percent", "tokens/s seen, % of those sent", 99.5, 99.9, True, 100),
        ),
        ttft_ms=200, itl_ms=20, tokens=128, users=256, seconds=2.74, requests=512,
    ),
    Case(
        "fast", "64 streams as fast as they come, 512 tokens",
        (
            Figure("events_per_s", "events/s", 150_000, 300_000, True),
            Figure("events_per_cpu_s", "events per second of the client's CPU", higher=True),
        ),
        ttft_ms=0, itl_ms=0, tokens=512, users=64, seconds=2.5, requests=192,
    ),
    Case(
        "open", "100 requests/s, Poisson, TTFT 50 ms, ITL 10 ms, 16 tokens",
        (Figure("lag_p99_ms", "dispatch lag p99 (sent - due), ms", 0.6, 0.3),),
        ttft_ms=50, itl_ms=10, tokens=16, rate_per_s=100, arrivals="poisson", seconds=6,
    ),
    Case(
        "even", "100 requests/s, constant, TTFT 50 ms, ITL 10 ms, 16 tokens",
        (Figure("grid_lag_p99_ms", "lag p99 behind an even grid, as the server read, ms"),),
        ttft_ms=50, itl_ms=10, tokens=16, rate_per_s=100, seconds=5, with_peers=True,
    ),
    Case(
        "1024", "1,024 streams at 50 tokens/s each, TTFT 200 ms, 128 tokens", _ttft(20.0, 1.0),
        ttft_ms=200, itl_ms=20, tokens=128, users=1024, seconds=2.74, requests=1536,
    ),
)  # fmt: skip
