"""The stamped protocol: the same row for every way in which the network cuts the bytes."""

from __future__ import annotations

import asyncio
from itertools import accumulate, count, pairwise
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heavyweight.emulator.wire import answer
from heavyweight.load import connection
from heavyweight.load.apis import api_for
from heavyweight.load.connection import BODY_LIMIT, Exchange, TimedProtocol
from heavyweight.load.framing import Frames
from heavyweight.load.rows import row, succeeded, table
from heavyweight.records import ErrorClass

WRITES = [w.data for w in answer("vllm", "m", number=1, prompt_tokens=9, output_tokens=4)]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = (
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%s\r\n" % (len(data), data) for data in WRITES)
    + b"0\r\n\r\n"
)
BODY = b"".join(WRITES)
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CLOSED = HEAD + b"Connection: close\r\n\r\n" + BODY

ODD = (  # lawful: extensions, spaces, capital digits, several chunks and a split event, trailers
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"%X ; name=value\r\n%s\r\n"
    % (len(WRITES[0] + WRITES[1]) + 7, BODY[: len(WRITES[0] + WRITES[1]) + 7])
    + b'00%x;q="a"\r\n%s\r\n'
    % (len(BODY) - len(WRITES[0] + WRITES[1]) - 7, BODY[len(WRITES[0] + WRITES[1]) + 7 :])
    + b"000\r\nX-Trailer: 1\r\nY: 2\r\n\r\n"
)

START = 1_000


def receive(reads: list[bytes], close: bool = False) -> Exchange:
    """Feed the reads to a connection; the n-th look at the clock shows 1,000 + n."""

    async def feed() -> Exchange:
        protocol = TimedProtocol(asyncio.get_running_loop())
        protocol.connection_made(Mock(spec=asyncio.Transport))
        protocol.set_response_params(read_until_eof=True, read_bufsize=BODY_LIMIT)
        exchange = protocol.exchange = Exchange("id", "prompt", b"", api_for("chat"))
        exchange.sent_ns = START
        for read in reads:
            protocol.data_received(read)
        if close:
            protocol.connection_lost(None)
        return exchange

    clock = count(START + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.time, "perf_counter_ns", lambda: next(clock))
        return asyncio.run(feed())


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data cut at the places."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def as_row(exchange: Exchange) -> dict[str, Any]:
    return row(exchange, START, start_id=1, output_tokens=4)


def ends(framed: bytes) -> list[int]:
    """Offset in the framed bytes behind each event with text."""
    found = []
    for behind in accumulate(map(len, WRITES)):
        # the least of the framed bytes in which that much of the body is
        low = next(n for n in range(len(framed) + 1) if len(body_of(framed[:n])) >= behind)
        found.append(low)
    return found[1:5]


def body_of(framed: bytes) -> bytes:
    """What a plain reading of the framing finds in the answer: a second opinion."""
    head, _, rest = framed.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return rest
    body = b""
    while (parts := rest.partition(b"\r\n"))[1]:
        size = int(parts[0].partition(b";")[0], 16)
        if not size:
            break
        body += parts[2][:size]
        rest = parts[2][size + 2 :]
    return body


@settings(max_examples=150)
@given(
    st.sampled_from([CHUNKED, SIZED, CLOSED, ODD]),
    st.lists(st.integers(1, max(len(CHUNKED), len(SIZED))), max_size=30),
)
def test_every_cut_gives_the_same_row_and_the_time_of_the_completing_read(
    framed: bytes, places: list[int]
) -> None:
    reads = cut(framed, places)
    exchange = receive(reads, close=framed is CLOSED)
    assert succeeded(exchange)
    made = as_row(exchange)
    assert made["error"] is None
    assert made["chunk_bytes"] == [5, 5, 2, 5]
    assert (made["prompt_tokens"], made["completion_tokens"]) == (9, 4)

    total, behind = 0, []
    for read in reads:
        total += len(read)
        behind.append(total)

    def read_number(offset: int) -> int:
        return next(n for n, edge in enumerate(behind, 1) if edge >= offset)

    assert made["chunk_ns"] == [read_number(end) for end in ends(framed)]
    assert made["headers_ns"] == read_number(framed.index(b"\r\n\r\n") + 4)
    assert made["done_ns"] == len(reads) + (framed is CLOSED)


def test_byte_by_byte() -> None:
    made = as_row(receive([CHUNKED[i : i + 1] for i in range(len(CHUNKED))]))
    assert made["error"] is None
    assert made["chunk_ns"] == ends(CHUNKED)


@settings(max_examples=100)
@given(st.integers(0, len(CHUNKED) - 1))
def test_a_connection_that_breaks_anywhere_is_never_a_success(length: int) -> None:
    exchange = receive([CHUNKED[:length]] if length else [], close=True)
    assert exchange.finished
    assert not succeeded(exchange)
    assert as_row(exchange)["error"] == ErrorClass.RESET


@settings(max_examples=150)
@given(
    st.binary(min_size=1, max_size=200),
    st.integers(0, len(CHUNKED) - 1),
    st.lists(st.integers(1, len(CHUNKED)), max_size=3),
)
@example(b"ZZ\r\n", CHUNKED.index(b"\r\n", CHUNKED.index(b" upon")) + 2, [len(HEAD) + 40])
def test_garbage_on_the_connection_is_an_error_row(
    garbage: bytes, place: int, places: list[int]
) -> None:
    exchange = receive(cut(CHUNKED[:place] + garbage, places), close=True)
    assert exchange.finished
    made = as_row(exchange)
    if made["error"] is None:  # the garbage was a part of the text, or came behind the end
        assert made["chunk_bytes"]
        assert made["completion_tokens"]


def test_an_informational_answer_is_not_the_answer() -> None:
    made = as_row(receive([b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED]))
    assert made["error"] is None
    assert made["headers_ns"] == 2


def test_statuses_without_a_body_are_no_stream() -> None:
    made = as_row(receive([b"HTTP/1.1 204 No Content\r\n\r\n"], close=True))
    assert made["error"] == ErrorClass.NOT_A_STREAM


def as_chunks(parts: list[bytes]) -> bytes:
    """Parts in chunked framing; empty ones are left out, since they would end it."""
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts if p) + b"0\r\n\r\n"


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=12), st.data())
def test_frames_give_the_body_back_however_often_they_are_walked(
    parts: list[bytes], data: st.DataObject
) -> None:
    raw = as_chunks(parts)
    stops = data.draw(st.lists(st.integers(0, len(raw)), max_size=6).map(sorted))
    frames = Frames()
    for stop in stops:
        complete = frames.walk(raw[:stop])
        assert complete == (stop == len(raw))
        assert b"".join(parts).startswith(frames.body(raw[:stop]))
    assert frames.walk(raw)
    assert (frames.body(raw), frames.end, frames.problem) == (b"".join(parts), len(raw), "")
    for end in range(1, len(b"".join(parts)) + 1):
        # the byte at that place of the framed answer is the body's last one so far
        assert raw[frames.raw_end(end) - 1] == b"".join(parts)[end - 1]


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_frames_of_any_bytes_never_raise(raw: bytes) -> None:
    frames = Frames()
    complete = frames.walk(raw)
    assert complete == (frames.end > 0)
    assert not (complete and frames.problem)
    assert len(frames.body(raw)) <= len(raw)


@pytest.mark.parametrize("size", [b"-5", b"+5", b"0x5", b"5_0", b"", b"g", b"\xb2", b"f" * 16])
def test_a_size_that_is_no_hexadecimal_number_is_no_framing(size: bytes) -> None:
    frames = Frames()
    assert not frames.walk(size + b"\r\nhello\r\n0\r\n\r\n")
    assert frames.problem


def test_bytes_behind_the_end_are_not_given_to_the_next_request() -> None:
    async def feed() -> tuple[Exchange, bool]:
        protocol = TimedProtocol(asyncio.get_running_loop())
        protocol.connection_made(Mock(spec=asyncio.Transport))
        protocol.set_response_params(read_until_eof=True, read_bufsize=BODY_LIMIT)
        exchange = protocol.exchange = Exchange("id", "prompt", b"", api_for("chat"))
        exchange.sent_ns = START
        protocol.data_received(CHUNKED + b"HTTP/1.1 200 OK\r\n\r\n")
        return exchange, protocol.should_close

    exchange, should_close = asyncio.run(feed())
    assert exchange.finished
    assert should_close


def test_the_connection_can_be_used_again_after_a_framed_answer() -> None:
    async def feed() -> list[dict[str, Any]]:
        protocol = TimedProtocol(asyncio.get_running_loop())
        protocol.connection_made(Mock(spec=asyncio.Transport))
        made = []
        for data in (CHUNKED, ODD, SIZED, CHUNKED):
            protocol.set_response_params(read_until_eof=True, read_bufsize=BODY_LIMIT)
            exchange = protocol.exchange = Exchange("id", "prompt", b"", api_for("chat"))
            exchange.sent_ns = START
            protocol.data_received(data[:100])
            protocol.data_received(data[100:])
            assert not protocol.should_close
            made.append(as_row(exchange))
        return made

    for made in asyncio.run(feed()):
        assert made["error"] is None
        assert made["chunk_bytes"] == [5, 5, 2, 5]


def test_each_answer_is_judged_by_the_length_that_it_was_asked() -> None:
    """A trace may ask its own length of each request: 4 tokens in 2 chunks, 2 asked of others."""
    writes = answer("vllm", "m", number=1, prompt_tokens=9, output_tokens=4, tokens_per_chunk=2)
    exchange = receive(
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", as_chunks([w.data for w in writes])]
    )
    (own,) = table([exchange], START, 1, 2, {"id": 4}).to_pylist()
    assert (own["error"], own["output_tokens_asked"]) == (None, 4)
    (general,) = table([exchange], START, 1, 2).to_pylist()
    assert (general["error"], general["output_tokens_asked"]) == (ErrorClass.BAD_USAGE, 2)
