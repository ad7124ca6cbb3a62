"""The bytes of a streamed chat answer, as Ollama 0.24.0 and vLLM 0.21.0 write them.

Read from their sources: Ollama's ``openai/openai.go`` and ``middleware/openai.go``, vLLM's
``entrypoints/openai/chat_completion/serving.py``. Both end with a chunk that carries the usage and
no choice, then with ``data: [DONE]``. They differ in the ids (Ollama numbers its answers, vLLM
draws them), in the first chunk (vLLM's has the role and no text) and in where the finish reason
stands (Ollama: in a chunk of its own without text; vLLM: in the last chunk with text).
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

Api = Literal["ollama", "vllm"]

END_MARK = b"data: [DONE]\n\n"
CREATED = 1_779_148_800  # a constant: nothing of the study reads it

# Text of the tokens, in turn; some are longer in bytes than in characters.
PIECES = (" once", " upon", " a", " time", " in", " été", " the", " 日本", " fox", " —", " ran")


class Act(Enum):
    """What a stream does instead of writing bytes."""

    RESET = auto()  # break the connection
    STALL = auto()  # write nothing more and keep the connection open


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


def event(payload: dict[str, Any]) -> bytes:
    """A server-sent event with a JSON payload, in the compact form that both servers write."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


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


def answer(
    api: Api,
    model: str,
    *,
    number: int,
    prompt_tokens: int,
    output_tokens: int,
    tokens_per_chunk: int = 1,
    with_usage: bool = True,
) -> list[Write]:
    """All writes of one good answer.

    Args:
        api: whose manner.
        model: name of the model.
        number: of the answer, from 1; Ollama's ids count.
        prompt_tokens: what the usage says of the prompt.
        output_tokens: tokens of the answer.
        tokens_per_chunk: tokens that come in one chunk, all at the last one's time.
        with_usage: whether the request asked for ``stream_options.include_usage``.
    """
    head = {
        "id": f"chatcmpl-{number}" if api == "ollama" else f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
    }
    if api == "ollama":
        head["system_fingerprint"] = "fp_ollama"

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
        if api == "vllm":
            choice["logprobs"] = None
            if finish:
                choice["stop_reason"] = None
        return event({**head, "choices": [choice]})

    writes: list[Write] = []
    if api == "vllm":
        writes.append(Write(0, chunk({"role": "assistant", "content": ""})))
    for first in range(0, output_tokens, tokens_per_chunk):
        tokens = min(tokens_per_chunk, output_tokens - first)
        text = "".join(PIECES[(first + i) % len(PIECES)] for i in range(tokens))
        step = first + tokens - 1
        if api == "ollama":
            data = chunk({"role": "assistant", "content": text})
        else:
            last = first + tokens == output_tokens
            data = chunk({"content": text}, "length" if last else None)
        writes.append(Write(step, data, tokens))
    end = max(0, output_tokens - 1)
    if api == "ollama":
        writes.append(Write(end, chunk({"role": "assistant", "content": ""}, "length")))
    if with_usage:
        counted = {"choices": [], "usage": usage(prompt_tokens, output_tokens)}
        writes.append(Write(end, event({**head, **counted})))
    writes.append(Write(end, END_MARK))
    return writes
