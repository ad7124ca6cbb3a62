"""How requests are spoken: the route, the body and the manner of streaming of four APIs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heavyweight.errors import BadInput
from heavyweight.load import ndjson, sse
from heavyweight.load.stream import Stream
from heavyweight.workload import Prompt

Body = Callable[[str, Prompt, int, Mapping[str, Any]], dict[str, Any]]

_GREEDY = {"temperature": 0, "top_p": 1}
_SSE = ("text/event-stream",)
_NDJSON = ("application/x-ndjson",)


@dataclass(frozen=True)
class Api:
    """One way to ask a server for a stream of tokens.

    Args:
        path: of the route, behind the server's address.
        stream_types: content types of a right answer.
        body: (model, prompt, output tokens, further fields) -> the fields of a request's body.
        parse: a whole answer, deframed -> what it said.
        looks_complete: a cheap test of a whole answer: True only where a parse can be left for
            later.
        mark: stands once in every event; counted in raw reads, for the display only.
    """

    path: str
    stream_types: tuple[str, ...]
    body: Body
    parse: Callable[[bytes], Stream]
    looks_complete: Callable[[bytes], bool]
    mark: bytes


def _chat(
    model: str, prompt: Prompt, output_tokens: int, extra_body: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "model": model,
        "messages": prompt.messages,
        "max_tokens": output_tokens,
        **_GREEDY,
        "stream": True,
        "stream_options": {"include_usage": True},
        **extra_body,
    }


def _completions(
    model: str, prompt: Prompt, output_tokens: int, extra_body: Mapping[str, Any]
) -> dict[str, Any]:
    """The messages as one text, since the route has no roles and no template."""
    return {
        "model": model,
        "prompt": "\n\n".join(message["content"] for message in prompt.messages),
        "max_tokens": output_tokens,
        **_GREEDY,
        "stream": True,
        "stream_options": {"include_usage": True},
        **extra_body,
    }


def _ollama(
    model: str,
    asked: Mapping[str, Any],
    output_tokens: int,
    extra_body: Mapping[str, Any],
) -> dict[str, Any]:
    options = {"num_predict": output_tokens, **_GREEDY, "repeat_penalty": 1}
    further = extra_body.get("options")
    if isinstance(further, Mapping):
        extra_body = {**extra_body, "options": {**options, **further}}
    return {"model": model, **asked, "stream": True, "options": options, **extra_body}


def _ollama_chat(
    model: str, prompt: Prompt, output_tokens: int, extra_body: Mapping[str, Any]
) -> dict[str, Any]:
    return _ollama(model, {"messages": prompt.messages}, output_tokens, extra_body)


def _ollama_generate(
    model: str, prompt: Prompt, output_tokens: int, extra_body: Mapping[str, Any]
) -> dict[str, Any]:
    system, user = prompt.messages
    asked = {"system": system["content"], "prompt": user["content"]}
    return _ollama(model, asked, output_tokens, extra_body)


APIS: dict[str, Api] = {
    "chat": Api("/v1/chat/completions", _SSE, _chat, sse.parse_chat, sse.looks_complete, b"data:"),
    "completions": Api(
        "/v1/completions", _SSE, _completions, sse.parse_completions, sse.looks_complete, b"data:"
    ),
    "ollama-chat": Api(
        "/api/chat", _NDJSON, _ollama_chat, ndjson.parse, ndjson.looks_complete, b"}\n"
    ),
    "ollama-generate": Api(
        "/api/generate", _NDJSON, _ollama_generate, ndjson.parse, ndjson.looks_complete, b"}\n"
    ),
}


def api_for(name: str) -> Api:
    """The API of this name.

    Raises:
        BadInput: there is none.
    """
    try:
        return APIS[name]
    except KeyError:
        raise BadInput(f"{name!r} is no API", f"one of {', '.join(APIS)}", "check --api") from None
