"""Server-sent events, as OpenAI's API streams: bytes -> what a row says of them; no exceptions.

The grammar is that of WHATWG HTML, section 9.2.6. Offsets are kept, so that an event can be given
the time of the read that completed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from heavyweight.load.stream import Stream, storable
from heavyweight.records import ErrorClass

DONE = b"[DONE]"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_REASONED = ("content", "reasoning", "reasoning_content")

# A chunk with text in it: the first character of a string that is not empty.
_TEXT = re.compile(rb'"(?:content|reasoning|reasoning_content|text)"\s*:\s*"[^"]')
_ENDED = re.compile(rb"\[DONE\] *(?:\n\n|\r\n\r\n|\r\r)")
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


def parse_chat(body: bytes) -> Stream:
    """Read a whole stream of /v1/chat/completions.

    Args:
        body: the bytes of the answer, without the framing of HTTP.
    """
    return _parse(body, _delta)


def parse_completions(body: bytes) -> Stream:
    """Read a whole stream of /v1/completions; the argument is that of :func:`parse_chat`."""
    return _parse(body, lambda choice: [choice.get("text")])


def _delta(choice: dict[str, Any]) -> list[Any]:
    delta = choice.get("delta")
    return [delta.get(name) for name in _REASONED] if isinstance(delta, dict) else []


def _parse(body: bytes, text_of: Callable[[dict[str, Any]], list[Any]]) -> Stream:
    stream = Stream()
    for event in events(body):
        if event.data.strip() == DONE:
            stream.ended = True
            continue
        if event.kind == b"ping" or not event.data.strip():  # a keep-alive of a proxy
            continue
        payload = stream.payload(event.data, error_event=event.kind == b"error")
        if payload is None:
            continue
        choices = payload.get("choices")
        if not isinstance(choices, list):
            stream.fail(ErrorClass.MALFORMED, event.data)
            continue
        if stream.response_id is None:
            stream.response_id = storable(payload.get("id"))
        stream.named(payload.get("model"))
        if isinstance(usage := payload.get("usage"), dict):
            stream.count(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        parts: list[Any] = []
        for choice in choices:
            if isinstance(choice, dict):
                stream.finish(choice.get("finish_reason"))
                parts += text_of(choice)
        stream.text(event.end, parts)
    return stream


def looks_complete(body: bytes) -> bool:
    """A cheap test at the end of a stream: True only where a parse can be left for later.

    It decides whether a user may go on at once, never what a row says: rows are always parsed.
    """
    return (
        _ENDED.search(body, max(0, len(body) - 32)) is not None
        and b'"error"' not in body
        and _TEXT.search(body) is not None
        and _USAGE.search(body, max(0, len(body) - 4096)) is not None
    )
