"""Requests of HTTP/1.x out of bytes, and short answers into them: simple but right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_HEAD_BYTES = 1 << 16
_BODY_BYTES = 1 << 26


class BadRequest(Exception):
    """Bytes that are no request; holds the status to answer with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Request:
    """One request.

    Args:
        headers: names in small letters.
        size: its bytes, head and body.
        keep_alive: whether the connection lasts beyond its answer.
        chunked: whether its client knows chunks (HTTP/1.1).
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    size: int
    keep_alive: bool
    chunked: bool


def parse(data: bytearray) -> Request | None:
    """The first request of these bytes; None: it is not complete yet.

    Raises:
        BadRequest: these bytes are no request.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _HEAD_BYTES:
            raise BadRequest(431, "the headers have no end")
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    try:
        method, path, version = first.split(" ")
    except ValueError:
        raise BadRequest(400, "this is not HTTP") from None
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505 if version.startswith("HTTP/") else 400, "HTTP/1.1 was expected")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, f"not a header: {line[:80]}")
        headers[name.lower()] = value.strip()
    start = end + 4
    if "chunked" in headers.get("transfer-encoding", "").lower():
        found = _chunks(data, start)
        if found is None:
            return None
        body, stop = found
    else:
        size = headers.get("content-length", "0")
        if not (size.isascii() and size.isdigit()):
            raise BadRequest(400, "not a length")
        stop = start + int(size)
        if int(size) > _BODY_BYTES:
            raise BadRequest(413, "the body is too long")
        if len(data) < stop:
            return None
        body = bytes(data[start:stop])
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    path = path.partition("?")[0]
    return Request(method, path, headers, body, stop, keep, version == "HTTP/1.1")


def _chunks(data: bytearray, start: int) -> tuple[bytes, int] | None:
    """A chunked body from there on, and where it ends; None: not complete yet."""
    parts: list[bytes] = []
    total = 0
    while (line_end := data.find(b"\r\n", start)) >= 0:
        told = bytes(data[start:line_end]).partition(b";")[0].strip()
        try:
            size = int(told, 16)
        except ValueError:
            raise BadRequest(400, "not the size of a chunk") from None
        total += size
        if size < 0 or total > _BODY_BYTES:
            raise BadRequest(413, "the body is too long")
        start = line_end + 2
        if size == 0:
            return _trailers(data, start, b"".join(parts))
        if len(data) < start + size + 2:
            return None
        if data[start + size : start + size + 2] != b"\r\n":
            raise BadRequest(400, "a chunk without an end")
        parts.append(bytes(data[start : start + size]))
        start += size + 2
    return None


def _trailers(data: bytearray, start: int, body: bytes) -> tuple[bytes, int] | None:
    """Skip what stands behind the last chunk."""
    while (line_end := data.find(b"\r\n", start)) >= 0:
        if line_end == start:
            return body, line_end + 2
        start = line_end + 2
    return None


def wants_continue(data: bytearray) -> bool:
    """Whether the client waits for a word before it sends the body."""
    end = data.find(b"\r\n\r\n")
    return end >= 0 and b"\r\nexpect: 100-continue" in data[:end].lower()


def short(
    status: int,
    body: bytes,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A whole answer."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def short_json(status: int, payload: Any, headers: dict[str, str] | None = None) -> bytes:
    """A whole answer in JSON."""
    return short(status, json.dumps(payload).encode(), headers=headers)
