"""What closed and open loops share: phases, the steady window, the books, the end of a cell."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from heavyweight.errors import StudyError
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.pacing import Pacer
from heavyweight.load.rows import succeeded
from heavyweight.load.spec import LoadSpec

Phase = Literal["wait", "ramp", "warm-up", "measure", "drain", "write"]
Ended = Literal["complete", "cap", "errors", "memory"]

DRAIN_S = 60.0  # besides the time-out of a whole request


@dataclass
class Window:
    """The steady window, on CLOCK_MONOTONIC."""

    start_ns: int = 0
    end_ns: int = 0
    finished: int = 0  # requests that succeeded inside it


class Loop(ABC):
    """One cell.

    Args:
        spec: what to do.
        client: sends the requests.
        on_window: called at the start and at the end of the window, and on neither where the cell
            ends before.
        memory_bytes: the most that raw answers may take.
    """

    def __init__(
        self,
        spec: LoadSpec,
        client: Client,
        on_window: Callable[[], object],
        memory_bytes: int,
    ) -> None:
        self.spec, self.client, self._on_window = spec, client, on_window
        self.memory_bytes = memory_bytes
        self.phase: Phase = "wait"
        self.ended: Ended = "complete"
        self.window = Window()
        self.origin_ns = 0
        self.done: list[Exchange] = []
        self.asked: dict[str, int] = {}  # output tokens by request, where they are not all alike
        self.errors = 0
        self._events_done = 0
        self._closing = False
        self._timers: list[asyncio.TimerHandle] = []
        self.pacing = ""

    @property
    @abstractmethod
    def least_requests(self) -> int:
        """Requests that this cell makes at least."""

    @abstractmethod
    async def _load(self) -> None:
        """Make the load, from the origin to the end of the last answer."""

    @property
    def in_flight(self) -> int:
        """Requests sent and not finished."""
        return len(self.client.live)

    @property
    def events(self) -> int:
        """Events seen so far in raw reads."""
        return self._events_done + sum(e.events for e in self.client.live)

    def progress(self) -> dict[str, int]:
        """What there is to show besides of what every loop has."""
        return {}

    async def run(self) -> None:
        """Run the cell to its end and drain it; the caller cancels it to discard it.

        Raises:
            StudyError: the common origin has passed already.
        """
        with Pacer(self.spec.spin) as self.pacer:
            self.pacing = self.pacer.kind
            start_ns = self.spec.start_at_ns
            now_ns = time.perf_counter_ns()
            if start_ns is not None and start_ns < now_ns:
                raise StudyError(
                    f"this part of the load was ready {(now_ns - start_ns) / 1e9:.2f} s too late",
                    "to be ready before the parts' common origin",
                    "give the parts more time to start, or make fewer of them on one machine",
                )
            self.origin_ns = start_ns or now_ns + self._ahead_ns
            try:
                await self._load()
            finally:
                for timer in self._timers:
                    timer.cancel()

    @property
    def _ahead_ns(self) -> int:
        """How long before the first request is due the loop has to begin."""
        return 0

    def check_memory(self, kept_bytes: int) -> None:
        """Close where the answers take too much; called a few times a second."""
        if not self._closing and kept_bytes > self.memory_bytes:
            self._close("memory")

    def _book(self, exchange: Exchange) -> bool:
        """Keep a finished request.

        Returns:
            Whether it succeeded, as far as can be seen quickly.
        """
        good = succeeded(exchange)
        self.done.append(exchange)
        self._events_done += exchange.events
        self.errors += not good
        return good

    def _measure(self, start_ns: int) -> None:
        """The window begins."""
        self.window.start_ns = start_ns
        self.phase = "measure"
        self._on_window()

    def _close(self, ended: Ended, drain_s: float | None = None) -> None:
        """Send nothing more; what is in flight may end, within a limit.

        Args:
            ended: why.
            drain_s: the limit, in seconds; None: as long as time-outs need to end everything.
        """
        if self._closing:
            return
        self._closing = True
        self.ended = ended
        if ended != "complete":
            self.window.end_ns = time.perf_counter_ns()
            if self.phase != "measure":
                self.window.start_ns = self.window.end_ns
        if self.phase == "measure":
            self._on_window()
        self.phase = "drain"
        self.pacer.release()
        if drain_s is None:
            drain_s = DRAIN_S + self.client.timeouts.total_s
        self._later(drain_s, self._abandon)

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Call something unless the cell is over by then."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, call, *arguments))

    def _abandon(self) -> None:
        """The drain has taken too long: what is in flight becomes rows of its own class."""
        self.client.abandon()
