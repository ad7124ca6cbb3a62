"""The first request after a server's start: it loads the model, and its first token is timed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from heavyweight.errors import ServerError
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import parsed, verdict
from heavyweight.load.spec import Timeouts
from heavyweight.workload import prompt

OUTPUT_TOKENS = 8
PROMPT_TOKENS = 64

T = TypeVar("T")


@dataclass(frozen=True)
class FirstToken:
    """Stamps of the first request, on CLOCK_MONOTONIC."""

    sent_ns: int
    first_ns: int
    done_ns: int


def first_token(
    base_url: str,
    model: str,
    extra_body: Mapping[str, Any],
    *,
    seed: int,
    block: int,
    start_id: int,
    api: str = "chat",
    timeout_s: float = 600.0,
    allow_remote: bool = False,
) -> FirstToken:
    """Send one request to a server that has just started, and time its first token.

    It runs in the caller's process, also where an event loop runs already, as in a notebook: what
    it times takes seconds.

    Args:
        base_url: of the server.
        model: name under which the server serves it.
        extra_body: further fields of the request.
        seed: of the study.
        block: from 1.
        start_id: which start of the session's server; each gets a prompt of its own, which no
            cell of the session has.
        api: how requests are spoken; one of :data:`heavyweight.load.spec.Api`.
        timeout_s: for the first token, and for the whole, in seconds.
        allow_remote: whether the server may be another machine.

    Raises:
        BadInput: the address cannot be used.
        ServerError: the request failed; its class and what was seen are in the message.
    """
    first = prompt(seed, block, users=0, index=start_id, prompt_tokens=PROMPT_TOKENS)
    limits = Timeouts(first_s=timeout_s, gap_s=timeout_s, total_s=timeout_s)

    async def send() -> Exchange:
        client = Client(base_url, api, model, extra_body, {}, limits, allow_remote)
        exchange = client.prepare(first, OUTPUT_TOKENS)
        performing = asyncio.create_task(client.perform(exchange))
        try:
            while not performing.done():
                await asyncio.wait({performing}, timeout=0.5)
                client.watch()
            await performing
        finally:
            await client.close()
        return exchange

    exchange = in_thread(send)
    stream = parsed(exchange)
    if failure := verdict(exchange, stream, OUTPUT_TOKENS):
        raise ServerError(
            f"the first request failed: {failure[0]}, {failure[1] or 'nothing more was said'}",
            "a stream of tokens with a count of them",
            "read the last lines of the server's log",
        )
    assert exchange.sent_ns is not None
    return FirstToken(exchange.sent_ns, exchange.arrival_ns(stream.chunk_ends[0]), exchange.done_ns)


def in_thread(send: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run in a loop of its own; Ctrl-C in the main thread does not wait for the answer."""
    results: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(asyncio.run(send()))
        except BaseException as error:  # told to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if failures:
        raise failures[0]
    return results[0]
