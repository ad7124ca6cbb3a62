"""JSON objects, one a line, as Ollama's own API streams: bytes -> what a row says of them.

Read from Ollama's ``api/types.go``: text stands in ``message.content`` (/api/chat) or ``response``
(/api/generate), what a model thinks in ``thinking`` beside it; ``"done": true`` marks the last
object, which carries the counts. A failure inside the stream is an object with ``error``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from heavyweight.load.stream import Stream
from heavyweight.records import ErrorClass

_BOM = b"\xef\xbb\xbf"
_TEXT = re.compile(rb'"(?:content|response|thinking)"\s*:\s*"[^"]')
_ENDED = re.compile(rb'"done"\s*:\s*true')
_COUNTED = re.compile(rb'"eval_count"\s*:\s*[1-9]')


def lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, each with the offset behind it.

    The line end behind the last one may be missing; an object that was cut is no line.
    """
    start = len(_BOM) if body.startswith(_BOM) else 0
    while start < len(body):
        line_end = body.find(b"\n", start)
        end = len(body) if line_end < 0 else line_end + 1
        line = body[start:end].strip()
        if line and (line_end >= 0 or not line.startswith(b"{") or _is_whole(line)):
            yield end, line
        start = end


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def parse(body: bytes) -> Stream:
    """Read a whole stream of /api/chat or /api/generate.

    Args:
        body: the bytes of the answer, without the framing of HTTP.
    """
    stream = Stream()
    for end, line in lines(body):
        payload = stream.payload(line)
        if payload is None:
            continue
        done, message = payload.get("done"), payload.get("message")
        if not isinstance(done, bool):
            stream.fail(ErrorClass.MALFORMED, line)
            continue
        stream.named(payload.get("model"))
        parts = [payload.get("response"), payload.get("thinking")]
        if isinstance(message, dict):
            parts += [message.get("content"), message.get("thinking")]
        stream.text(end, parts)
        if done:
            stream.ended = True
            stream.finish(payload.get("done_reason"))
            stream.count(payload.get("prompt_eval_count"), payload.get("eval_count"))
    return stream


def looks_complete(body: bytes) -> bool:
    """A cheap test at the end of a stream, as :func:`heavyweight.load.sse.looks_complete`."""
    whole = body.rstrip()
    last = whole.rfind(b"\n") + 1
    return (
        whole.endswith(b"}")
        and _ENDED.search(whole, last) is not None
        and _COUNTED.search(whole, last) is not None
        and b'"error"' not in whole
        and _TEXT.search(whole) is not None
    )
