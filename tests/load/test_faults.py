"""Every fault that the emulator knows, on every API: an error row of its own class.

All faults of a manner of streaming run at the same time against one emulator in a process of its
own; then the same clients make good requests. The tests look at what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from heavyweight.emulator import faults
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.rows import row, succeeded
from heavyweight.load.spec import Timeouts
from heavyweight.records import REQUEST_SCHEMA
from heavyweight.records import ErrorClass as E
from heavyweight.workload import Prompt

PROMPT = Prompt("p", ({"role": "system", "content": "a b c"}, {"role": "user", "content": "tell"}))
TOKENS = 6
TTFT_MS, ITL_MS = 5, 2
SPOKEN = (  # the API, and whose manner of streaming
    ("chat", "vllm"),
    ("chat", "ollama"),
    ("completions", "vllm"),
    ("completions", "ollama"),
    ("ollama-chat", "ollama"),
    ("ollama-generate", "ollama"),
)

LIMITS = Timeouts(connect_s=5, first_s=1, gap_s=1, total_s=2)

LAWFUL = None  # a success
EXPECTED: dict[str, E | None] = {
    "status-400": E.HTTP_4XX,
    "status-404": E.HTTP_4XX,
    "status-429": E.HTTP_429,
    "status-500": E.HTTP_5XX,
    "status-502": E.HTTP_5XX,
    "status-503": E.HTTP_503,
    "reset-before-headers": E.RESET,
    "reset-in-headers": E.RESET,
    "reset-after-headers": E.RESET,
    "reset": E.RESET,
    "close": E.RESET,
    "garbage-headers": E.MALFORMED,
    "garbage-framing": E.MALFORMED,
    "garbage-framing-late": E.MALFORMED,
    "garbage": E.MALFORMED,
    "truncated-json": E.MALFORMED,
    "error-event": E.ERROR_EVENT,
    "error-first": E.ERROR_EVENT,
    "stall-headers": E.TIMEOUT_FIRST,
    "stall-first": E.TIMEOUT_FIRST,
    "stall": E.TIMEOUT_GAP,
    "drip": E.TIMEOUT_TOTAL,
    "flood": E.TOO_LONG,
    "empty": E.EMPTY,
    "no-body": E.CUT,
    "cut": E.CUT,
    "cut-half": E.CUT,
    "no-usage": E.NO_USAGE,
    "usage-zero": E.BAD_USAGE,
    "usage-fewer": E.BAD_USAGE,
    "usage-more": E.BAD_USAGE,
    "other-model": E.WRONG_MODEL,
    "wrong-type": E.NOT_A_STREAM,
    # No failure of the stream: the study's check of the output's length is for these.
    "short": LAWFUL,
    "long": LAWFUL,
    # Odd but right.
    "bytewise": LAWFUL,
    "merged": LAWFUL,
    "crlf": LAWFUL,
    "comments": LAWFUL,
    "long-line": LAWFUL,
    "content-length": LAWFUL,
    "close-delimited": LAWFUL,
    "chunk-extension": LAWFUL,
}
WRITTEN = {"short": TOKENS // 2, "long": 2 * TOKENS}

CASES = [(api, manner, fault) for api, manner in SPOKEN for fault in EXPECTED]


def as_row(exchange: Exchange) -> dict[str, Any]:
    """Its row, with the send as the origin; it can be stored."""
    made = row(exchange, exchange.sent_ns or 0, start_id=1, output_tokens=TOKENS)
    pa.Table.from_pylist([made], schema=REQUEST_SCHEMA).validate(full=True)
    return made


async def perform(client: Client, exchange: Exchange) -> Exchange:
    """Perform one request and look at the clock as the load does."""
    task = asyncio.create_task(client.perform(exchange))
    while not task.done():
        await asyncio.wait({task}, timeout=0.05)
        client.watch()
    await task
    return exchange


async def bad_then_good(
    base_url: str, api: str, fault: str, turn: asyncio.Semaphore
) -> tuple[Exchange, Exchange]:
    """A request that fails by order, and a plain one of the same client, one flood at a time."""
    client = Client(base_url, api, "emulated", {}, {"X-Emulate-Fault": fault}, LIMITS)
    bad, good = client.prepare(PROMPT, TOKENS), client.prepare(PROMPT, TOKENS)
    good.payload = good.payload.replace(f"X-Emulate-Fault: {fault}\r\n".encode(), b"")
    try:
        async with turn if fault == "flood" else contextlib.nullcontext():
            await perform(client, bad)
        return bad, await perform(client, good)
    finally:
        await client.close()


Outcome = tuple[Exchange, Exchange]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str, str], Outcome]:
    """What came of each case."""

    async def run(base_urls: dict[str, str]) -> dict[tuple[str, str, str], Outcome]:
        turn = asyncio.Semaphore()
        tasks = [bad_then_good(base_urls[manner], api, fault, turn) for api, manner, fault in CASES]
        return dict(zip(CASES, await asyncio.gather(*tasks), strict=True))

    with contextlib.ExitStack() as stack:
        base_urls = {m: stack.enter_context(emulator(m)) for m in {m for _, m in SPOKEN}}
        return asyncio.run(run(base_urls))


@contextlib.contextmanager
def emulator(manner: str) -> Iterator[str]:
    """An emulator that has a slot for every request of the test."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "heavyweight.emulator", "--api", manner, "--slots", "999"),
            *("--ttft-ms", str(TTFT_MS), "--itl-ms", str(ITL_MS)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.kill()


def test_every_fault_has_an_expectation() -> None:
    assert set(EXPECTED) == set(faults.NAMES)


@pytest.mark.parametrize(("api", "manner", "fault"), CASES)
def test_a_fault_has_its_class_and_the_next_request_is_good(
    outcomes: dict[tuple[str, str, str], Outcome], api: str, manner: str, fault: str
) -> None:
    bad, good = outcomes[api, manner, fault]
    made, expected = as_row(bad), EXPECTED[fault]
    assert made["error"] == expected, made["error_detail"]
    assert made["sent_ns"] is not None
    assert made["done_ns"] > made["sent_ns"]
    stamps = [made["sent_ns"], *made["chunk_ns"], made["done_ns"]]
    assert stamps == sorted(stamps)
    if expected is None:
        assert succeeded(bad)
        # Never a fast success: the tokens took their time.
        written = WRITTEN.get(fault, TOKENS)
        assert (made["completion_tokens"], len(made["chunk_ns"])) == (written, written)
        assert made["done_ns"] >= (TTFT_MS + ITL_MS * (written - 1)) * 1e6
    else:
        assert made["error_detail"]
    plain = as_row(good)
    assert plain["error"] is None, plain["error_detail"]
    assert (plain["completion_tokens"], len(plain["chunk_ns"])) == (TOKENS, TOKENS)


async def once(base_url: str) -> Exchange:
    """One request with a client of its own."""
    client = Client(base_url, "chat", "m", {}, {}, Timeouts(connect_s=0.3, first_s=0.3, gap_s=0.3))
    try:
        return await perform(client, client.prepare(PROMPT, TOKENS))
    finally:
        await client.close()


TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
SSH = b"SSH-2.0-OpenSSH_9.6\r\n"


@pytest.mark.parametrize(
    ("scheme", "said", "then", "expected"),
    [
        ("http", b"", "close", E.RESET),
        ("http", b"", "hold", E.TIMEOUT_FIRST),
        ("http", TLS_ALERT, "close", E.MALFORMED),
        ("http", TLS_ALERT, "hold", E.MALFORMED),
        ("http", SSH, "hold", E.MALFORMED),
        ("http", b"\x00" * 100_000, "close", E.MALFORMED),
        ("http", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "close", E.MALFORMED),
        ("http", b"HTTP/1.1 200 OK\r\n", "hold", E.TIMEOUT_FIRST),
        ("http", b"HTTP/1.1 200 OK\r\n", "close", E.RESET),
        ("http", b"HTTP/9.9 200 OK\r\n\r\n", "close", E.MALFORMED),
        ("http", b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "hold",
         E.HTTP_3XX),
        ("https", b"", "close", E.REFUSED),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "close", E.REFUSED),
        ("https", b"", "hold", E.TIMEOUT_CONNECT),
    ],
)  # fmt: skip
def test_what_listens_is_no_server_of_a_model(
    scheme: str, said: bytes, then: str, expected: E
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        if then == "close":
            writer.close()

    async def run() -> Exchange:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await once(f"{scheme}://127.0.0.1:{port}")

    made = as_row(asyncio.run(run()))
    assert made["error"] == expected, made["error_detail"]
    assert made["error_detail"]
    assert made["chunk_ns"] == []


@pytest.mark.parametrize(("backlog", "expected"), [(None, E.REFUSED), (0, E.TIMEOUT_CONNECT)])
def test_nobody_accepts(backlog: int | None, expected: E) -> None:
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        address = deaf.getsockname()
        if backlog is not None:
            deaf.listen(backlog)
            for _ in range(4):  # more than the backlog holds: the kernel drops what comes after
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
        made = as_row(asyncio.run(once(f"http://127.0.0.1:{address[1]}")))
    assert made["error"] == expected
    assert made["sent_ns"] is None
    assert made["headers_ns"] is None


def table(outcomes: dict[tuple[str, str, str], Outcome]) -> str:
    """The class of each fault, by API and manner."""
    names = [f"{api}, {manner}" if "ollama-" not in api else api for api, manner in SPOKEN]
    lines = ["| fault | " + " | ".join(names) + " |", "|---|" + "---|" * len(SPOKEN)]
    for fault in EXPECTED:
        cells = (as_row(outcomes[api, manner, fault][0])["error"] for api, manner in SPOKEN)
        lines.append(f"| {fault} | " + " | ".join(cell or "success" for cell in cells) + " |")
    return "\n".join(lines)


def test_the_table_of_faults_is_printed(outcomes: dict[tuple[str, str, str], Outcome]) -> None:
    """``pytest -s -k table_of_faults`` shows it."""
    print(f"\n{table(outcomes)}")
