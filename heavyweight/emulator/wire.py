"""The bytes of an answer on the OpenAI routes, as Ollama 0.24.0 and vLLM 0.21.0 write them.

Read from their sources: Ollama's ``openai/openai.go`` and ``middleware/openai.go``, vLLM's
``entrypoints/openai``. Both end with a chunk that carries the usage and no choice, then with
``data: [DONE]``. They differ in the ids (Ollama's are short numbers, vLLM's are drawn), in the
first chunk (vLLM's has the role and no text), in where the finish reason stands (Ollama: in a
chunk of its own without text; vLLM: in the last chunk with text), and on /v1/completions Ollama
puts a usage of zeros into every chunk where the usage was asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Literal

from heavyweight.emulator.options import Manner

Api = Manner
Kind = Literal["chat", "completions", "ollama-chat", "ollama-generate"]

END_MARK = b"data: [DONE]\n\n"
CREATED = 1_779_148_800  # a constant: nothing of the study reads it

# Text of the tokens, in turn; some are longer in bytes than in characters.
PIECES = (" once", " upon", " a", " time", " in", " été", " the", " 日本", " fox", " —", " ran")


class Act(Enum):
    """What a stream does instead of writing bytes."""

    RESET = auto()  # break the connection
    CLOSE = auto()  # end the connection in good order, in the middle of HTTP's framing
    STALL = auto()  # write nothing more and keep the connection open
    UNFRAMED = auto()  # bytes that are no chunk of HTTP, then a reset


@dataclass(frozen=True)
class Write:
    """One write of a stream.

    Args:
        step: which decoding step it belongs to, from 0; it sets when it is due.
        data: the bytes, or what is done instead.
        tokens: how many tokens it brings.
    """

    step: int
    data: bytes | Act
    tokens: int = 0


def compact(payload: dict[str, Any]) -> bytes:
    """JSON without spaces, as both servers write it."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def event(payload: dict[str, Any]) -> bytes:
    """A server-sent event with a JSON payload."""
    return b"data: %b\n\n" % compact(payload)


def error_event(message: str, code: int = 500) -> bytes:
    """The event that vLLM sends inside a 200 answer when its engine died."""
    kind = "InternalServerError"
    return event({"error": {"message": message, "type": kind, "param": None, "code": code}})


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """The servers' own count of tokens."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def text_of(first: int, tokens: int) -> str:
    """The text of some tokens of an answer, from the first-th on."""
    return "".join(PIECES[(first + i) % len(PIECES)] for i in range(tokens))


def chunks_of(output_tokens: int, tokens_per_chunk: int) -> list[tuple[int, int, str]]:
    """Of each chunk: the step at which it is due, its tokens, and its text."""
    found = []
    for first in range(0, output_tokens, tokens_per_chunk):
        tokens = min(tokens_per_chunk, output_tokens - first)
        text = text_of(first % len(PIECES), tokens)
        found.append((first + tokens - 1, tokens, text))
    return found


def default_ident(api: Manner, kind: str, number: int) -> str:
    """The id of an answer: Ollama's are short numbers, vLLM's have 32 hexadecimal digits."""
    prefix = "cmpl" if kind == "completions" else "chatcmpl"
    return f"{prefix}-{number}" if api == "ollama" else f"{prefix}-{number:032x}"


def _head(api: Manner, kind: str, model: str, ident: str) -> dict[str, Any]:
    name = "text_completion" if kind == "completions" else "chat.completion.chunk"
    head = {"id": ident, "object": name, "created": CREATED, "model": model}
    if api == "ollama":
        head["system_fingerprint"] = "fp_ollama"
    return head


@lru_cache(maxsize=4096)
def _chunk(
    api: Manner, kind: str, model: str, ident: str, text: str, finish: str | None, zeros: bool
) -> bytes:
    """One chunk of a stream; the role without text is a chunk with an empty text."""
    choice: dict[str, Any] = {"index": 0}
    if kind == "completions":
        choice["text"] = text
    elif api == "ollama" or not text:
        choice["delta"] = {"role": "assistant", "content": text}
    else:
        choice["delta"] = {"content": text}
    if api == "vllm":
        choice["logprobs"] = None
    choice["finish_reason"] = finish
    if api == "vllm" and (finish or kind == "completions"):
        choice["stop_reason"] = None
    more = {"usage": usage(0, 0)} if zeros else {}
    return event({**_head(api, kind, model, ident), "choices": [choice], **more})


def answer(
    api: Manner,
    model: str,
    *,
    number: int,
    prompt_tokens: int,
    output_tokens: int,
    tokens_per_chunk: int = 1,
    with_usage: bool = True,
    kind: str = "chat",
    ident: str | None = None,
) -> list[Write]:
    """All writes of one good stream.

    Args:
        api: whose manner.
        model: name of the model.
        number: of the answer, from 1, for its id.
        prompt_tokens: what the usage says of the prompt.
        output_tokens: tokens of the answer.
        tokens_per_chunk: tokens that come in one chunk, all at the last one's time.
        with_usage: whether the request asked for ``stream_options.include_usage``.
        kind: ``chat`` or ``completions``.
        ident: id of the answer; without it, one made of the number.
    """
    ident = ident or default_ident(api, kind, number)
    zeros = api == "ollama" and kind == "completions" and with_usage

    def chunk(text: str, finish: str | None = None) -> bytes:
        return _chunk(api, kind, model, ident, text, finish, zeros)

    writes: list[Write] = []
    if api == "vllm" and kind == "chat":
        writes.append(Write(0, chunk("")))
    end = max(0, output_tokens - 1)
    for step, tokens, text in chunks_of(output_tokens, tokens_per_chunk):
        finish = "length" if api == "vllm" and step == end else None
        writes.append(Write(step, chunk(text, finish), tokens))
    if api == "ollama":
        writes.append(Write(end, chunk("", "length")))
    if with_usage:
        counted = {"choices": [], "usage": usage(prompt_tokens, output_tokens)}
        writes.append(Write(end, event({**_head(api, kind, model, ident), **counted})))
    writes.append(Write(end, END_MARK))
    return writes


def whole(
    api: Manner, model: str, *, kind: str, ident: str, prompt_tokens: int, output_tokens: int
) -> bytes:
    """The answer to a request that does not stream."""
    text = text_of(0, output_tokens)
    choice: dict[str, Any] = {"index": 0}
    if kind == "completions":
        choice["text"] = text
    else:
        choice["message"] = {"role": "assistant", "content": text}
    head = _head(api, kind, model, ident)
    head["object"] = head["object"].removesuffix(".chunk")
    return compact(
        {
            **head,
            "choices": [{**choice, "finish_reason": "length"}],
            "usage": usage(prompt_tokens, output_tokens),
        }
    )
