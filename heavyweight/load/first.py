"""The first request after a server's start: it loads the model, and its first token is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heavyweight.load.alone import Answer, one_by_one
from heavyweight.workload import prompt

OUTPUT_TOKENS = 8
PROMPT_TOKENS = 64


def first_token(
    base_url: str,
    model: str,
    extra_body: Mapping[str, Any],
    *,
    seed: int,
    block: int,
    start_id: int,
    api: str = "chat",
    timeout_s: float = 600.0,
    allow_remote: bool = False,
) -> Answer:
    """Send one request to a server that has just started, and time its first token.

    Args:
        base_url: of the server.
        model: name under which the server serves it.
        extra_body: further fields of the request.
        seed: of the study.
        block: from 1.
        start_id: which start of the session's server; each gets a prompt of its own, which no
            cell of the session has.
        api: how requests are spoken; one of :data:`heavyweight.load.spec.Api`.
        timeout_s: for the first token, and for the whole, in seconds.
        allow_remote: whether the server may be another machine.

    Raises:
        BadInput: the address cannot be used.
        ServerError: the request failed; its class and what was seen are in the message.
    """
    first = prompt(seed, block, users=0, index=start_id, prompt_tokens=PROMPT_TOKENS)
    (answer,) = one_by_one(
        base_url, model, extra_body, [first], OUTPUT_TOKENS, what="the first request", api=api,
        timeout_s=timeout_s, allow_remote=allow_remote,
    )  # fmt: skip
    return answer
