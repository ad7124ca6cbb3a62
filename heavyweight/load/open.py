"""The open loop: requests are sent when they are due, however many are still being answered.

::

    wait       requests are made ready; the first connection is reserved
    warm-up    up to the window's start
    measure    the window; the requests that are due in it are the cell's
    drain      nothing new is sent; what is in flight ends, or is abandoned

A request and its connection are ready before it is due. None is left out and none waits for another
one's answer, so latency counts from the due time and holds the time in the server's queue, and also
what the client was late.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from aiohttp.connector import Connection

from heavyweight.arrivals import Schedule
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.loop import Loop
from heavyweight.load.spec import LoadSpec
from heavyweight.records import ErrorClass
from heavyweight.workload import Prompt, prompt

AHEAD_NS = 30_000_000  # so long before it is due a request gets its connection
STOCK = 8192  # requests made ready before the first one is due
STOCK_BYTES = 64 * 2**20
LATE_NS = 1_000_000  # what the display calls late


class OpenLoop(Loop):
    """One cell of an open loop, or one of the parts that make it together.

    Args:
        spec: what to do.
        client: sends the requests.
        on_window: called at the start and at the end of the window.
        memory_bytes: the most that raw answers may take.
        schedule: of the whole load; this part takes its own requests from it.
    """

    def __init__(
        self,
        spec: LoadSpec,
        client: Client,
        on_window: Callable[[], object],
        memory_bytes: int,
        schedule: Schedule,
    ) -> None:
        super().__init__(spec, client, on_window, memory_bytes)
        assert spec.arrivals is not None
        self._arrivals = spec.arrivals
        self._schedule = schedule
        self._indices = schedule.indices(spec.part, spec.parts)
        self._due_ns: list[int] = [int(schedule.due_ns[index]) for index in self._indices]
        self._ahead = iter(self._indices)
        self._late = 0
        self._given_up = False
        self._stock: deque[tuple[Prompt, int, Exchange]] = deque()
        held = 0
        while len(self._stock) < STOCK and held < STOCK_BYTES and self._restock():
            held += len(self._stock[-1][2].payload)

    @property
    def least_requests(self) -> int:
        """All of this part's schedule."""
        return len(self._indices)

    @property
    def _ahead_ns(self) -> int:
        return 2 * AHEAD_NS

    def _restock(self) -> bool:
        """Make one more request ready; False: there is none."""
        index = next(self._ahead, None)
        if index is None:
            return False
        spec, schedule = self.spec, self._schedule
        asked, length = schedule.output_tokens, schedule.prompt_tokens
        made = prompt(
            spec.seed, spec.block, 0, index,
            spec.prompt_tokens if length is None else int(length[index]), schedule.key,
        )  # fmt: skip
        tokens = spec.output_tokens if asked is None else int(asked[index])
        self._stock.append((made, tokens, self.client.prepare(made, tokens)))
        return True

    def progress(self) -> dict[str, int]:
        """How many were due so far, and how many were sent more than a millisecond late."""
        late = sum(self._was_late(exchange) for exchange in self.client.live)
        now_ns = time.perf_counter_ns() - self.origin_ns
        return {"due": bisect_right(self._due_ns, now_ns), "late": self._late + late}

    @staticmethod
    def _was_late(exchange: Exchange) -> bool:
        return exchange.sent_ns is not None and exchange.sent_ns - exchange.due_ns > LATE_NS

    async def _load(self) -> None:
        self.phase = "warm-up"
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._edges())
            for after_ns in self._due_ns:
                due_ns = self.origin_ns + after_ns
                await self.pacer.until(due_ns - AHEAD_NS)
                if self.ended == "memory":
                    break
                if not self._stock:  # many are due at once
                    self._restock()
                group.create_task(self._request(*self._stock.popleft(), due_ns))
                loop.call_soon(self._restock)

    async def _edges(self) -> None:
        """Begin and end the window when its times come."""
        start_ns, end_ns = (self.origin_ns + edge_ns for edge_ns in self._schedule.window_ns)
        await self.pacer.until(start_ns)
        if not self._closing:
            self._measure(start_ns)
        await self.pacer.until(end_ns)
        if not self._closing:
            self.window.end_ns = end_ns
            self._close("complete", self._arrivals.drain_s)

    async def _request(self, asked: Prompt, tokens: int, exchange: Exchange, due_ns: int) -> None:
        """One request, from a little before it is due to the end of its answer."""
        exchange.due_ns = due_ns
        connection = await self.client.reserve(exchange)
        # It would be true also after the window's end: then the request is late, and is sent.
        await self.pacer.until(due_ns)
        if self.ended == "memory":
            if connection is not None:
                connection.close()
            return
        if exchange.finished and exchange.done_ns < due_ns:  # it counts from when it is due
            exchange = self.client.prepare(asked, tokens)
            exchange.due_ns = due_ns
            connection = await self.client.reserve(exchange)
        elif connection is not None and _broken(connection):  # since it was reserved
            connection.close()
            connection = await self.client.reserve(exchange)
        if connection is not None and self._given_up:
            exchange.finish(ErrorClass.ABANDONED, "the cell ended before it had a connection")
            connection.close()
        elif connection is not None:
            await self.client.send(exchange, connection)
        if self._schedule.output_tokens is not None:
            self.asked[exchange.request_id] = tokens
        self._late += self._was_late(exchange)
        self._book(exchange)

    def _abandon(self) -> None:
        self._given_up = True
        if self.ended == "complete":
            self.ended = "cap"
        super()._abandon()


def _broken(connection: Connection) -> bool:
    return connection.transport is None or connection.transport.is_closing()
