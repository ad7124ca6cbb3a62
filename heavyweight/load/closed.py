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
from collections import deque
from collections.abc import Callable, Iterator
from math import ceil

from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.loop import Loop
from heavyweight.load.spec import LoadSpec
from heavyweight.workload import prompts

RAMP_CAP_S = 10.0
BACKOFF_S = (0.2, 5.0)  # first and longest pause after a failure
RETRY_AFTER_CAP_S = 30.0
ERRORS_IN_A_ROW = 20


class ClosedLoop(Loop):
    """One cell of a closed loop, or one of the parts that make it together.

    A part makes its own users, with prompts that no other part has; its first user starts at the
    common origin and the others over that one's response time.
    """

    def __init__(
        self, spec: LoadSpec, client: Client, on_window: Callable[[], object], memory_bytes: int
    ) -> None:
        super().__init__(spec, client, on_window, memory_bytes)
        self._users = spec.own_users
        self._errors_in_a_row = 0
        self._warm = 0
        self._ramped = False
        self._stock: deque[Exchange] = deque()
        self._source = self._prepared()
        for _ in range(2 * len(self._users) + 32):
            self._restock()

    @property
    def least_requests(self) -> int:
        """The window's requests, and the wave before it."""
        return self._least_in_window + len(self._users)

    @property
    def _least_in_window(self) -> int:
        spec = self.spec
        waves = spec.min_waves * len(self._users)
        return ceil(max(spec.min_requests / spec.parts, waves))

    def _prepared(self) -> Iterator[Exchange]:
        spec = self.spec
        for prompt in prompts(
            spec.seed, spec.block, spec.users, spec.prompt_tokens, spec.part, spec.parts,
            spec.first_index,
        ):  # fmt: skip
            yield self.client.prepare(prompt, spec.output_tokens)

    async def _load(self) -> None:
        self.phase = "ramp"
        self._later(self.spec.cap_seconds, self._close, "cap")
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._user(self._users[0], self.origin_ns))

    async def _user(self, number: int, due_ns: int) -> None:
        """One user: sends, waits for the end of the answer, sends again."""
        failures = 0
        await self.pacer.until(due_ns)
        while not self._closing:
            if number == self._users[-1] and self.phase == "ramp":
                self.phase = "warm-up"
            exchange = self._stock.popleft()
            exchange.user, exchange.due_ns = number, due_ns
            # The next one is prepared when this one has gone.
            asyncio.get_running_loop().call_soon(self._restock)
            await self.client.perform(exchange)
            good = self._completed(exchange)
            failures = 0 if good else failures + 1
            due_ns = exchange.done_ns
            if not good:
                due_ns += int(self._backoff_s(failures, exchange.retry_after) * 1e9)
                await self.pacer.until(due_ns)

    def _restock(self) -> None:
        self._stock.append(next(self._source))

    @staticmethod
    def _backoff_s(failures: int, retry_after: str | None) -> float:
        first, longest = BACKOFF_S
        pause_s = float(min(first * 2 ** (failures - 1), longest))
        if retry_after and retry_after.isdigit():
            pause_s = max(pause_s, min(float(retry_after), RETRY_AFTER_CAP_S))
        return pause_s

    def _completed(self, exchange: Exchange) -> bool:
        """Book a finished request and move on to the next phase where it is time."""
        if not self._book(exchange):
            self._errors_in_a_row += 1
            if self._errors_in_a_row >= ERRORS_IN_A_ROW:
                self._close("errors")
            return False
        self._errors_in_a_row = 0
        if self.phase == "ramp":
            self._ramp(exchange)
        elif self.phase == "warm-up":
            self._warm += 1
            if self._warm >= len(self._users):
                self._measure(exchange.done_ns)
        elif self.phase == "measure" and exchange.done_ns > self.window.start_ns:
            self.window.finished += 1
            self.window.end_ns = max(self.window.end_ns, exchange.done_ns)
            if self._full():
                self._close("complete")
        return True

    def _ramp(self, exchange: Exchange) -> None:
        """The first user's first success: the others start over its response time."""
        first, *others = self._users
        if exchange.user != first or self._ramped or not others:
            return
        self._ramped = True
        assert exchange.sent_ns is not None
        response_ns = min(exchange.done_ns - exchange.sent_ns, int(RAMP_CAP_S * 1e9))
        for number in others:
            due_ns = exchange.done_ns + response_ns * number // (self.spec.users - 1)
            self._group.create_task(self._user(number, due_ns))

    def _full(self) -> bool:
        window = self.window
        long_enough = window.end_ns - window.start_ns >= self.spec.min_seconds * 1e9
        return long_enough and window.finished >= self._least_in_window
