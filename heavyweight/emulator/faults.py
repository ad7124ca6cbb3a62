"""Faults on order: what servers and networks do to a stream when they fail.

A fault of the stream is a function from the writes of a good answer to the writes of a bad one. A
fault before the stream (a status, a broken connection) is in :data:`STATUS` or :data:`BREAKS`. The
last group are not faults: odd but lawful ways to write a good stream, which must change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from heavyweight.emulator.wire import END_MARK, Act, Write, error_event

Writes = Sequence[Write]

# name: (status, extra headers)
STATUS: dict[str, tuple[int, dict[str, str]]] = {
    "status-400": (400, {}),
    "status-429": (429, {"Retry-After": "1"}),
    "status-500": (500, {}),
    "status-503": (503, {}),
}

# name: bytes that are written before the connection is reset
BREAKS: dict[str, bytes] = {
    "reset-before-headers": b"",
    "reset-in-headers": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "reset-after-headers": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "garbage-headers": b"\x16\x03\x01 this is not HTTP\r\n\r\n",
    "garbage-framing": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nnot a chunk\r\n"
    ),
}


def _first_half(writes: Writes) -> list[Write]:
    return list(writes[: max(1, len(writes) // 2)])


def _then(act: Act | bytes) -> Callable[[Writes], list[Write]]:
    def fault(writes: Writes) -> list[Write]:
        kept = _first_half(writes)
        return [*kept, Write(kept[-1].step, act)]

    return fault


def _error_event(writes: Writes) -> list[Write]:
    """As vLLM's engine dies: an error event, then the end mark all the same."""
    kept = _first_half(writes)
    step = kept[-1].step
    return [*kept, Write(step, error_event("EngineCore died")), Write(step, END_MARK)]


def _silent(writes: Writes) -> list[Write]:
    """A stream that ends well and has no text."""
    return [replace(w, tokens=0) for w in writes if not w.tokens]


def _cut(writes: Writes) -> list[Write]:
    return [w for w in writes if w.data != END_MARK]


def _no_usage(writes: Writes) -> list[Write]:
    return [w for w in writes if not (isinstance(w.data, bytes) and b'"usage"' in w.data)]


def _truncated_json(writes: Writes) -> list[Write]:
    middle = len(writes) // 2
    data = writes[middle].data
    assert isinstance(data, bytes)
    broken = replace(writes[middle], data=data[:-9] + b"\n\n")
    return [*writes[:middle], broken, *writes[middle + 1 :]]


def _each(change: Callable[[bytes], list[bytes]]) -> Callable[[Writes], list[Write]]:
    def fault(writes: Writes) -> list[Write]:
        out = []
        for write in writes:
            assert isinstance(write.data, bytes)
            *before, last = change(write.data)
            out += [Write(write.step, part) for part in before]
            out.append(replace(write, data=last))
        return out

    return fault


def _merged(writes: Writes) -> list[Write]:
    """All events in one write at the time of the last."""
    data = b"".join(w.data for w in writes if isinstance(w.data, bytes))
    return [Write(writes[-1].step, data, sum(w.tokens for w in writes))]


STREAM: dict[str, Callable[[Writes], list[Write]]] = {
    "reset": _then(Act.RESET),
    "stall": _then(Act.STALL),
    "stall-first": lambda writes: [Write(0, Act.STALL)],
    "error-event": _error_event,
    "empty": _silent,
    "no-body": lambda writes: [],
    "cut": _cut,
    "no-usage": _no_usage,
    "truncated-json": _truncated_json,
    "garbage": _then(b"data: \xff\xfe{\x00 not json\n\n"),
    # lawful
    "bytewise": _each(lambda data: [data[i : i + 1] for i in range(len(data))]),
    "merged": _merged,
    "crlf": _each(lambda data: [data.replace(b"\n", b"\r\n")]),
    "comments": _each(lambda data: [b": keep-alive\n\n" + data]),
    "long-line": _each(lambda data: [b":" + b"x" * 200_000 + b"\n" + data]),
}

# Faults that the server itself carries out.
OTHER = ("wrong-type", "short")

NAMES: tuple[str, ...] = (*STATUS, *BREAKS, *STREAM, *OTHER)
