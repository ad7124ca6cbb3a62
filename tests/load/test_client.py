"""One request against a server that behaves in every way: each failure gets its own class."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import row, succeeded
from heavyweight.load.spec import Timeouts
from heavyweight.records import REQUEST_COLUMNS
from heavyweight.records import ErrorClass as E
from heavyweight.workload import Prompt
from tests.load.serving import serving

PROMPT = Prompt("p", ({"role": "system", "content": "a b c"}, {"role": "user", "content": "tell"}))
TOKENS = 6

LAWFUL = ("bytewise", "merged", "crlf", "comments", "long-line")
QUICK = Timeouts(connect_s=0.3, first_s=0.3, gap_s=0.3, total_s=30)


async def perform(client: Client, exchange: Exchange) -> Exchange:
    """Perform one request and look at the clock as the load does."""
    task = asyncio.create_task(client.perform(exchange))
    while not task.done():
        await asyncio.wait({task}, timeout=0.05)
        client.watch()
    await task
    return exchange


async def once(
    base_url: str, limits: Timeouts = QUICK, headers: dict[str, str] | None = None
) -> Exchange:
    """One request with a client of its own."""
    client = Client(base_url, "chat", "emulated", {}, headers or {}, limits)
    try:
        return await perform(client, client.prepare(PROMPT, TOKENS))
    finally:
        await client.close()


async def against(limits: Timeouts = QUICK, **options: Any) -> Exchange:
    """One request to a server with these options."""
    async with serving(ttft_ms=2, itl_ms=1, **options) as base_url:
        return await once(base_url, limits)


def as_row(exchange: Exchange) -> dict[str, Any]:
    """Its row, with the send as the origin."""
    return row(exchange, exchange.due_ns, start_id=1, output_tokens=TOKENS)


@pytest.mark.parametrize("api", ["ollama", "vllm"])
@pytest.mark.parametrize("manner", [None, *LAWFUL])
def test_lawful_manners_change_nothing(api: str, manner: str | None) -> None:
    exchange = asyncio.run(against(api=api, fault=manner))
    made = as_row(exchange)
    assert succeeded(exchange)
    assert set(made) == {column.name for column in REQUEST_COLUMNS}
    assert made["error"] is None
    assert made["error_detail"] is None
    assert made["status"] == 200
    assert made["completion_tokens"] == TOKENS
    assert made["prompt_tokens"] == 4 + 13  # the emulator counts words and adds a template
    assert made["finish_reason"] == "length"
    assert made["chunk_bytes"] == [5, 5, 2, 5, 3, 6]  # " once upon a time in été" in UTF-8
    assert made["response_id"].startswith("chatcmpl-")
    stamps = [made["sent_ns"], made["headers_ns"], *made["chunk_ns"], made["done_ns"]]
    assert stamps == sorted(stamps)
    if manner == "merged":
        assert len(set(made["chunk_ns"])) == 1


def test_partial_answers_keep_what_came() -> None:
    made = as_row(asyncio.run(against(fault="reset")))
    assert made["status"] == 200
    assert 0 < len(made["chunk_ns"]) < TOKENS


def test_a_short_answer_is_no_failure_of_the_stream() -> None:
    made = as_row(asyncio.run(against(fault="short")))
    assert made["error"] is None
    assert made["completion_tokens"] == TOKENS // 2


def test_retry_after_is_kept() -> None:
    assert asyncio.run(against(fault="status-429")).retry_after == "1"


def test_a_server_that_loads_answers_503() -> None:
    assert as_row(asyncio.run(against(start_s=30)))["error"] == E.HTTP_503


def test_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        exchange = asyncio.run(once(f"http://127.0.0.1:{closed.getsockname()[1]}"))
    made = as_row(exchange)
    assert made["error"] == E.REFUSED
    assert made["sent_ns"] is None
    assert made["headers_ns"] is None
    assert made["chunk_ns"] == []


def test_what_this_machine_cannot_open_is_not_the_servers_failure() -> None:
    """With as many open files as are allowed, no connection can be opened."""

    async def ask() -> Exchange:
        async with serving() as base_url:
            client = Client(base_url, "chat", "emulated", {}, {}, QUICK)
            exchange = client.prepare(PROMPT, TOKENS)
            least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
            try:
                assert await client.reserve(exchange) is None
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))
            await client.close()
            return exchange

    made = as_row(asyncio.run(ask()))
    assert made["error"] == E.CLIENT
    assert "open files" in made["error_detail"]


def test_a_connection_that_is_never_accepted_times_out() -> None:
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = deaf.getsockname()
        for _ in range(4):  # more than the backlog holds: the kernel drops what comes after
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        exchange = asyncio.run(once(f"http://127.0.0.1:{address[1]}"))
    assert as_row(exchange)["error"] == E.TIMEOUT_CONNECT


@pytest.mark.parametrize(
    ("first", "error"), [(b"", E.TIMEOUT_FIRST), (b'data: {"choices": []}\n\n', E.TIMEOUT_GAP)]
)
def test_comments_that_keep_a_connection_alive_are_no_events(first: bytes, error: E) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for data in [first, *[b": keep-alive\n\n"] * 100]:
            if data:
                writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await asyncio.sleep(0.05)

    async def ask() -> Exchange:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        try:
            return await once(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        finally:
            listening.close()

    assert as_row(asyncio.run(ask()))["error"] == error


def test_an_answer_that_never_ends_times_out_as_a_whole() -> None:
    limits = Timeouts(first_s=30, gap_s=30, total_s=0.3)

    async def slowly() -> Exchange:
        async with serving(ttft_ms=1, itl_ms=200) as base_url:
            return await once(base_url, limits)

    made = as_row(asyncio.run(slowly()))
    assert made["error"] == E.TIMEOUT_TOTAL
    assert made["chunk_ns"]


def test_requests_in_flight_at_the_end_are_abandoned() -> None:
    async def abandoned() -> Exchange:
        async with serving(ttft_ms=60_000) as base_url:
            client = Client(base_url, "chat", "emulated", {}, {}, Timeouts())
            exchange = client.prepare(PROMPT, TOKENS)
            task = asyncio.create_task(client.perform(exchange))
            while not client.live:
                await asyncio.sleep(0.01)
            client.abandon()
            await task
            assert not client.live
            await client.close()
            return exchange

    assert as_row(asyncio.run(abandoned()))["error"] == E.ABANDONED


def test_a_connection_is_used_again_after_a_success_and_never_after_a_failure() -> None:
    async def ports(*faults: str | None) -> list[int]:
        """The client's port of each request in turn."""
        seen: list[int] = []
        async with serving(ttft_ms=1, itl_ms=1) as base_url:
            client = Client(base_url, "chat", "emulated", {}, {}, QUICK)
            connect = client._connector.connect

            async def spying(*arguments: Any) -> Any:
                connection = await connect(*arguments)
                seen.append(connection.transport.get_extra_info("sockname")[1])
                return connection

            client._connector.connect = spying
            for fault in faults:
                client._head = client._head.split(b"X-Emulate-Fault")[0]
                if fault:
                    client._head += f"X-Emulate-Fault: {fault}\r\n".encode()
                await perform(client, client.prepare(PROMPT, TOKENS))
            await client.close()
        return seen

    first, second, third = asyncio.run(ports(None, "reset", None))
    assert first == second
    assert third != second


def test_the_request_carries_its_id_and_what_the_study_fixes() -> None:
    async def head_and_body() -> bytes:
        client = Client("http://localhost:1/v1", "chat", "m", {"ignore_eos": True}, {}, QUICK)
        payload = client.prepare(PROMPT, TOKENS)
        await client.close()
        return payload.request_id.encode(), payload.payload

    request_id, payload = asyncio.run(head_and_body())
    head, _, body = payload.partition(b"\r\n\r\n")
    assert b"X-Request-Id: " + request_id in head
    assert b"Host: localhost:1\r\n" in head
    assert f"Content-Length: {len(body)}".encode() in head
    for fixed in (
        b'"temperature": 0',
        b'"stream": true',
        b'"ignore_eos": true',
        b'"max_tokens": 6',
    ):
        assert fixed in body


def test_another_machine_is_reached_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def asked(base_url: str, **environment: str) -> bytes:
        """The head of the request that arrived at the proxy."""
        heads: list[bytes] = []

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        for name in environment:
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        client = Client(base_url, "chat", "m", {}, {}, QUICK, allow_remote=True)
        await perform(client, client.prepare(PROMPT, TOKENS))
        await client.close()
        listening.close()
        return b"".join(heads)

    monkeypatch.delenv("no_proxy", raising=False)
    head = asyncio.run(asked("http://model.invalid:8000/v1", http_proxy="here"))
    assert head.startswith(b"POST http://model.invalid:8000/v1/chat/completions HTTP/1.1\r\n")
    assert b"Host: model.invalid:8000\r\n" in head
    secret = asyncio.run(asked("https://model.invalid/v1", https_proxy="here"))
    assert secret.startswith(b"CONNECT model.invalid:443 HTTP/1.1\r\n")
    assert b"POST" not in secret
    assert asyncio.run(asked("http://127.0.0.1:1/v1", http_proxy="here")) == b""


def test_a_certificate_that_cannot_be_verified_is_refused_and_told() -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate")

    async def ask(folder: Path) -> Exchange:
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        listening = await asyncio.start_server(
            lambda reader, writer: None, "127.0.0.1", 0, ssl=context
        )
        try:
            port = listening.sockets[0].getsockname()[1]
            return await once(f"https://127.0.0.1:{port}", Timeouts(connect_s=10))
        finally:
            listening.close()

    with tempfile.TemporaryDirectory() as folder:
        made = as_row(asyncio.run(ask(Path(folder))))
    assert made["error"] == E.REFUSED
    assert "certificate" in made["error_detail"].lower()
