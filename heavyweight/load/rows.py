"""Raw exchanges -> rows of the requests table; runs when the cell is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from heavyweight.load.connection import Exchange
from heavyweight.load.stream import DETAIL, Stream, excerpt
from heavyweight.paths import scrub
from heavyweight.records import REQUEST_SCHEMA, ErrorClass
from heavyweight.text import plain

ID = 200  # characters kept of an id
_STATUS = {429: ErrorClass.HTTP_429, 503: ErrorClass.HTTP_503}


def _refusal(exchange: Exchange) -> tuple[ErrorClass, str] | None:
    """What the head of the answer says against it."""
    status = exchange.status
    if status is None:
        return None
    if status >= 400:
        general = ErrorClass.HTTP_4XX if status < 500 else ErrorClass.HTTP_5XX
        return _STATUS.get(status, general), f"{status}: {excerpt(exchange.body)}"
    kind = exchange.content_type.partition(";")[0].strip().lower()
    if status != 200 or kind not in exchange.api.stream_types:
        error = ErrorClass.HTTP_3XX if status >= 300 else ErrorClass.NOT_A_STREAM
        return error, f"{status} {exchange.content_type}: {excerpt(exchange.body)}"
    return None


def parsed(exchange: Exchange) -> Stream:
    """What the answer's stream said; nothing where the answer is none."""
    return Stream() if _refusal(exchange) else exchange.api.parse(exchange.body)


def verdict(
    exchange: Exchange, stream: Stream, output_tokens: int
) -> tuple[ErrorClass, str] | None:
    """Why the request failed; None: it succeeded.

    What the server said comes before what the connection did: an engine that dies says so in an
    event, and then the connection breaks.

    Args:
        exchange: a finished one.
        stream: what its answer said.
        output_tokens: the most that was asked; a server that counts more, and did not send as many
            chunks, would look faster than it is.
    """
    if refusal := _refusal(exchange):
        return refusal
    said = stream.problem
    if said and said[0] is ErrorClass.ERROR_EVENT:
        return said
    if exchange.error is not None:
        return exchange.error, exchange.detail
    if stream.error:
        return stream.error
    if other_model(exchange.model, stream.model):
        return ErrorClass.WRONG_MODEL, f"asked for {exchange.model}, answered by {stream.model}"
    counted, chunks = stream.completion_tokens or 0, len(stream.chunk_ends)
    if counted > max(output_tokens, chunks):
        told = f"{counted} tokens counted, {chunks} chunks with text came, {output_tokens} asked"
        return ErrorClass.BAD_USAGE, told
    return None


def other_model(asked: str, answered: str | None) -> bool:
    """Whether an answer names another model than was asked for.

    Servers add tags and versions to the name, and leave folders out of it; an answer that names
    none says nothing.

    Args:
        asked: name in the request; empty: any model will do.
        answered: name in the answer.
    """
    if not asked or not answered:
        return False
    first, second = (name.rpartition("/")[2].casefold() for name in (asked, answered))
    return first not in second and second not in first


def succeeded(exchange: Exchange) -> bool:
    """Whether the request succeeded, as cheaply as can be; used while the cell runs.

    Only a stream that does not look complete is parsed at once.
    """
    if exchange.error is not None or _refusal(exchange):
        return False
    body = exchange.body
    return exchange.api.looks_complete(body) or exchange.api.parse(body).error is None


def row(exchange: Exchange, origin_ns: int, start_id: int, output_tokens: int) -> dict[str, Any]:
    """One row of :data:`heavyweight.records.REQUEST_SCHEMA`."""
    stream = parsed(exchange)
    failure = verdict(exchange, stream, output_tokens)

    def since(stamp_ns: int | None) -> int | None:
        return None if stamp_ns is None else stamp_ns - origin_ns

    return {
        "request_id": exchange.request_id,
        "response_id": _told(stream.response_id, ID),
        "user": exchange.user,
        "prompt_id": exchange.prompt_id,
        "start_id": start_id,
        "output_tokens_asked": output_tokens,
        "due_ns": since(exchange.due_ns),
        "sent_ns": since(exchange.sent_ns),
        "handed_ns": since(exchange.handed_ns),
        "headers_ns": since(exchange.headers_ns),
        "chunk_ns": [exchange.arrival_ns(end) - origin_ns for end in stream.chunk_ends],
        "chunk_bytes": stream.chunk_bytes,
        "done_ns": since(exchange.done_ns),
        "prompt_tokens": stream.prompt_tokens,
        "completion_tokens": stream.completion_tokens,
        "finish_reason": _told(stream.finish_reason, ID),
        "status": exchange.status,
        "error": None if failure is None else str(failure[0]),
        "error_detail": _told(failure[1] if failure else None, DETAIL),
    }


def _told(said: str | None, most: int) -> str | None:
    """What a server said, as text that can be stored: it may hold any bytes, and our own key."""
    return None if said is None else scrub(plain(said))[:most]


def table(
    exchanges: Iterable[Exchange],
    origin_ns: int,
    start_id: int,
    output_tokens: int,
    asked: Mapping[str, int] | None = None,
) -> pa.Table:
    """The rows of a cell, in the order in which the requests were due.

    Args:
        exchanges: finished ones.
        origin_ns: the cell's origin on CLOCK_MONOTONIC.
        start_id: which start of the server.
        output_tokens: asked of each request.
        asked: by request id, of those that were asked another length.
    """
    ordered = sorted(exchanges, key=lambda exchange: exchange.due_ns)
    lengths = asked or {}
    rows = [
        row(one, origin_ns, start_id, lengths.get(one.request_id, output_tokens)) for one in ordered
    ]
    return pa.Table.from_pylist(rows, schema=REQUEST_SCHEMA)
