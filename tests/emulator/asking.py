"""Requests over bare sockets, so that nothing between hides what the emulated server writes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from heavyweight.emulator.server import KINDS

PATHS = {kind: path for path, kind in KINDS.items()}


def body_of(tokens: int = 4, text: str = "one two three", **fields: Any) -> dict[str, Any]:
    """A body that every route understands."""
    return {
        "model": "emulated",
        "messages": [{"role": "user", "content": text}],
        "prompt": text,
        "max_tokens": tokens,
        "options": {"num_predict": tokens},
        "stream": True,
        "stream_options": {"include_usage": True},
        **fields,
    }


def request_bytes(path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    """A request as a client writes it."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Answer:
    """An answer off the wire.

    Args:
        raw: all bytes that came.
        how: ``complete``, ``eof``, ``reset`` or ``silent`` (nothing more came).
        stamps: of each read, its end in the raw bytes and its time in s.
    """

    def __init__(self, raw: bytes, how: str, stamps: list[tuple[int, float]]) -> None:
        self.raw, self.how, self.stamps = raw, how, stamps
        self.head, _, self.rest = raw.partition(b"\r\n\r\n")

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def text(self) -> bytes:
        """The body, out of its frame."""
        return unchunk(self.rest) if b"chunked" in self.head else self.rest


def unchunk(data: bytes) -> bytes:
    """The body in whole chunks."""
    out = b""
    while True:
        line, _, rest = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            return out
        out, data = out + rest[:size], rest[size + 2 :]


def is_complete(raw: bytes) -> bool:
    """Whether one answer with a length or chunks is there."""
    head, end, rest = raw.partition(b"\r\n\r\n")
    if not end:
        return False
    if b"Content-Length: " in head:
        return len(rest) >= int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    last = rest.rfind(b"\r\n0") if b"\r\n0" in rest else (0 if rest.startswith(b"0") else -1)
    return last >= 0 and b"chunked" in head and rest.endswith(b"\r\n\r\n")


async def ask(
    base_url: str,
    kind: str,
    body: dict[str, Any] | None = None,
    silence_s: float = 1.0,
    **headers: str,
) -> Answer:
    """One request on a connection of its own."""
    host, port = base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    writer.write(request_bytes(PATHS[kind], body or body_of(), named))
    raw, how, stamps = b"", "silent", []
    try:
        while data := await asyncio.wait_for(reader.read(1 << 20), silence_s):
            raw += data
            stamps.append((len(raw), asyncio.get_running_loop().time()))
            if is_complete(raw):
                how = "complete"
                break
        else:
            how = "eof"
    except ConnectionError:
        how = "reset"
    except TimeoutError:
        pass
    writer.close()
    return Answer(raw, how, stamps)
