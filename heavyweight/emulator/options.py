"""How the emulated server behaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Manner = Literal["ollama", "vllm"]
Batching = Literal["none", "step"]


@dataclass(frozen=True)
class Options:
    """How the server behaves.

    Args:
        api: whose manner of streaming.
        slots: requests worked on at once; the others wait in order of arrival.
        queue: requests that may wait; those beyond get 503. None: without bound.
        ttft_ms: from a free slot to the first token, in ms.
        itl_ms: between two tokens, in ms; 0: as fast as they are read.
        jitter: coefficient of variation of both times, gamma distributed; 0: none.
        seed: of the jitter.
        batching: ``none``: each stream has a schedule of its own. ``step``: all streams write on
            the tick of one engine step, as vLLM's do.
        step_growth: a step lasts ``itl_ms * (1 + step_growth * (streams in it - 1))``.
        model: name of the model; others are answered with 404.
        tokens_per_chunk: tokens in one chunk.
        cached_ttft_ms: the time to the first token of a request that came before, word for word, as
            with a prefix cache; None: there is no cache.
        stubborn: goes on with the answer of a client that left.
        start_s: seconds during which everything is answered with 503.
        fault: one of :data:`heavyweight.emulator.faults.NAMES` or of those of the whole server.
        fault_every: the fault hits each n-th request; 1: all.
        log: file for one JSON line a request, on CLOCK_MONOTONIC.
    """

    api: Manner = "ollama"
    slots: int = 1
    queue: int | None = None
    ttft_ms: float = 20.0
    itl_ms: float = 2.0
    jitter: float = 0.0
    seed: int = 0
    batching: Batching = "none"
    step_growth: float = 0.0
    model: str = "emulated"
    tokens_per_chunk: int = 1
    cached_ttft_ms: float | None = None
    stubborn: bool = False
    start_s: float = 0.0
    fault: str | None = None
    fault_every: int = 1
    log: Path | None = None

    @property
    def ttft_ns(self) -> int:
        """From a free slot to the first token, in ns."""
        return round(self.ttft_ms * 1e6)

    @property
    def itl_ns(self) -> int:
        """Between two tokens, in ns."""
        return round(self.itl_ms * 1e6)
