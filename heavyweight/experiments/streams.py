"""Several streams put to one server at chosen moments, with the arrival of every token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavyweight.load.alone import in_thread
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import parsed, verdict
from heavyweight.load.spec import Timeouts
from heavyweight.records import ErrorClass
from heavyweight.workload import Prompt

POLL_S = 0.001  # resolution of the moments that hang on another stream
WATCH_S = 0.25


@dataclass(frozen=True)
class Ask:
    """One request, and when it is sent.

    Args:
        prompt: what is asked.
        output_tokens: at most.
        after: place of another request of the same call, and how many events of its stream must
            have come; None in place of the number: all of them. None: at once.
        pause_s: waited after that.
        leave_after: events after which the client closes the connection; None: it stays.
    """

    prompt: Prompt
    output_tokens: int
    after: tuple[int, int | None] | None = None
    pause_s: float = 0.0
    leave_after: int | None = None


@dataclass(frozen=True)
class Answer:
    """What came of one request; stamps are those of CLOCK_MONOTONIC, in ns.

    Args:
        sent_ns: when its bytes were handed to the socket; None: they never were.
        chunk_ns: arrival of each chunk with text.
        done_ns: end of the answer, or when it failed or was left.
        tokens: of the answer, as the server counted them; None: it did not.
        status: of HTTP; None: no answer came.
        error: its class; None: it succeeded. A request that was left has ``abandoned``.
        detail: what was seen of the error.
    """

    sent_ns: int | None
    chunk_ns: NDArray[np.int64]
    done_ns: int
    tokens: int | None
    status: int | None
    error: str | None
    detail: str

    @property
    def first_ns(self) -> int:
        """Arrival of the first chunk with text."""
        return int(self.chunk_ns[0])

    @property
    def last_ns(self) -> int:
        """Arrival of the last chunk with text."""
        return int(self.chunk_ns[-1])

    @property
    def ttft_ms(self) -> float:
        """From sent to the first chunk with text."""
        assert self.sent_ns is not None  # text came
        return (self.first_ns - self.sent_ns) / 1e6

    @property
    def told(self) -> str:
        """The error in words; empty if there is none."""
        return f"{self.error}: {self.detail}".rstrip(": ") if self.error else ""


def send(
    base_url: str,
    model: str,
    extra_body: Mapping[str, Any],
    asks: Sequence[Ask],
    *,
    timeout_s: float,
    api: str = "chat",
    allow_remote: bool = False,
) -> list[Answer]:
    """Put requests to a server, each at its moment, and wait until all are over.

    It runs in the caller's process, in a loop and thread of its own, since there are few streams.

    Args:
        base_url: of the server.
        model: name under which the server serves it.
        extra_body: further fields of each request.
        asks: in any number; those without ``after`` are sent in this order, one at a turn of the
            loop.
        timeout_s: for each request as a whole, and for each of its parts.
        api: how requests are spoken.
        allow_remote: whether the server may be another machine.

    Returns:
        One answer for each request; failures are in it.

    Raises:
        BadInput: the address cannot be used.
    """
    limits = Timeouts(
        connect_s=min(10.0, timeout_s), first_s=timeout_s, gap_s=timeout_s, total_s=timeout_s
    )

    async def work() -> list[Exchange]:
        client = Client(base_url, api, model, extra_body, {}, limits, allow_remote)
        exchanges = [client.prepare(ask.prompt, ask.output_tokens) for ask in asks]
        tasks = [
            asyncio.create_task(_perform(client, exchanges, place, ask))
            for place, ask in enumerate(asks)
        ]
        try:
            while not all(task.done() for task in tasks):
                await asyncio.wait(tasks, timeout=WATCH_S, return_when=asyncio.FIRST_EXCEPTION)
                client.watch()
                for task in tasks:
                    if task.done():
                        task.result()  # an error of ours, not the server's, is raised
        finally:
            for task in tasks:
                task.cancel()
            await client.close()
        return exchanges

    return [
        _answer(exchange, ask.output_tokens)
        for exchange, ask in zip(in_thread(work), asks, strict=True)
    ]


async def _perform(client: Client, exchanges: list[Exchange], place: int, ask: Ask) -> None:
    """Wait for the moment, send, and stay or leave."""
    if ask.after is not None:
        other, events = ask.after
        await _until(exchanges[other], events)
    if ask.pause_s:
        await asyncio.sleep(ask.pause_s)
    exchange = exchanges[place]
    leaving = None
    if ask.leave_after is not None:
        leaving = asyncio.create_task(_leave(exchange, ask.leave_after))
    try:
        await client.perform(exchange)
    finally:
        if leaving is not None:
            leaving.cancel()


async def _until(exchange: Exchange, events: int | None) -> None:
    """Wait until so many events came, or the stream is over."""
    while not exchange.finished and (events is None or exchange.events < events):
        await asyncio.sleep(POLL_S)


async def _leave(exchange: Exchange, events: int) -> None:
    """Close the connection in the middle of the answer; the client does so with a failed one."""
    await _until(exchange, events)
    exchange.finish(ErrorClass.ABANDONED, "the client left")


def _answer(exchange: Exchange, output_tokens: int) -> Answer:
    stream = parsed(exchange)
    failure = verdict(exchange, stream, output_tokens)
    if failure and failure[0] is ErrorClass.NO_USAGE:
        failure = None  # a cached prompt is counted as none; nothing here hangs on the count
    return Answer(
        sent_ns=exchange.sent_ns,
        chunk_ns=np.array([exchange.arrival_ns(end) for end in stream.chunk_ends], dtype=np.int64),
        done_ns=exchange.done_ns,
        tokens=stream.completion_tokens,
        status=exchange.status,
        error=None if failure is None else str(failure[0]),
        detail="" if failure is None else failure[1],
    )
