"""Whether a server goes on working for a client that left."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from heavyweight import telemetry
from heavyweight.errors import ServerError
from heavyweight.experiments.probes.base import (
    Mechanism,
    Observation,
    Prober,
    Trial,
    counted,
    median,
    numbers,
    said,
    trial,
)
from heavyweight.experiments.streams import Answer, Ask
from heavyweight.servers.base import Server

TRIALS, NEXT_TRIALS = 5, 3
OUTPUT_TOKENS, LEAVE_AFTER = 400, 64
NEXT_TOKENS = 8
SOON_S, WATCHED_S = 2.0, 4.0
SAMPLE_S = 0.1
QUIET = 0.25  # of the processor time a second while it streamed
LEAST_CORES = 0.2  # a server that uses less while it streams is not judged by its processor time


@dataclass
class Watch:
    """Processor time of a server and whether it is idle, sampled in a thread of its own.

    Args:
        server: one that answers.
    """

    server: Server
    at_ns: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    idle: list[bool | None] = field(default_factory=list)

    def __enter__(self) -> Watch:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        process = self.server.process
        members = process.members() if process else []
        while not self._over.wait(SAMPLE_S):
            try:
                idle = self.server.idle()
            except ServerError:
                idle = None
            self.at_ns.append(time.perf_counter_ns())
            self.cpu_s.append(telemetry.cpu_s(members))
            self.idle.append(idle)

    def idle_ms(self, since_ns: int) -> float | None:
        """When the server first said that it is idle; None: it did not, or does not tell."""
        found = (t for t, idle in zip(self.at_ns, self.idle, strict=True) if idle and t > since_ns)
        return next(((t - since_ns) / 1e6 for t in found), None)

    def cores(self, begin_ns: int, end_ns: int) -> float | None:
        """Cores in use between two moments, by the samples inside; None below two samples."""
        inside = [
            (t, cpu)
            for t, cpu in zip(self.at_ns, self.cpu_s, strict=True)
            if begin_ns <= t <= end_ns
        ]
        if len(inside) < 2:
            return None
        (t0, c0), (t1, c1) = inside[0], inside[-1]
        return (c1 - c0) / ((t1 - t0) / 1e9)

    def quiet_ms(self, since_ns: int, busy_cores: float) -> float | None:
        """When it began to use little, for two samples and more; None: it did not."""
        rows = [(t, c) for t, c in zip(self.at_ns, self.cpu_s, strict=True) if t >= since_ns]
        for first, last in zip(rows, rows[3:], strict=False):
            if (last[1] - first[1]) / ((last[0] - first[0]) / 1e9) < QUIET * busy_cores:
                return (first[0] - since_ns) / 1e6
        return None


def abandoned(prober: Prober) -> Observation:
    """Leave a long stream in its middle, and watch the server for some seconds.

    It stopped when its processes came to use little; where they use little at any time, when it
    says that it is idle. With one slot, the next request's first token tells, too.
    """
    trials = [trial(lambda: _watched(prober)) for _ in prober.tries(TRIALS)]
    needed, planned = TRIALS // 2 + 1, TRIALS
    if prober.arm.slots == 1:
        trials += [trial(lambda: _followed(prober)) for _ in prober.tries(NEXT_TRIALS)]
        needed, planned = (TRIALS + NEXT_TRIALS) // 2 + 1, TRIALS + NEXT_TRIALS
    stopped = median(numbers(trials, "stopped_ms"))
    why = f"it stopped within {SOON_S:g} s in {counted(trials)}"
    if stopped is not None:
        why += f"; on the median {stopped:.0f} ms after the client had left"
    if (idle := median(numbers(trials, "idle_said_ms"))) is not None:
        why += f", and said after {idle:.0f} ms that it was idle"
    if following := numbers(trials, "next_ttft_ms"):
        rest = numbers(trials, "rest_ms")
        why += (
            f"; the next request's first token came after {median(following):.0f} ms, where the"
            f" rest of the abandoned answer would have taken {median(rest):.0f}"
        )
    return Observation(said(trials, planned, needed), why, trials, stopped, "ms until it stopped")


def _left(answer: Answer) -> None:
    """Make sure that the stream was left in its middle, and not ended in another way."""
    if answer.error != "abandoned" or len(answer.chunk_ns) < 2:
        raise ServerError(f"the stream was not left in its middle: {answer.told or 'it ended'}")


def _rest_ms(answer: Answer) -> float:
    """How long the rest of an abandoned answer would have taken, at the pace of its beginning."""
    chunks = len(answer.chunk_ns)
    pace_ns = (answer.last_ns - answer.first_ns) / (chunks - 1)
    return (OUTPUT_TOKENS - chunks) * pace_ns / 1e6


def _watched(prober: Prober) -> Trial:
    with Watch(prober.server) as watch:
        (answer,) = prober.send(Ask(prober.prompt(), OUTPUT_TOKENS, leave_after=LEAVE_AFTER))
        time.sleep(WATCHED_S)
    _left(answer)
    left_ns, rest_ms = answer.done_ns, _rest_ms(answer)
    busy = watch.cores(answer.first_ns, left_ns)
    after = watch.cores(left_ns + int(SOON_S * 1e9), left_ns + int(WATCHED_S * 1e9))
    idle_ms = watch.idle_ms(left_ns)
    by_cpu = busy is not None and busy >= LEAST_CORES
    stopped_ms = watch.quiet_ms(left_ns, busy) if by_cpu and busy else idle_ms
    told = by_cpu or any(one is not None for one in watch.idle)
    if stopped_ms is None and told:  # the next trial must not meet its work
        time.sleep(max(0.0, min(15.0, rest_ms / 1e3 - WATCHED_S)))
    result: Trial = {
        "stopped_ms": stopped_ms,
        "by": "processor time" if by_cpu else "its own word",
        "idle_said_ms": idle_ms,
        "streaming_cores": busy,
        "later_cores": after,
        "rest_ms": rest_ms,
    }
    if not told:
        return {"error": "neither its processor time nor its own word tells"} | result
    if rest_ms < SOON_S * 1e3:
        return {"error": f"the rest would have taken only {rest_ms:.0f} ms"} | result
    return {"yes": stopped_ms is not None and stopped_ms <= SOON_S * 1e3} | result


def _followed(prober: Prober) -> Trial:
    """One slot: the next request waits for the rest of the abandoned answer, or does not."""
    answer, following = prober.send(
        Ask(prober.prompt(), OUTPUT_TOKENS, leave_after=LEAVE_AFTER),
        Ask(prober.prompt(), NEXT_TOKENS, after=(0, None)),
    )
    _left(answer)
    if following.error:
        raise ServerError(f"the next request failed: {following.told}")
    rest_ms = _rest_ms(answer)
    return {
        "yes": following.ttft_ms < min(SOON_S * 1e3, rest_ms / 2),
        "next_ttft_ms": following.ttft_ms,
        "rest_ms": rest_ms,
    }


ABANDONED = Mechanism(
    "abandoned", "Does it stop within 2 s when the client leaves in the middle?", abandoned
)
