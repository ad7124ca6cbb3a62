"""The bytes of an answer on Ollama's own routes: JSON objects, one a line.

Read from Ollama's ``api/types.go`` and ``server/routes.go``. What only the time of the answer can
tell (the stamp of a line, the durations of the last one) is put in when it is written: each has a
mark of fixed length in the line, and a number is followed by spaces, which JSON allows.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from heavyweight.emulator.wire import Write, chunks_of, compact, text_of

STAMP_MARK = b"@" * 30  # as long as 2026-01-02T03:04:05.123456789Z
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_WIDTH = 24  # of a mark with its quotes
_MARKS = {name: f"@{name}".ljust(_WIDTH - 2, "@") for name in DURATIONS}
_CONTEXT = [1, 2, 3]  # token ids, which nothing reads


def stamp() -> bytes:
    """Now, as Ollama writes it."""
    seconds, ns = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{ns:09d}Z", time.gmtime(seconds)).encode()


def fill(data: bytes, durations_ns: tuple[int, ...]) -> bytes:
    """Put the durations, in the order of :data:`DURATIONS`, in the place of their marks."""
    for mark, duration_ns in zip(_MARKS.values(), durations_ns, strict=True):
        data = data.replace(b'"%b"' % mark.encode(), str(duration_ns).ljust(_WIDTH).encode())
    return data


def has_durations(data: bytes) -> bool:
    """Whether it has marks of durations."""
    return _MARKS["total_duration"].encode() in data


def _line(kind: str, model: str, text: str, more: dict[str, Any]) -> bytes:
    line: dict[str, Any] = {"model": model, "created_at": STAMP_MARK.decode()}
    if kind == "ollama-chat":
        line["message"] = {"role": "assistant", "content": text}
    else:
        line["response"] = text
    return compact({**line, **more}) + b"\n"


@lru_cache(maxsize=4096)
def _chunk(kind: str, model: str, text: str) -> bytes:
    return _line(kind, model, text, {"done": False})


def _done(kind: str, prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": "length",
        **({"context": _CONTEXT} if kind == "ollama-generate" else {}),
        "total_duration": _MARKS["total_duration"],
        "load_duration": _MARKS["load_duration"],
        "prompt_eval_count": prompt_tokens,
        "prompt_eval_duration": _MARKS["prompt_eval_duration"],
        "eval_count": output_tokens,
        "eval_duration": _MARKS["eval_duration"],
    }


def answer(
    model: str, *, kind: str, prompt_tokens: int, output_tokens: int, tokens_per_chunk: int = 1
) -> list[Write]:
    """All writes of one good stream, with marks where :func:`stamp` and :func:`fill` belong.

    Args:
        model: name of the model.
        kind: ``ollama-chat`` or ``ollama-generate``.
        prompt_tokens: the count of the prompt in the last line.
        output_tokens: tokens of the answer.
        tokens_per_chunk: tokens that come in one line, all at the last one's time.
    """
    writes = [
        Write(step, _chunk(kind, model, text), tokens)
        for step, tokens, text in chunks_of(output_tokens, tokens_per_chunk)
    ]
    last = _line(kind, model, "", _done(kind, prompt_tokens, output_tokens))
    return [*writes, Write(max(0, output_tokens - 1), last)]


def whole(model: str, *, kind: str, prompt_tokens: int, output_tokens: int) -> bytes:
    """The answer to a request with ``"stream": false``."""
    text = text_of(0, output_tokens)
    return _line(kind, model, text, _done(kind, prompt_tokens, output_tokens)).rstrip()
