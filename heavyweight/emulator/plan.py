"""Answers as bytes for the socket, made before they are due.

What differs between two answers to alike requests is their id and the count of the prompt, or the
stamp and the durations on Ollama's own routes: each has a mark of fixed length, so that the rest is
made once and kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from heavyweight.emulator import faults, native, wire
from heavyweight.emulator.options import Manner
from heavyweight.emulator.wire import Act, Write

NDJSON = b"application/x-ndjson"
SSE = b"text/event-stream"
JSON = b"application/json"
FLOOD_BLOCK = 1 << 16  # bytes of one write of a flood
_VLLM_DIGITS = 32
_PROMPT_MARK, _TOTAL_MARK = b"\0", b"\1"  # one for each digit
_COUNTS = re.compile(rb'("(?:prompt_tokens|prompt_eval_count)":)[1-9]\d*')
_TOTAL = re.compile(rb'("total_tokens":)[1-9]\d*')


@dataclass(frozen=True)
class Ask:
    """What an answer is made of.

    Args:
        api: the manner.
        kind: ``chat``, ``completions``, ``ollama-chat`` or ``ollama-generate``.
        model: name of the model.
        prompt_digits: digits of the count of the prompt's tokens.
        total_digits: digits of the count of all tokens.
        output_tokens: of the answer.
        tokens_per_chunk: tokens in one chunk.
        with_usage: whether the usage was asked for.
        stream: whether the answer streams.
        fault: name of a fault of the stream or its frame.
        digits: length of the number in the answer's id.
        chunked: whether the client knows HTTP's chunks (HTTP/1.1).
    """

    api: Manner
    kind: str
    model: str
    prompt_digits: int
    total_digits: int
    output_tokens: int
    tokens_per_chunk: int = 1
    with_usage: bool = True
    stream: bool = True
    fault: str | None = None
    digits: int = 1
    chunked: bool = True

    @property
    def is_native(self) -> bool:
        """Whether the route is one of Ollama's own."""
        return self.kind.startswith("ollama")

    @property
    def content_type(self) -> bytes:
        """Of the answer, where nothing is wrong with it."""
        if not self.stream:
            return JSON
        if self.is_native:
            return NDJSON
        return SSE if self.api == "ollama" else SSE + b"; charset=utf-8"


@dataclass(frozen=True)
class Plan:
    """An answer, ready to be written.

    Args:
        head: status line and headers.
        early_head: whether the head is written as soon as the request was read (vLLM) rather than
            with the first bytes of the body (Ollama).
        steps: of each write, the decoding step at which it is due; never falling.
        data: of each write, its bytes in HTTP's frame, or what is done instead.
        tokens: of each write, the tokens that it brings.
        tail: what ends the body.
        mark: bytes in the data that the request's own value replaces; None: nothing.
        late: number of the first write with marks of counts or durations.
        close: whether the connection ends with the answer.
        joined: whether writes may be joined where they are due at once.
        repeat: after the writes this again and again, without end.
        repeat_tokens: tokens that it brings.
        drips: whether it comes at the pace of the tokens; otherwise as fast as it is read.
    """

    head: bytes
    early_head: bool
    steps: tuple[int, ...]
    data: tuple[bytes | Act, ...]
    tokens: tuple[int, ...]
    tail: bytes
    mark: bytes | None
    late: int
    close: bool
    joined: bool
    repeat: bytes | Act | None
    repeat_tokens: int
    drips: bool


def value_of(ask: Ask, number: int, prefix: str) -> bytes:
    """What replaces the mark of a plan: the id of this answer, or the stamp of its lines.

    Args:
        number: of the request, from 1.
        prefix: 16 hexadecimal digits of this server, for vLLM's ids.
    """
    if ask.is_native:
        return native.stamp()
    own = str(number) if ask.api == "ollama" else f"{prefix}{number:016x}"
    return _ident(ask, own).encode()


def _ident(ask: Ask, own: str) -> str:
    return f"{'cmpl' if ask.kind == 'completions' else 'chatcmpl'}-{own}"


def fill(data: bytes, ask: Ask, prompt_tokens: int, durations_ns: tuple[int, ...]) -> bytes:
    """Put counts and durations, in the order of ``native.DURATIONS``, in the place of marks."""
    data = data.replace(_PROMPT_MARK * ask.prompt_digits, b"%d" % prompt_tokens)
    total = b"%d" % (prompt_tokens + ask.output_tokens)
    data = data.replace(_TOTAL_MARK * ask.total_digits, total)
    return native.fill(data, durations_ns) if ask.is_native else data


def plan_of(ask: Ask, value: bytes, prompt_tokens: int) -> Plan:
    """The plan of an answer; one that splits its marks is made anew for each request."""
    return _plan(ask, value, prompt_tokens) if ask.fault == "bytewise" else _kept(ask)


@lru_cache(maxsize=128)
def _kept(ask: Ask) -> Plan:
    return _plan(ask, None, 0)


def _plan(ask: Ask, value: bytes | None, prompt_tokens: int) -> Plan:
    if ask.is_native:
        mark = native.STAMP_MARK
    else:
        digits = ask.digits if ask.api == "ollama" else _VLLM_DIGITS
        mark = _ident(ask, "@" * digits).encode()
    good = [_marked(ask, write) for write in _writes(ask, mark.decode())]
    if value is not None:
        good = [
            Write(w.step, fill(w.data.replace(mark, value), ask, prompt_tokens, (0,) * 4), w.tokens)
            for w in good
            if isinstance(w.data, bytes)
        ]
    fault = faults.STREAM.get(ask.fault or "")
    writes = fault(good) if fault and ask.stream else good
    joined = ask.fault != "bytewise"
    if joined and ask.api == "ollama":
        writes = _flushed(writes)
    repeat = _repeat(ask, good) if ask.fault in faults.ENDLESS and ask.stream else None
    return _framed(ask, writes, mark if value is None else None, joined, repeat)


def _marked(ask: Ask, write: Write) -> Write:
    """The write with marks for the counts, where it has counts."""
    data = write.data
    if (write.tokens and ask.stream) or not isinstance(data, bytes):
        return write
    data = _COUNTS.sub(rb"\g<1>" + _PROMPT_MARK * ask.prompt_digits, data)
    data = _TOTAL.sub(rb"\g<1>" + _TOTAL_MARK * ask.total_digits, data)
    return Write(write.step, data, write.tokens)


def _is_late(data: bytes | Act) -> bool:
    """Whether it has marks of counts or durations."""
    return isinstance(data, bytes) and (_PROMPT_MARK in data or native.has_durations(data))


def _writes(ask: Ask, ident: str) -> list[Write]:
    """The writes of the good answer."""
    counts = {"prompt_tokens": 1, "output_tokens": ask.output_tokens}
    if not ask.stream:
        if ask.is_native:
            data = native.whole(ask.model, kind=ask.kind, **counts)
        else:
            data = wire.whole(ask.api, ask.model, kind=ask.kind, ident=ident, **counts)
        return [Write(ask.output_tokens - 1, data, ask.output_tokens)]
    counts["tokens_per_chunk"] = ask.tokens_per_chunk
    if ask.is_native:
        return native.answer(ask.model, kind=ask.kind, **counts)
    return wire.answer(
        ask.api,
        ask.model,
        number=0,
        kind=ask.kind,
        ident=ident,
        with_usage=ask.with_usage,
        **counts,
    )


def _flushed(writes: Sequence[Write]) -> list[Write]:
    """Ollama flushes once a step: the finish, the usage and the end mark leave together."""
    out: list[Write] = []
    for write in writes:
        last = out[-1] if out else None
        if (
            last
            and isinstance(last.data, bytes)
            and isinstance(write.data, bytes)
            and (last.step, last.tokens, write.tokens) == (write.step, 0, 0)
        ):
            out[-1] = Write(last.step, last.data + write.data)
        else:
            out.append(write)
    return out


def _framed(
    ask: Ask, writes: Sequence[Write], mark: bytes | None, joined: bool, repeat: Write | None
) -> Plan:
    """Put the writes into HTTP's frame."""
    frame = ask.fault if ask.fault in faults.FRAMES else None
    if not ask.stream:
        frame = "content-length"
    elif not ask.chunked:
        frame = "close-delimited"
    kind = JSON if ask.fault == "wrong-type" else ask.content_type
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: " + kind, b"Server: heavyweight-emulator"]
    tail = b""
    if frame == "content-length":
        size = sum(len(w.data) for w in writes if isinstance(w.data, bytes))
        lines.append(b"Content-Length: %d" % size)
    elif frame == "close-delimited":
        lines.append(b"Connection: close")
    else:
        lines.append(b"Transfer-Encoding: chunked")
        tail = b"0\r\n\r\n"
    if frame == "chunk-extension":
        lines.append(b"Trailer: X-Emulated")
        tail = b"0;last\r\nX-Emulated: yes\r\n\r\n"

    def framed(data: bytes | Act) -> bytes | Act:
        if frame in ("content-length", "close-delimited") or isinstance(data, Act):
            return data
        extension = b';note="a;b"' if frame == "chunk-extension" else b""
        return b"%x%b\r\n%b\r\n" % (len(data), extension, data)

    marked = (i for i, w in enumerate(writes) if _is_late(w.data))
    return Plan(
        head=b"\r\n".join(lines) + b"\r\n\r\n",
        early_head=ask.api == "vllm" and ask.stream,
        steps=tuple(w.step for w in writes),
        data=tuple(framed(w.data) for w in writes),
        tokens=tuple(w.tokens for w in writes),
        tail=tail,
        mark=mark,
        late=next(marked, len(writes)),
        close=frame == "close-delimited",
        joined=joined,
        repeat=framed(repeat.data) if repeat else None,
        repeat_tokens=repeat.tokens if repeat else 0,
        drips=ask.fault == "drip",
    )


def _repeat(ask: Ask, writes: Sequence[Write]) -> Write:
    """The chunk with text that comes again and again, or for a flood as many as fill a block."""
    texts = ((w.data, w.tokens) for w in writes if w.tokens and isinstance(w.data, bytes))
    data, tokens = next(texts)
    times = 1 if ask.fault == "drip" else max(1, FLOOD_BLOCK // len(data))
    return Write(0, data * times, tokens * times)
