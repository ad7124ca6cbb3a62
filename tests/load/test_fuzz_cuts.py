"""The same stream and the same row for every way to cut the bytes: into chunks and into reads."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from heavyweight.load import connection
from heavyweight.load.rows import parsed, row, succeeded
from heavyweight.load.stream import Stream
from heavyweight.records import REQUEST_SCHEMA
from heavyweight.records import ErrorClass as E
from tests.load.test_fuzz_streams import damaged
from tests.load.wires import (
    APIS,
    GOOD,
    START,
    as_row,
    chunked,
    closing,
    cut,
    events,
    head,
    receive,
    receive_each,
    sized,
    timeless,
)

SHORT = (" été", ' a "')
BODY = {api: b"".join(events(api, SHORT)) for api in APIS}
FRAMINGS = ("chunked", "sized", "closing")
apis = st.sampled_from(APIS)
fuzz = settings(max_examples=100)


def framed(api: str, framing: str) -> bytes:
    """A short good answer, an event a chunk."""
    if framing == "chunked":
        return chunked(api, events(api, SHORT))
    return (sized if framing == "sized" else closing)(api, BODY[api])


def said(api: str, answer: bytes, closed: bool = True) -> tuple[Stream, dict[str, Any]]:
    """The stream and the row of an answer that comes in one read."""
    exchange = receive(api, [answer], closed)
    return parsed(exchange), timeless(as_row(exchange))


def check(made: dict[str, Any], reads: list[bytes]) -> None:
    """Stamps are those of reads, in their order, and the row can be stored."""
    pa.Table.from_pylist([made], schema=REQUEST_SCHEMA).validate(full=True)
    stamps = [made["sent_ns"], made["headers_ns"] or 0, *made["chunk_ns"], made["done_ns"]]
    assert stamps == sorted(stamps)
    assert all(1 <= stamp <= len(reads) for stamp in made["chunk_ns"])


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_single_cut(api: str, framing: str) -> None:
    answer = framed(api, framing)
    stream, expected = said(api, answer)
    assert expected["error"] is None
    cuts = [cut(answer, [place]) for place in range(1, len(answer))]
    for place, exchange in enumerate(receive_each(api, cuts), 1):
        assert succeeded(exchange)
        assert parsed(exchange) == stream
        made = as_row(exchange)
        assert timeless(made) == expected
        check(made, [b"", b""])
        if framing != "chunked":  # the offset in the answer is the one in the body and the head
            behind = answer.index(b"\r\n\r\n") + 4
            assert made["chunk_ns"] == [1 + (behind + end > place) for end in stream.chunk_ends]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_byte_by_byte(api: str, framing: str) -> None:
    answer = framed(api, framing)
    stream, expected = said(api, answer)
    exchange = receive(api, [answer[i : i + 1] for i in range(len(answer))])
    assert parsed(exchange) == stream
    made = as_row(exchange)
    assert timeless(made) == expected
    assert len(set(made["chunk_ns"])) == len(SHORT)


@pytest.mark.parametrize("api", APIS)
def test_every_way_to_cut_a_body_into_two_chunks(api: str) -> None:
    body = BODY[api]
    stream, expected = said(api, framed(api, "chunked"))
    answers = [[chunked(api, cut(body, [place]))] for place in range(1, len(body))]
    for exchange in receive_each(api, answers):
        assert parsed(exchange) == stream
        assert timeless(as_row(exchange)) == expected


@fuzz
@given(apis, st.data())
def test_any_cut_into_chunks_and_any_into_reads(api: str, data: st.DataObject) -> None:
    places = st.lists(st.integers(1, 2 * len(GOOD[api])), max_size=40)
    answer = chunked(api, cut(GOOD[api], data.draw(places)))
    reads = cut(answer, data.draw(places))
    exchange = receive(api, reads)
    assert succeeded(exchange)
    assert parsed(exchange) == said(api, chunked(api, [GOOD[api]]))[0]
    check(as_row(exchange), reads)


@fuzz
@given(apis, st.sampled_from(FRAMINGS), st.data())
def test_a_cut_changes_no_failure(api: str, framing: str, data: st.DataObject) -> None:
    """Damage in the body, the framing or the head, cut anywhere: the same class and chunks."""
    answer = data.draw(damaged(framed(api, framing)))
    assume(answer)
    _, expected = said(api, answer)
    reads = cut(answer, data.draw(st.lists(st.integers(1, len(answer)), max_size=20)))
    exchange = receive(api, reads)
    made = as_row(exchange)
    check(made, reads)
    assert {**timeless(made), "error_detail": ""} == {**expected, "error_detail": ""}
    assert succeeded(exchange) or made["error"] is not None
    if made["error"] is None:
        assert made["chunk_bytes"]
        assert made["completion_tokens"] >= len(made["chunk_bytes"])


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_that_breaks_anywhere_is_no_success(api: str, framing: str) -> None:
    answer = framed(api, framing)
    # The line end behind the last JSON object may be missing where the body has no length.
    optional = 1 if framing == "closing" and api.startswith("ollama") else 0
    broken = [[answer[:length]] for length in range(len(answer) - optional)]
    for exchange in receive_each(api, broken):
        assert not succeeded(exchange)
        assert as_row(exchange)["error"] in (E.RESET, E.CUT)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_head_with_line_feeds_alone_cut_anywhere(framing: str) -> None:
    start, _, rest = framed("chat", framing).partition(b"\r\n\r\n")
    answer = start.replace(b"\r\n", b"\n") + b"\n\n" + rest
    expected = said("chat", framed("chat", framing))[1]
    for exchange in receive_each("chat", [cut(answer, [place]) for place in range(len(answer))]):
        assert timeless(as_row(exchange)) == expected


@pytest.mark.parametrize("framing", ["chunked", "sized"])
@pytest.mark.parametrize("behind", [b"x", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"])
def test_what_comes_behind_the_end_is_not_the_answers(framing: str, behind: bytes) -> None:
    answer = framed("ollama-chat", framing)
    _, expected = said("ollama-chat", answer)
    cuts = [cut(answer + behind, [place]) for place in range(len(answer) - 5, len(answer) + 5)]
    for exchange in receive_each("ollama-chat", cuts):
        assert timeless(as_row(exchange)) == expected


@pytest.mark.parametrize("framing", ["chunked", "closing"])
def test_an_answer_without_end_is_given_up_and_not_kept(
    framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BODY_LIMIT", 10_000)
    event = events("chat")[1]
    flood = b"%x\r\n%s\r\n" % (len(event), event) if framing == "chunked" else event
    start = chunked("chat", [])[:-5] if framing == "chunked" else closing("chat", b"")
    exchange = receive("chat", [start, *[flood] * 200], close=False)
    if framing == "closing":  # aiohttp keeps it, within bounds; the client looks at the length
        assert exchange.received_bytes > connection.BODY_LIMIT
        exchange.finish(E.TOO_LONG, "told by the client")
    made = as_row(exchange)
    assert made["error"] == E.TOO_LONG
    assert made["chunk_ns"] == []
    assert exchange.body == b""
    assert not succeeded(exchange)


@fuzz
@given(apis, st.integers(200, 599), st.sampled_from(["text/html", "", "TEXT/EVENT-STREAM; a=b"]))
@example("chat", 200, "text/event-stream;charset=utf-8")
@example("ollama-chat", 302, "application/x-ndjson")
def test_the_head_decides_before_the_body(api: str, status: int, kind: str) -> None:
    start = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()
    made = as_row(receive(api, [start + GOOD[api]]))
    right = api in ("chat", "completions") and kind.lower().startswith("text/event-stream")
    if status == 200 and right:
        assert made["error"] is None
    else:
        assert made["error"] == {
            2: E.NOT_A_STREAM, 3: E.HTTP_3XX,
            4: E.HTTP_429 if status == 429 else E.HTTP_4XX,
            5: E.HTTP_503 if status == 503 else E.HTTP_5XX,
        }[status // 100]  # fmt: skip
        assert made["chunk_ns"] == []
        assert made["error_detail"].startswith(str(status))


@pytest.mark.parametrize("api", APIS)
def test_a_type_of_another_api_is_no_stream(api: str) -> None:
    other = "chat" if api.startswith("ollama") else "ollama-chat"
    start = head(other, b"Content-Length: %d" % len(GOOD[api]))
    assert as_row(receive(api, [start + GOOD[api]]))["error"] == E.NOT_A_STREAM


def test_an_origin_after_the_start_changes_no_order() -> None:
    exchange = receive("chat", [framed("chat", "chunked")])
    made = row(exchange, START + 50, start_id=1, output_tokens=2)
    assert made["done_ns"] == 1 - 50
