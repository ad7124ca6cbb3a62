"""How much of the KV cache is assigned to equal streams, and how much of that they use.

A token's keys and values are in the cache once it was worked on, so the newest token of each stream
has none yet: a stream of p prompt tokens and t tokens of answer uses p + t - 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from heavyweight.errors import ServerError
from heavyweight.experiments.equal_streams import Grown, Reading, grow
from heavyweight.experiments.kv_cache import Counters, Reserved
from heavyweight.servers import Server
from heavyweight.workload import Prompt

QUESTION = (
    "Is at most one block a sequence of what is assigned of the KV cache not used, "
    "and nothing assigned when idle?"
)
OUTPUT_TOKENS = 192
EVERY_CHUNKS = 16
IDLE_S = 5.0  # a server may publish its counters a little later than they change

Row = dict[str, float | int | str | bool | None]


def ask(
    server: Server,
    prompts: Sequence[Prompt],
    reserved: Reserved | None,
    metrics: Callable[[], str],
) -> dict[str, Any]:
    """Send equal streams at once and read, while they grow, what is assigned to them.

    A server that assigns blocks says so in its metrics, and in the same text how many tokens it has
    worked on; one whose slots have a part each says nothing, and the streams themselves tell.

    Args:
        server: running and idle.
        prompts: a stream each, of equal length.
        reserved: what the server has of KV cache; None: it does not tell.
        metrics: asks for the text of /metrics.

    Returns:
        The fields of a :class:`heavyweight.records.Probe` that say what was seen; its value is the
        share of what was assigned that was not used, over all readings.

    Raises:
        ServerError: a stream failed, or the server does not tell what it should.
    """
    if reserved is None:
        raise ServerError("the server does not tell how much KV cache it has", "")
    paged = reserved.block_tokens is not None
    before = _counters(metrics()) if paged else None
    streams, readings = grow(
        server, prompts, OUTPUT_TOKENS, metrics if paged else str, EVERY_CHUNKS
    )
    rows = [_in_flight(one, streams, reserved, before) for one in readings]
    idle = [_idle(metrics, reserved)] if paged else []
    return _seen(rows, idle, reserved)


def _counters(text: str) -> Counters:
    if found := Counters.of(text):
        return found
    raise ServerError("its metrics do not tell how much of the KV cache is assigned", "")


def _in_flight(
    reading: Reading, streams: Sequence[Grown], reserved: Reserved, before: Counters | None
) -> Row:
    """One reading: what is assigned and used at that moment."""
    count = len(streams)
    by_client = round(sum(one.tokens_at(reading.stamp_ns) for one in streams)) - count
    usage, tokens = None, by_client
    if before is not None:
        now = _counters(reading.said)
        usage, tokens = now.usage, round(now.tokens - before.tokens) - count
    assigned = reserved.assigned_tokens(usage)
    return {
        **_row("in flight", count, tokens, assigned, reserved),
        "tokens_by_client": by_client,
        "wasted_tokens_per_sequence": (assigned - tokens) / count,
        "wasted_share": 1 - tokens / assigned if assigned else None,
    }


def _idle(metrics: Callable[[], str], reserved: Reserved) -> Row:
    """What is assigned when nothing is in flight; asked for a few seconds."""
    deadline_s = time.monotonic() + IDLE_S
    while (now := _counters(metrics())).usage and time.monotonic() < deadline_s:
        time.sleep(0.25)
    return _row("idle", 0, 0, reserved.assigned_tokens(now.usage), reserved)


def _row(moment: str, sequences: int, tokens: int, assigned: int, reserved: Reserved) -> Row:
    return {
        "moment": moment,
        "sequences": sequences,
        "tokens_in_flight": tokens,
        "assigned_tokens": assigned,
        "reserved_tokens": reserved.tokens,
        "reserved_bytes": reserved.told_bytes,
        "block_tokens": reserved.block_tokens,
        "source": reserved.source,
    }


def _seen(rows: list[Row], idle: list[Row], reserved: Reserved) -> dict[str, Any]:
    """The answer of all readings together."""
    if not rows:
        raise ServerError("the streams were never in flight together", "slots for all of them")
    wasted = [float(row["wasted_tokens_per_sequence"] or 0) for row in rows]
    used = sum(int(row["tokens_in_flight"] or 0) for row in rows)
    assigned = sum(int(row["assigned_tokens"] or 0) for row in rows)
    share = 1 - used / assigned if assigned else None
    block = reserved.block_tokens
    fits = [block is not None and tokens <= block for tokens in wasted]
    free = all(row["assigned_tokens"] == 0 for row in idle)
    unit = f"blocks of {block} tokens" if block else "a part of its own for each slot"
    return {
        "answer": "yes" if all(fits) and free else "no",
        "yes": sum(fits),
        "trials": [*rows, *idle],
        "value": share,
        "value_unit": "share of the assigned tokens",
        "why": f"{rows[0]['sequences']} streams, {len(rows)} readings: up to {max(wasted):.0f} "
        f"tokens a sequence assigned and not used, {unit}"
        + (f"; {idle[0]['assigned_tokens']} tokens assigned when idle" if idle else ""),
    }
