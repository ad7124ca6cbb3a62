"""The closed loop: N users, each with one request in flight, until a steady window is full.

::

    ramp      user 0 alone; after its first response time R the others start, evenly over R
    warm-up   a wave: N requests finish after the last user's start
    measure   from one completion to the one at which enough requests and seconds are done
    drain     nothing new is sent; what is in flight ends

A user that starts with all others at once meets an empty server; over one response time they spread
as they are spread later on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import succeeded
from heavyweight.load.spec import LoadSpec
from heavyweight.workload import prompts

Phase = Literal["ramp", "warm-up", "measure", "drain", "write"]
Ended = Literal["complete", "cap", "errors"]

RAMP_CAP_S = 10.0
BACKOFF_S = (0.2, 5.0)  # first and longest pause after a failure
RETRY_AFTER_CAP_S = 30.0
ERRORS_IN_A_ROW = 20
DRAIN_S = 60.0  # besides the time-out of a whole request


@dataclass
class Window:
    """The steady window, on CLOCK_MONOTONIC."""

    start_ns: int = 0
    end_ns: int = 0
    finished: int = 0  # requests that succeeded inside it


class ClosedLoop:
    """One cell of a closed loop.

    Args:
        spec: what to do.
        client: sends the requests.
        on_window: called at the start and at the end of the window, and on neither where the cell
            ends before.
    """

    def __init__(self, spec: LoadSpec, client: Client, on_window: Callable[[], object]) -> None:
        self.spec, self.client, self._on_window = spec, client, on_window
        self.phase: Phase = "ramp"
        self.ended: Ended = "complete"
        self.window = Window()
        self.origin_ns = 0
        self.done: list[Exchange] = []
        self.errors = 0
        self._errors_in_a_row = 0
        self._warm = 0
        self._closing = asyncio.Event()
        self._ramped = False
        self._events_done = 0
        self._stock: deque[Exchange] = deque()
        self._source = self._prepared()
        for _ in range(2 * spec.users + 32):
            self._restock()

    def _prepared(self) -> Iterator[Exchange]:
        spec = self.spec
        for prompt in prompts(spec.seed, spec.block, spec.users, spec.prompt_tokens):
            yield self.client.prepare(prompt, spec.output_tokens)

    @property
    def in_flight(self) -> int:
        """Requests sent and not finished."""
        return len(self.client.live)

    @property
    def events(self) -> int:
        """Lines of data seen so far in raw reads."""
        return self._events_done + sum(e.events for e in self.client.live)

    async def run(self) -> None:
        """Run the cell to its end and drain it; the caller cancels it to discard it."""
        self.origin_ns = time.perf_counter_ns()
        cap = asyncio.get_running_loop().call_later(self.spec.cap_seconds, self._close, "cap")
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._user(0, self.origin_ns))
        finally:
            cap.cancel()

    async def _user(self, number: int, due_ns: int) -> None:
        """One user: sends, waits for the end of the answer, sends again."""
        failures = 0
        await self._pause_until(due_ns)
        while not self._closing.is_set():
            if number == self.spec.users - 1 and self.phase == "ramp":
                self.phase = "warm-up"
            exchange = self._stock.popleft()
            exchange.user, exchange.due_ns = number, due_ns
            # The next one is prepared when this one has gone.
            asyncio.get_running_loop().call_soon(self._restock)
            await self.client.perform(exchange)
            good = succeeded(exchange)
            failures = 0 if good else failures + 1
            self._completed(exchange, good)
            due_ns = exchange.done_ns
            if not good:
                due_ns += int(self._backoff_s(failures, exchange.retry_after) * 1e9)
                await self._pause_until(due_ns)

    def _restock(self) -> None:
        self._stock.append(next(self._source))

    async def _pause_until(self, due_ns: int) -> None:
        """Sleep to an absolute time, or to the end of the cell."""
        left_s = (due_ns - time.perf_counter_ns()) / 1e9
        if left_s > 0:
            try:
                await asyncio.wait_for(self._closing.wait(), left_s)
            except TimeoutError:
                return

    @staticmethod
    def _backoff_s(failures: int, retry_after: str | None) -> float:
        first, longest = BACKOFF_S
        pause_s = min(first * 2 ** (failures - 1), longest)
        if retry_after and retry_after.isdigit():
            pause_s = max(pause_s, min(float(retry_after), RETRY_AFTER_CAP_S))
        return pause_s

    def _completed(self, exchange: Exchange, good: bool) -> None:
        """Book a finished request and move on to the next phase where it is time."""
        self.done.append(exchange)
        self._events_done += exchange.events
        if not good:
            self.errors += 1
            self._errors_in_a_row += 1
            if self._errors_in_a_row >= ERRORS_IN_A_ROW:
                self._close("errors")
            return
        self._errors_in_a_row = 0
        if self.phase == "ramp":
            self._ramp(exchange)
        elif self.phase == "warm-up":
            self._warm += 1
            if self._warm >= self.spec.users:
                self.window = Window(start_ns=exchange.done_ns)
                self.phase = "measure"
                self._on_window()
        elif self.phase == "measure" and exchange.done_ns > self.window.start_ns:
            self.window.finished += 1
            self.window.end_ns = max(self.window.end_ns, exchange.done_ns)
            if self._full():
                self._close("complete")

    def _ramp(self, exchange: Exchange) -> None:
        """User 0's first success: the others start over its response time."""
        others = self.spec.users - 1
        if exchange.user != 0 or self._ramped or not others:
            return
        self._ramped = True
        assert exchange.sent_ns is not None
        response_ns = min(exchange.done_ns - exchange.sent_ns, int(RAMP_CAP_S * 1e9))
        for number in range(1, self.spec.users):
            due_ns = exchange.done_ns + response_ns * number // others
            self._group.create_task(self._user(number, due_ns))

    def _full(self) -> bool:
        spec, window = self.spec, self.window
        enough = window.finished >= max(spec.min_requests, spec.min_waves * spec.users)
        return enough and window.end_ns - window.start_ns >= spec.min_seconds * 1e9

    def _close(self, ended: Ended) -> None:
        """Send nothing more; what is in flight may end, within a limit."""
        if self._closing.is_set():
            return
        self.ended = ended
        if ended != "complete":
            self.window.end_ns = time.perf_counter_ns()
            if self.phase != "measure":
                self.window.start_ns = self.window.end_ns
        if self.phase == "measure":
            self._on_window()
        self.phase = "drain"
        self._closing.set()
        limit_s = DRAIN_S + self.client.timeouts.total_s
        asyncio.get_running_loop().call_later(limit_s, self.client.abandon)
