"""Faults on order: what servers and networks do to an answer when they fail.

A fault of the stream is a function from the writes of a good answer to the writes of a bad one, in
the format that the writes have (server-sent events or JSON lines). Others hit before the stream (a
status, a broken connection), in the frame of HTTP, or change how much is told. The lawful ones are
not faults: odd but right ways to write a good stream, which must change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from heavyweight.emulator.wire import END_MARK, Act, Write, compact, error_event

Writes = Sequence[Write]

# name: (status, extra headers)
STATUS: dict[str, tuple[int, dict[str, str]]] = {
    "status-400": (400, {}),
    "status-404": (404, {}),
    "status-429": (429, {"Retry-After": "1"}),
    "status-500": (500, {}),
    "status-502": (502, {}),
    "status-503": (503, {}),
}

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"

# name: bytes that are written before the connection is reset; %b: the stream's content type
BREAKS: dict[str, bytes] = {
    "reset-before-headers": b"",
    "reset-in-headers": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "reset-after-headers": _HEAD,
    "garbage-headers": b"\x16\x03\x01 this is not HTTP\r\n\r\n",
    "garbage-framing": _HEAD + b"ZZ\r\nnot a chunk\r\n",
}


def _events(writes: Writes) -> bool:
    """Whether these are server-sent events; otherwise JSON lines."""
    return any(isinstance(w.data, bytes) and w.data.startswith(b"data:") for w in writes)


def _first_half(writes: Writes) -> list[Write]:
    return list(writes[: max(1, len(writes) // 2)])


def _then(act: Act) -> Callable[[Writes], list[Write]]:
    def fault(writes: Writes) -> list[Write]:
        kept = _first_half(writes)
        return [*kept, Write(kept[-1].step, act)]

    return fault


def _garbage(writes: Writes) -> list[Write]:
    kept = _first_half(writes)
    data = b"\xff\xfe{\x00 not json"
    return [
        *kept,
        Write(kept[-1].step, b"data: %b\n\n" % data if _events(writes) else data + b"\n"),
    ]


def _error(writes: Writes, kept: list[Write], step: int) -> list[Write]:
    """As vLLM's engine dies: an error event, then the end mark all the same; Ollama: one line."""
    if _events(writes):
        return [*kept, Write(step, error_event("EngineCore died")), Write(step, END_MARK)]
    return [*kept, Write(step, compact({"error": "llama runner process has died"}) + b"\n")]


def _error_event(writes: Writes) -> list[Write]:
    kept = _first_half(writes)
    return _error(writes, kept, kept[-1].step)


def _cut(writes: Writes) -> list[Write]:
    """All the text, and no end mark."""
    if _events(writes):
        return [w for w in writes if w.data != END_MARK]
    return list(writes[:-1])


def _data(write: Write) -> bytes:
    assert isinstance(write.data, bytes)
    return write.data


_ZEROS = re.compile(rb',"usage":\{[^}]*\}')
_COUNTS = re.compile(rb',"(?:prompt_)?eval_count":[^,]+')
_MODEL = re.compile(rb'("model":)"[^"]*"')
_COMPLETION = re.compile(rb'("(?:completion_tokens|eval_count)":)([1-9]\d*)')


def _no_usage(writes: Writes) -> list[Write]:
    kept = [w for w in writes if b'"choices":[]' not in _data(w)]
    return [replace(w, data=_COUNTS.sub(b"", _ZEROS.sub(b"", _data(w)))) for w in kept]


def _claiming(change: Callable[[int], int]) -> Callable[[Writes], list[Write]]:
    """The server's count of the answer's tokens contradicts what it sent."""

    def fault(writes: Writes) -> list[Write]:
        return [
            replace(
                w, data=_COMPLETION.sub(lambda m: b"%b%d" % (m[1], change(int(m[2]))), _data(w))
            )
            for w in writes
        ]

    return fault


def _other_model(writes: Writes) -> list[Write]:
    """A good answer, of a model that nobody asked for."""
    return [replace(w, data=_MODEL.sub(rb'\1"somebody-elses"', _data(w))) for w in writes]


def _truncated_json(writes: Writes) -> list[Write]:
    middle = len(writes) // 2
    data = _data(writes[middle])[:-9]
    broken = replace(writes[middle], data=data + (b"\n\n" if _events(writes) else b"\n"))
    return [*writes[:middle], broken, *writes[middle + 1 :]]


def _bytewise(writes: Writes) -> list[Write]:
    """Each byte in a write of its own, so that events and characters are split everywhere."""
    out = []
    for write in writes:
        data = _data(write)
        out += [Write(write.step, data[i : i + 1]) for i in range(len(data) - 1)]
        out.append(replace(write, data=data[-1:]))
    return out


def _merged(writes: Writes) -> list[Write]:
    """All events in one write at the time of the last."""
    data = b"".join(map(_data, writes))
    return [Write(writes[-1].step, data, sum(w.tokens for w in writes))]


def _each(sse: Callable[[bytes], bytes], line: Callable[[bytes], bytes]) -> Callable[..., Writes]:
    def manner(writes: Writes) -> list[Write]:
        change = sse if _events(writes) else line
        return [replace(write, data=change(_data(write))) for write in writes]

    return manner


_LONG = b"x" * 200_000

# Odd but lawful.
LAWFUL: dict[str, Callable[[Writes], Writes]] = {
    "bytewise": _bytewise,
    "merged": _merged,
    "crlf": _each(lambda d: d.replace(b"\n", b"\r\n"), lambda d: d.replace(b"\n", b"\r\n")),
    "comments": _each(lambda d: b": keep-alive\n\n" + d, lambda d: b"\n" + d),
    "long-line": _each(
        lambda d: b":" + _LONG + b"\n" + d, lambda d: b'{"padding":"%b",' % _LONG + d[1:]
    ),
}

STREAM: dict[str, Callable[[Writes], Writes]] = {
    "reset": _then(Act.RESET),
    "close": _then(Act.CLOSE),
    "garbage-framing-late": _then(Act.UNFRAMED),
    "stall": _then(Act.STALL),
    "stall-first": lambda writes: [Write(0, Act.STALL)],
    "error-event": _error_event,
    "error-first": lambda writes: _error(writes, [], 0),
    "empty": lambda writes: [w for w in writes if not w.tokens],
    "no-body": lambda writes: [],
    "cut": _cut,
    "cut-half": _first_half,
    "drip": _first_half,
    "flood": _first_half,
    "no-usage": _no_usage,
    "usage-zero": _claiming(lambda count: 0),
    "usage-fewer": _claiming(lambda count: count // 2),
    "usage-more": _claiming(lambda count: 2 * count),
    "truncated-json": _truncated_json,
    "other-model": _other_model,
    "garbage": _garbage,
    **LAWFUL,
}

# Lawful in the frame of HTTP around a stream.
FRAMES = ("content-length", "close-delimited", "chunk-extension")

# After the stream's first half, text without end: at the pace of the tokens, or all at once.
ENDLESS = ("drip", "flood")
FLOOD_BYTES = 200_000_000  # then the answer ends, without the stream's end mark

# Answers of another length than asked, in good order: name: tokens of those asked.
LENGTHS: dict[str, Callable[[int], int]] = {
    "short": lambda tokens: max(1, tokens // 2),
    "long": lambda tokens: 2 * tokens,
}

# The server itself does these: a content type that is no stream's; nothing at all is ever said.
OTHER = ("wrong-type", "stall-headers")

# The whole server is gone at once, with all that it was answering; on order at its start alone.
CRASH = "crash"

# The server keeps memory with each request, up to a bound, and answers well.
LEAK = "leak"
LEAK_BYTES, LEAK_MOST_BYTES = 64_000_000, 3_200_000_000

SERVER = (CRASH, LEAK)
NAMES: tuple[str, ...] = (*STATUS, *BREAKS, *STREAM, *FRAMES, *LENGTHS, *OTHER)
