"""The first request after a server's start: when its first token came."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from heavyweight import workload
from heavyweight.errors import ServerError

FIRST_TOKEN_TIMEOUT_S = 300.0
DATA, END = b"data: ", b"[DONE]"
OUTPUT_TOKENS = 8


@dataclass(frozen=True)
class FirstToken:
    """Stamps of the first request on ``time.perf_counter_ns``."""

    sent_ns: int
    first_ns: int


def first_token(
    base_url: str, model: str, extra_body: dict[str, Any], *, seed: int, block: int, start_id: int
) -> FirstToken:
    """Send one short request to a server that is ready and wait for its end.

    Args:
        base_url: of the server, without a path.
        model: name under which it serves the model.
        extra_body: further fields of the body.
        seed: of the study.
        block: of the session.
        start_id: which start this is; the prompt is its own.

    Returns:
        When the request was sent and when its first text came.

    Raises:
        ServerError: no text came.
    """
    prompt = workload.prompt(seed, block, users=0, index=start_id, prompt_tokens=64)
    body = {
        "model": model,
        "messages": list(prompt.messages),
        "max_tokens": OUTPUT_TOKENS,
        "temperature": 0,
        "stream": True,
        **extra_body,
    }
    url = base_url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    # A proxy of the user's must never stand between the study and a server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    first_ns = None
    sent_ns = time.perf_counter_ns()
    try:
        with opener.open(request, timeout=FIRST_TOKEN_TIMEOUT_S) as answer:
            for line in answer:
                if first_ns is None and _has_text(line.strip()):
                    first_ns = time.perf_counter_ns()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerError(
            f"the first request failed: {error}",
            "a stream of text",
            "read the server's log in the session's folder",
        ) from error
    if first_ns is None:
        raise ServerError(
            "the first request brought no text",
            f"{OUTPUT_TOKENS} tokens",
            "read the server's log in the session's folder",
        )
    return FirstToken(sent_ns, first_ns)


def _has_text(line: bytes) -> bool:
    """Whether a line of the stream is an event with text."""
    if not line.startswith(DATA) or line.endswith(END):
        return False
    choices = json.loads(line[len(DATA) :]).get("choices") or [{}]
    return bool((choices[0].get("delta") or {}).get("content"))
