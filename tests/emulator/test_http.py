"""Requests out of bytes: the same for every way to cut them, and no exception but its own."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.emulator.http import BadRequest, parse
from tests.emulator.asking import Answer, body_of, is_complete, request_bytes
from tests.load.serving import serving

PLAIN = request_bytes("/v1/chat/completions?x=1", {"model": "é"}, {"X-Request-Id": "7"})
CHUNKED = (
    b"POST /api/chat HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b'6;note="x"\r\n{"mode\r\n5\r\nl": 1\r\n1\r\n}\r\n0\r\nX-Late: 1\r\n\r\n'
)


@pytest.mark.parametrize("data", [PLAIN, CHUNKED])
def test_a_request_is_complete_with_its_last_byte(data: bytes) -> None:
    for end in range(len(data)):
        assert parse(bytearray(data[:end])) is None
    request = parse(bytearray(data + b"POST /next"))
    assert request is not None
    assert request.size == len(data)
    assert json.loads(request.body)["model"] in ("é", 1)
    assert request.path in ("/v1/chat/completions", "/api/chat")
    assert request.keep_alive


@given(st.binary(max_size=200), st.sampled_from([b"", b"POST / HTTP/1.1\r\n", CHUNKED[:60]]))
def test_any_bytes_are_a_request_or_refused(data: bytes, before: bytes) -> None:
    with contextlib.suppress(BadRequest):
        request = parse(bytearray(before + data + b"\r\n\r\n"))
        assert request is None or request.size <= len(before + data) + 4


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request_has_a_status(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as told:
        parse(bytearray(data))
    assert told.value.status == status


@pytest.mark.parametrize(
    ("first", "keeps"),
    [
        ("GET / HTTP/1.0\r\n", False),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n", True),
        ("GET / HTTP/1.1\r\n", True),
        ("GET / HTTP/1.1\r\nConnection: close\r\n", False),
    ],
)
def test_how_long_a_connection_lasts(first: str, keeps: bool) -> None:
    request = parse(bytearray(first.encode() + b"\r\n"))
    assert request is not None
    assert request.keep_alive == keeps


def test_one_connection_many_requests_in_pieces_or_at_once() -> None:
    one = request_bytes("/v1/chat/completions", body_of(2))
    state = b"GET /emulator/state HTTP/1.1\r\n\r\n"

    async def talk() -> list[Answer]:
        async with serving(ttft_ms=1, itl_ms=1) as base_url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url[17:]))

            async def answer() -> Answer:
                raw = b""
                while not is_complete(raw):
                    raw += await reader.read(1)
                return Answer(raw, "complete", [])

            found = []
            for data in (one[:30], one[30:-3], one[-3:]):
                writer.write(data)
                await asyncio.sleep(0.01)
            found.append(await answer())
            writer.write(one + state + one)  # a client that does not wait
            found += [await answer() for _ in range(3)]
            writer.write(b"nonsense\r\n\r\n")
            found.append(await answer())
            assert await reader.read() == b""  # closed
            return found

    first, second, state_answer, third, bad = asyncio.run(asyncio.wait_for(talk(), 20))
    ids = [json.loads(a.text.split(b"\n")[0][6:])["id"] for a in (first, second, third)]
    assert ids == ["chatcmpl-1", "chatcmpl-2", "chatcmpl-3"]
    assert json.loads(state_answer.text)["served"] == 2
    assert bad.status == 400


def test_a_client_that_waits_for_a_word_before_its_body() -> None:
    head, _, body = request_bytes(
        "/v1/chat/completions", body_of(1), {"Expect": "100-continue"}
    ).partition(b"\r\n\r\n")

    async def talk() -> tuple[bytes, bytes]:
        async with serving(ttft_ms=1) as base_url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url[17:]))
            writer.write(head + b"\r\n\r\n")
            word = await reader.readuntil(b"\r\n\r\n")
            writer.write(body)
            return word, await reader.readuntil(b"\r\n")

    assert asyncio.run(asyncio.wait_for(talk(), 20)) == (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    )


def test_an_old_client_gets_an_answer_without_chunks() -> None:
    data = request_bytes("/v1/chat/completions", body_of(2)).replace(b"HTTP/1.1", b"HTTP/1.0")

    async def talk() -> bytes:
        async with serving(ttft_ms=1, itl_ms=1) as base_url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url[17:]))
            writer.write(data)
            return await reader.read()

    head, _, body = asyncio.run(asyncio.wait_for(talk(), 20)).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body.startswith(b"data: ")
    assert body.endswith(b"data: [DONE]\n\n")
