"""Some equal streams in flight at once, and what is read of the server while they grow."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heavyweight.errors import ServerError
from heavyweight.load.alone import in_thread
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import parsed, verdict
from heavyweight.load.spec import Timeouts
from heavyweight.servers import Server
from heavyweight.workload import Prompt

POLL_S = 0.01
WATCHED_EVERY = 50  # polls


@dataclass(frozen=True)
class Reading:
    """What was read while all streams were in flight.

    Args:
        stamp_ns: on CLOCK_MONOTONIC, half way between question and answer.
        said: the server's own text.
    """

    stamp_ns: int
    said: str


@dataclass(frozen=True)
class Grown:
    """A stream that came to its end.

    Args:
        prompt_tokens: as the server counted them.
        completion_tokens: the same.
        arrivals_ns: of each chunk with text, on CLOCK_MONOTONIC.
    """

    prompt_tokens: int
    completion_tokens: int
    arrivals_ns: tuple[int, ...]

    def tokens_at(self, stamp_ns: int) -> float:
        """Tokens of prompt and answer so far; a chunk has as many tokens as any other."""
        share = bisect_right(self.arrivals_ns, stamp_ns) / len(self.arrivals_ns)
        return self.prompt_tokens + share * self.completion_tokens


def grow(
    server: Server,
    prompts: Sequence[Prompt],
    output_tokens: int,
    read: Callable[[], str],
    every_chunks: int,
) -> tuple[list[Grown], list[Reading]]:
    """Send all prompts at once, and read each time that every stream has grown by some chunks.

    Args:
        server: running, and idle.
        prompts: of equal length, a stream each.
        output_tokens: of each answer.
        read: asks the server; called in a thread of its own.
        every_chunks: of the stream that is behind the others.

    Returns:
        The streams, and the readings of the time in which all of them were in flight.

    Raises:
        ServerError: a stream failed; its class and what was seen are in the message.
    """

    async def work() -> tuple[list[Exchange], list[Reading]]:
        limits = Timeouts()
        client = Client(server.base_url, server.api, server.served_model, server.extra_body, {},
                        limits)  # fmt: skip
        exchanges = [client.prepare(prompt, output_tokens) for prompt in prompts]
        tasks = [asyncio.create_task(client.perform(one)) for one in exchanges]
        readings: list[Reading] = []
        wanted, polls = every_chunks, 0
        try:
            while not all(task.done() for task in tasks):
                await asyncio.sleep(POLL_S)
                polls += 1
                if polls % WATCHED_EVERY == 0:
                    client.watch()
                least = min(one.events for one in exchanges)
                if least < wanted or any(one.finished for one in exchanges):
                    continue
                wanted = (least // every_chunks + 1) * every_chunks
                before_ns = time.perf_counter_ns()
                said = await asyncio.to_thread(read)
                now_ns = time.perf_counter_ns()
                if not any(one.finished for one in exchanges):
                    readings.append(Reading((before_ns + now_ns) // 2, said))
            await asyncio.gather(*tasks)
        finally:
            await client.close()
        return exchanges, readings

    exchanges, readings = in_thread(work)
    return [_grown(one, output_tokens) for one in exchanges], readings


def _grown(exchange: Exchange, output_tokens: int) -> Grown:
    stream = parsed(exchange)
    if failure := verdict(exchange, stream, output_tokens):
        raise ServerError(
            f"a stream failed: {failure[0]}, {failure[1] or 'nothing more was said'}",
            "a stream of tokens with a count of them",
            "read the last lines of the server's log",
        )
    return Grown(
        stream.prompt_tokens or 0,
        stream.completion_tokens or 0,
        tuple(exchange.arrival_ns(end) for end in stream.chunk_ends),
    )
