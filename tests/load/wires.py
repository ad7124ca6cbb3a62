"""Good answers of the four APIs, written down apart from the emulator, and a connection to feed.

The texts are those of Ollama 0.24.0 and vLLM 0.21.0, shortened.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from itertools import count, pairwise
from typing import Any

import pytest

from heavyweight.load import connection
from heavyweight.load.apis import api_for
from heavyweight.load.connection import BODY_LIMIT, Exchange, TimedProtocol
from heavyweight.load.rows import row

APIS = ("chat", "completions", "ollama-chat", "ollama-generate")
TEXTS = (" once", " été", ' a "', " 日本\n")
BYTES = [len(text.encode()) for text in TEXTS]
PROMPT_TOKENS = 9
START = 1_000
DONE = b"data: [DONE]\n\n"

Payload = dict[str, Any]


def sse(payload: Payload) -> bytes:
    """A server-sent event in the compact form of both servers."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def line(payload: Payload) -> bytes:
    """A line of Ollama's own API."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def usage(completion_tokens: int) -> Payload:
    """The count of OpenAI's API."""
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def _chat(texts: Sequence[str]) -> list[Payload]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(delta: Payload, reason: str | None = None) -> Payload:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "choices": [choice]}

    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in texts[:-1]),
        chunk({"content": texts[-1]}, "length"),
        {**head, "choices": [], "usage": usage(len(texts))},
    ]


def _completions(texts: Sequence[str]) -> list[Payload]:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "text": text, "finish_reason": None}], "usage": None}
        for text in texts
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "length"
    return [*chunks, {**head, "choices": [], "usage": usage(len(texts))}]


def _ollama(texts: Sequence[str], chat: bool) -> list[Payload]:
    head = {"model": "m", "created_at": "2026-05-19T00:00:00.000000001Z"}

    def text_of(text: str) -> Payload:
        return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}

    counts = {
        "total_duration": 5, "load_duration": 1, "prompt_eval_count": PROMPT_TOKENS,
        "prompt_eval_duration": 1, "eval_count": len(texts), "eval_duration": 3,
    }  # fmt: skip
    context = {} if chat else {"context": list(range(100, 140))}
    return [
        *({**head, **text_of(text), "done": False} for text in texts),
        {**head, **text_of(""), "done": True, "done_reason": "length", **context, **counts},
    ]


def payloads(api: str, texts: Sequence[str] = TEXTS) -> list[Payload]:
    """The JSON objects of a good answer, in turn."""
    if api.startswith("ollama"):
        return _ollama(texts, chat=api == "ollama-chat")
    return _chat(texts) if api == "chat" else _completions(texts)


def events(api: str, texts: Sequence[str] = TEXTS) -> list[bytes]:
    """The events of a good answer, as they are written, with the end mark."""
    if api.startswith("ollama"):
        return [line(payload) for payload in payloads(api, texts)]
    return [*(sse(payload) for payload in payloads(api, texts)), DONE]


GOOD = {api: b"".join(events(api)) for api in APIS}


def head(api: str, framing: bytes) -> bytes:
    """The head of an answer."""
    kind = api_for(api).stream_types[0].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n" + framing + b"\r\n\r\n"


def chunked(api: str, parts: Sequence[bytes]) -> bytes:
    """An answer in chunked framing; empty parts are left out, since one would end it."""
    chunks = (b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return head(api, b"Transfer-Encoding: chunked") + b"".join(chunks) + b"0\r\n\r\n"


def sized(api: str, body: bytes) -> bytes:
    """An answer with a length."""
    return head(api, b"Content-Length: %d" % len(body)) + body


def closing(api: str, body: bytes) -> bytes:
    """An answer that ends with its connection."""
    return head(api, b"Connection: close") + body


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data cut at the places."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def receive(api: str, reads: Sequence[bytes], close: bool = True) -> Exchange:
    """Feed the reads to a connection, whose n-th look at the clock shows 1,000 + n."""
    return receive_each(api, [reads], close)[0]


def receive_each(
    api: str, answers: Iterable[Sequence[bytes]], close: bool = True
) -> list[Exchange]:
    """The same for many answers, each on a connection of its own."""

    async def received() -> list[Exchange]:
        loop, exchanges = asyncio.get_running_loop(), []
        for reads in answers:
            patch.setattr(connection.time, "perf_counter_ns", count(START + 1).__next__)
            exchanges.append(feed(loop, api, reads, close))
        return exchanges

    with pytest.MonkeyPatch.context() as patch:
        return asyncio.run(received())


class _Transport(asyncio.Transport):
    """One that does nothing and keeps nothing, unlike a mock."""

    def close(self) -> None:
        pass

    abort = pause_reading = resume_reading = close

    def is_closing(self) -> bool:
        return False


def feed(
    loop: asyncio.AbstractEventLoop, api: str, reads: Sequence[bytes], close: bool = True
) -> Exchange:
    """Feed the reads to a new connection."""
    protocol = TimedProtocol(loop)
    protocol.connection_made(_Transport())
    protocol.set_response_params(read_until_eof=True, read_bufsize=BODY_LIMIT)
    exchange = protocol.exchange = Exchange("id", "prompt", b"", api_for(api))
    exchange.due_ns = exchange.sent_ns = START
    for read in reads:
        protocol.data_received(read)
    if close:
        protocol.connection_lost(None)
    return exchange


def as_row(exchange: Exchange) -> dict[str, Any]:
    """Its row, with the send as the origin."""
    return row(exchange, START, start_id=1, output_tokens=len(TEXTS))


def timeless(made: dict[str, Any]) -> dict[str, Any]:
    """A row without its times, but with the number of its chunks."""
    times = {name: value for name, value in made.items() if not name.endswith("_ns")}
    return {**times, "chunks": len(made["chunk_ns"])}
