"""Requests to a server that nobody else asks: one after the other, in the caller's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from heavyweight.errors import ServerError
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import parsed, verdict
from heavyweight.load.spec import Timeouts
from heavyweight.workload import Prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """Stamps of one request, on CLOCK_MONOTONIC.

    Attributes:
        sent_ns: its bytes were handed to the socket.
        first_ns: its first text arrived.
        last_ns: its last text arrived.
        done_ns: the answer ended.
        tokens: of the answer, as the server counted them.
    """

    sent_ns: int
    first_ns: int
    last_ns: int
    done_ns: int
    tokens: int

    @property
    def tok_s(self) -> float:
        """Tokens a second from the request to the last text."""
        return self.tokens / (self.last_ns - self.sent_ns) * 1e9


def one_by_one(
    base_url: str,
    model: str,
    extra_body: Mapping[str, Any],
    prompts: Sequence[Prompt],
    output_tokens: int,
    *,
    what: str = "a request",
    api: str = "chat",
    timeout_s: float = 600.0,
    allow_remote: bool = False,
) -> list[Answer]:
    """Send requests one after the other, each as soon as the one before was answered.

    They are sent from the caller's process, also where an event loop runs already, as in a
    notebook: what is timed so takes tenths of a second, or longer.

    Args:
        base_url: of the server.
        model: name under which the server serves it.
        extra_body: further fields of each request.
        prompts: one a request.
        output_tokens: asked of each.
        what: how a request is called where it fails.
        api: how requests are spoken; one of :data:`heavyweight.load.spec.Api`.
        timeout_s: for the first token, and for the whole, in seconds.
        allow_remote: whether the server may be another machine.

    Raises:
        BadInput: the address cannot be used.
        ServerError: a request failed; its class and what was seen are in the message.
    """
    limits = Timeouts(first_s=timeout_s, gap_s=timeout_s, total_s=timeout_s)

    async def send() -> list[Exchange]:
        client = Client(base_url, api, model, extra_body, {}, limits, allow_remote)
        exchanges = []
        try:
            for one in prompts:
                exchanges.append(exchange := client.prepare(one, output_tokens))
                performing = asyncio.create_task(client.perform(exchange))
                while not performing.done():
                    await asyncio.wait({performing}, timeout=0.5)
                    client.watch()
                await performing
                if exchange.error is not None:
                    break
        finally:
            await client.close()
        return exchanges

    return [_answer(one, output_tokens, what) for one in in_thread(send)]


def _answer(exchange: Exchange, output_tokens: int, what: str) -> Answer:
    stream = parsed(exchange)
    if failure := verdict(exchange, stream, output_tokens):
        raise ServerError(
            f"{what} failed: {failure[0]}, {failure[1] or 'nothing more was said'}",
            "a stream of tokens with a count of them",
            "read the last lines of the server's log",
        )
    assert exchange.sent_ns is not None
    first_ns, last_ns = (exchange.arrival_ns(stream.chunk_ends[place]) for place in (0, -1))
    tokens = stream.completion_tokens or 0
    return Answer(exchange.sent_ns, first_ns, last_ns, exchange.done_ns, tokens)


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
