"""Columns of the parquet tables: requests as the client saw them, answers, telemetry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import pyarrow as pa

NS = "ns from the cell's origin"
CLOCK = "ns on CLOCK_MONOTONIC"


@dataclass(frozen=True)
class Column:
    """One column of a parquet table: name, Arrow type, unit and meaning."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    nullable: bool = True


class ErrorClass(StrEnum):
    """Why a request failed. A request without text is an error, never a fast success."""

    REFUSED = "refused"  # the connection was not accepted
    RESET = "reset"  # the connection broke before the end of the answer
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST = "timeout_first"  # no first chunk in time
    TIMEOUT_GAP = "timeout_gap"  # a gap between chunks was too long
    TIMEOUT_TOTAL = "timeout_total"
    HTTP_3XX = "http_3xx"  # a redirect; none is followed
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    HTTP_503 = "http_503"
    NOT_A_STREAM = "not_a_stream"  # 200 with another content type
    ERROR_EVENT = "error_event"  # an error event inside a 200 stream
    EMPTY = "empty"  # a stream that ended well and carried no text
    TOO_LONG = "too_long"  # more bytes than any answer of a language model; not read further
    CUT = "cut"  # a stream that ended without its end mark
    MALFORMED = "malformed"  # an event that is not the JSON that was promised
    NO_USAGE = "no_usage"  # the server did not count its tokens
    BAD_USAGE = "bad_usage"  # the server's count of tokens contradicts what came
    WRONG_MODEL = "wrong_model"  # the answer names another model than was asked for
    ABANDONED = "abandoned"  # the cell ended (cap or stop) while the request was in flight
    CLIENT = "client"  # the client itself failed; a bug
    NOT_TOLD = "not_told"  # imported: another tool says that it failed, and not how in these words


REQUEST_COLUMNS: tuple[Column, ...] = (
    Column("request_id", pa.string(), "", "unique id, sent as X-Request-Id", nullable=False),
    Column("response_id", pa.string(), "", "the id that the server gave its answer"),
    Column("user", pa.int32(), "", "closed loop: which user; open loop: 0", nullable=False),
    Column("prompt_id", pa.string(), "", "which prompt; the same in every arm", nullable=False),
    Column("start_id", pa.int32(), "", "which start of the session's server", nullable=False),
    Column("output_tokens_asked", pa.int32(), "tokens", "max_tokens sent", nullable=False),
    Column("due_ns", pa.int64(), NS, "when the request was due to be sent", nullable=False),
    Column("sent_ns", pa.int64(), NS, "its bytes were handed to the socket; null: never sent"),
    Column("handed_ns", pa.int64(), NS, "the socket had taken them; sent_ns is before that"),
    Column("headers_ns", pa.int64(), NS, "the answer's headers arrived"),
    Column("chunk_ns", pa.list_(pa.int64()), NS, "arrival of each chunk with text", nullable=False),
    Column("chunk_bytes", pa.list_(pa.int32()), "bytes of UTF-8", "length of each chunk's text",
           nullable=False),
    Column("done_ns", pa.int64(), NS, "the answer ended, or failed", nullable=False),
    Column("prompt_tokens", pa.int32(), "tokens", "as the server counted them"),
    Column("completion_tokens", pa.int32(), "tokens", "as the server counted them"),
    Column("finish_reason", pa.string(), "", "as the server said (length, stop)"),
    Column("status", pa.int32(), "", "HTTP status"),
    Column("error", pa.string(), "", "error class; null: the request succeeded"),
    Column("error_detail", pa.string(), "", "what was seen, cut to 500 characters"),
)  # fmt: skip

NOT_ALWAYS_TOLD = frozenset(
    {"request_id", "user", "prompt_id", "start_id", "output_tokens_asked", "due_ns", "chunk_ns",
     "chunk_bytes", "done_ns"}
)  # fmt: skip
"""Columns of requests that are null in imported data where the other tool does not tell them."""

SERVER_LOG_COLUMNS: tuple[Column, ...] = (
    Column("request_id", pa.string(), "", "as the client sent it in X-Request-Id", nullable=False),
    Column("read_ns", pa.int64(), CLOCK, "the request's last byte was read", nullable=False),
    Column("admitted_ns", pa.int64(), CLOCK, "its work began; null: it never did"),
    Column("write_ns", pa.list_(pa.int64()), CLOCK, "right before each write of text",
           nullable=False),
    Column("write_tokens", pa.list_(pa.int32()), "tokens", "tokens in each write", nullable=False),
    Column("ended_ns", pa.int64(), CLOCK, "the answer ended, or was cut off", nullable=False),
)  # fmt: skip

_WORD = pa.dictionary(pa.int32(), pa.string())

TELEMETRY_COLUMNS: tuple[Column, ...] = (
    Column("at_ns", pa.int64(), NS, "when the sample was taken; before the origin: negative",
           nullable=False),
    Column("source", _WORD, "", "process, machine, gpu or server", nullable=False),
    Column("name", _WORD, "", "which of them: what a process does, the number of a GPU "
           "(0.1: a MIG instance of GPU 0); machine and server: empty", nullable=False),
    Column("quantity", _WORD, "", "what was read, with its unit, as below", nullable=False),
    Column("value", pa.float64(), "as in the quantity's name", "what was read; a quantity that "
           "cannot be read has no rows", nullable=False),
)  # fmt: skip


def _schema(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                c.name, c.type, nullable=c.nullable, metadata={"unit": c.unit, "doc": c.meaning}
            )
            for c in columns
        ]
    )


REQUEST_SCHEMA = _schema(REQUEST_COLUMNS)
IMPORTED_SCHEMA = _schema(
    replace(c, nullable=c.nullable or c.name in NOT_ALWAYS_TOLD) for c in REQUEST_COLUMNS
)
SERVER_LOG_SCHEMA = _schema(SERVER_LOG_COLUMNS)
TELEMETRY_SCHEMA = _schema(TELEMETRY_COLUMNS)
