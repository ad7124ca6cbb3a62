"""K slots, a FIFO queue, and who writes when."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable
from itertools import count, repeat

from heavyweight.emulator.clock import SLICE_NS, Clock
from heavyweight.emulator.jitter import Jitter
from heavyweight.emulator.options import Options
from heavyweight.emulator.stream import Stream


class Engine:
    """The slots and the queue before them.

    Args:
        options: how the server behaves.
        clock: calls what is due.
        on_end: told of each stream that is over.
    """

    def __init__(self, options: Options, clock: Clock, on_end: Callable[[Stream], None]) -> None:
        self.clock = clock
        self._options = options
        self._on_end = on_end
        self._jitter = Jitter(options.seed, options.jitter) if options.jitter else None
        self._steps = Steps(options, clock, self._jitter) if options.batching == "step" else None
        self._seen: set[int] = set()  # hashes of the requests, where there is a cache
        self._queue: deque[Stream] = deque()
        self.waiting = 0
        self.running = 0

    @property
    def full(self) -> bool:
        """Whether the queue takes no more."""
        limit = self._options.queue
        return limit is not None and self.running >= self._options.slots and self.waiting >= limit

    def submit(self, stream: Stream, body: bytes) -> None:
        """Take a stream: into a slot, or into the queue."""
        options = self._options
        stream.ttft_ns, stream.itl_ns = options.ttft_ns, options.itl_ns
        if self._jitter and stream.plan:
            steps = stream.plan.steps[-1] + 1 if stream.plan.steps else 1
            itl_ns = 0 if self._steps else stream.itl_ns
            stream.ttft_ns, stream.offsets_ns = self._jitter.request(
                body, stream.ttft_ns, itl_ns, steps
            )
        if options.cached_ttft_ms is not None:
            if (known := hash(body)) in self._seen:
                stream.ttft_ns = round(options.cached_ttft_ms * 1e6)
            self._seen.add(known)
        stream.early_head()
        if self.running < options.slots:
            self._admit(stream)
        else:
            self.waiting += 1
            stream.queued = True
            self._queue.append(stream)

    def _admit(self, stream: Stream) -> None:
        self.running += 1
        stream.admitted_ns = time.perf_counter_ns()
        stream.first_ns = stream.admitted_ns + stream.ttft_ns
        if self._steps:
            self._steps.join(stream)
        else:
            self.clock.push(stream.first_ns, stream)

    def leave(self, stream: Stream) -> None:
        """A stream is over: its slot goes to the next in the queue."""
        self._on_end(stream)
        if stream.queued:
            self.waiting -= 1
        if stream.admitted_ns is None:
            return
        self.running -= 1
        while self._queue and self.running < self._options.slots:
            following = self._queue.popleft()
            if following.ended_ns is None:
                self.waiting -= 1
                following.queued = False
                self._admit(following)


class Steps:
    """One engine step after the other: all streams in it write when it is over.

    A request joins at the first step that ends after its time to the first token is over; where no
    other stream is in the engine, that is at once. The ends of the steps are absolute times.
    """

    def __init__(self, options: Options, clock: Clock, jitter: Jitter | None) -> None:
        self._itl_ns, self._growth = options.itl_ns, options.step_growth
        self._clock = clock
        self._factors = jitter.factors() if jitter else repeat(1.0)
        self._joining: list[tuple[int, int, Stream]] = []
        self._numbers = count()
        self._inside: list[tuple[Stream, int]] = []  # each with the step that was its first
        self._step = 0
        self._end_ns: int | None = None  # of the running step
        self._ready_ns: int | None = None  # the clock calls at that time
        self._due_ns = 0  # of the tick that is on
        self._written = -1  # how many wrote in this tick; -1: no tick is on

    def join(self, stream: Stream) -> None:
        """Take a stream that has a slot."""
        heapq.heappush(self._joining, (stream.first_ns, next(self._numbers), stream))
        self._wake()

    def _wake(self) -> None:
        """Have the clock call at the end of the step; an empty engine begins when one is ready."""
        if self._written >= 0:
            return
        due_ns = self._end_ns
        if due_ns is None and self._joining:
            due_ns = self._joining[0][0]
        if due_ns is not None and (self._ready_ns is None or due_ns < self._ready_ns):
            self._ready_ns = due_ns
            self._clock.push(due_ns, _Call(self, due_ns))

    def tick(self, due_ns: int) -> int | None:
        """The end of a step, in slices of time; returns when to go on with it."""
        on = self._written >= 0
        if due_ns != (self._due_ns if on else self._ready_ns):
            return None  # an earlier call took its place
        if not on:
            self._begin(due_ns)
        stop_ns = time.perf_counter_ns() + SLICE_NS
        inside = self._inside
        while self._written < len(inside):
            stream, first = inside[self._written]
            self._written += 1
            if stream.pending:
                stream.write(self._step - first)
            now_ns = time.perf_counter_ns()
            if now_ns > stop_ns:
                return now_ns
        self._written = -1
        self._step += 1
        self._inside = [entry for entry in inside if entry[0].pending]
        if self._inside:
            crowd = 1 + self._growth * (len(self._inside) - 1)
            self._end_ns = due_ns + round(self._itl_ns * crowd * next(self._factors))
        else:
            self._end_ns = None
        self._wake()
        return None

    def _begin(self, due_ns: int) -> None:
        self._ready_ns = None
        self._due_ns = due_ns
        self._written = 0
        while self._joining and self._joining[0][0] <= due_ns:
            stream = heapq.heappop(self._joining)[2]
            if stream.pending:
                self._inside.append((stream, self._step))


class _Call:
    """A call of the clock for the end of a step."""

    __slots__ = ("_due_ns", "_steps")

    def __init__(self, steps: Steps, due_ns: int) -> None:
        self._steps, self._due_ns = steps, due_ns

    def turn(self, now_ns: int) -> int | None:
        return self._steps.tick(self._due_ns)
