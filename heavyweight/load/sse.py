"""Bytes of a stream -> events -> what a row says of it: pure, and never an exception.

The grammar is that of server-sent events (WHATWG HTML, section 9.2.6). Offsets are kept, so that an
event can be given the time of the read that completed it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from heavyweight.records import ErrorClass

DONE = b"[DONE]"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_DETAIL = 500  # characters kept of what was seen
_ID = 200  # characters kept of an id

# A chunk with text in it: the first character of a string that is not empty.
_TEXT = re.compile(rb'"(?:content|reasoning|reasoning_content)"\s*:\s*"[^"]')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


@dataclass(frozen=True)
class Event:
    """One event.

    Args:
        end: offset behind the blank line that dispatched it, in bytes.
        data: its data lines, joined by a line feed.
        kind: its ``event`` field; empty where it has none.
    """

    end: int
    data: bytes
    kind: bytes = b""


def events(body: bytes) -> Iterator[Event]:
    """The events of a stream; one that no blank line completed was never dispatched."""
    start = len(_BOM) if body.startswith(_BOM) else 0
    data: list[bytes] = []
    kind = b""
    for match in _LINE_END.finditer(body, start):
        line = body[start : match.start()]
        start = match.end()
        if not line:
            if data:
                yield Event(start, b"\n".join(data), kind)
            data, kind = [], b""
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value


@dataclass
class Stream:
    """What a stream said.

    Args:
        chunk_ends: offset behind each chunk with text, in bytes.
        chunk_bytes: length of each chunk's text in UTF-8.
        problem: the first thing that makes the stream a failure by itself, with what was seen.
    """

    chunk_ends: list[int] = field(default_factory=list)
    chunk_bytes: list[int] = field(default_factory=list)
    response_id: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ended: bool = False
    problem: tuple[ErrorClass, str] | None = None

    @property
    def error(self) -> tuple[ErrorClass, str] | None:
        """Why the stream is not a success, given that its connection ended in good order."""
        if self.problem:
            return self.problem
        if not self.ended:
            return ErrorClass.CUT, f"no end mark after {len(self.chunk_ends)} chunks with text"
        if not self.chunk_ends:
            return ErrorClass.EMPTY, "the stream ended well and carried no text"
        if self.prompt_tokens is None or not self.completion_tokens:
            return ErrorClass.NO_USAGE, "no count of prompt and completion tokens"
        return None


def parse(body: bytes) -> Stream:
    """Read a whole stream.

    Args:
        body: the bytes of the answer, without the framing of HTTP.
    """
    stream = Stream()
    for event in events(body):
        if event.data.strip() == DONE:
            stream.ended = True
            continue
        try:
            payload = json.loads(event.data)
        except (ValueError, RecursionError):
            _fail(stream, ErrorClass.MALFORMED, event.data)
            continue
        if event.kind == b"error" or (isinstance(payload, dict) and payload.get("error")):
            _fail(stream, ErrorClass.ERROR_EVENT, event.data)
        elif not isinstance(payload, dict) or not isinstance(payload.get("choices"), list):
            _fail(stream, ErrorClass.MALFORMED, event.data)
        else:
            _chunk(stream, payload, event.end)
    return stream


def _fail(stream: Stream, error: ErrorClass, seen: bytes) -> None:
    """Note the first problem; an error event says more than what it did to the stream."""
    known = stream.problem
    if known is None or (error is ErrorClass.ERROR_EVENT and known[0] is not error):
        stream.problem = error, excerpt(seen)


def _chunk(stream: Stream, payload: dict[str, Any], end: int) -> None:
    if stream.response_id is None:
        stream.response_id = _text(payload.get("id"))
    _count(stream, payload.get("usage"))
    size = 0
    for choice in payload["choices"]:
        if not isinstance(choice, dict):
            continue
        stream.finish_reason = _text(choice.get("finish_reason")) or stream.finish_reason
        delta = choice.get("delta")
        if isinstance(delta, dict):
            size += sum(
                len(text.encode("utf-8", "surrogatepass"))
                for name in ("content", "reasoning", "reasoning_content")
                if isinstance(text := delta.get(name), str)
            )
    if size:
        stream.chunk_ends.append(end)
        stream.chunk_bytes.append(size)


def _count(stream: Stream, usage: Any) -> None:
    """Take the server's count; the last one counts, since some servers count as they go."""
    if not isinstance(usage, dict):
        return
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    if all(type(count) is int and 0 <= count < 2**31 for count in counts):
        stream.prompt_tokens, stream.completion_tokens = counts


def _text(value: Any) -> str | None:
    """A string that can be stored, or nothing."""
    if not isinstance(value, str):
        return None
    return value[:_ID].encode("utf-8", "replace").decode("utf-8")


def excerpt(seen: bytes) -> str:
    """The beginning of what was seen, as text that can be stored."""
    return seen[: _DETAIL * 4].decode("utf-8", "replace")[:_DETAIL]


def looks_complete(body: bytes) -> bool:
    """A cheap test at the end of a stream: True only where a parse can be left for later.

    It decides whether a user may go on at once, never what a row says: rows are always parsed.
    """
    return (
        DONE in body[-32:]
        and b'"error"' not in body
        and _TEXT.search(body) is not None
        and _USAGE.search(body, max(0, len(body) - 4096)) is not None
    )
