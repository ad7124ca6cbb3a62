"""What a server does with more requests than it takes at once."""

from __future__ import annotations

from collections.abc import Sequence

from heavyweight.errors import ServerError
from heavyweight.experiments.probes.arms import like_ollama
from heavyweight.experiments.probes.base import Mechanism, Observation, Prober, Trial
from heavyweight.experiments.streams import Answer, Ask

MANY, FEW = 40, 8
OUTPUT_TOKENS = 8
QUEUE = 2
REFUSED = 503


def queue(prober: Prober) -> Observation:
    """Send 40 short requests at once to a running server, with its queue as it comes."""
    asks = [Ask(prober.prompt(), OUTPUT_TOKENS) for _ in range(MANY)]
    return _observed(prober.send(*asks), "running")


def queue_loading(prober: Prober) -> Observation:
    """Send 8 at once to a server whose queue holds 2 and that has not loaded its model yet."""
    arm = prober.arm
    if arm.server == "ollama":
        small = arm.model_copy(update={"env": arm.env | {"OLLAMA_MAX_QUEUE": str(QUEUE)}})
    else:
        small = arm.model_copy(update={"flags": [*arm.flags, "--queue", str(QUEUE)], "slots": 1})
    with prober.starting(small) as server:
        asks = [Ask(prober.prompt(), OUTPUT_TOKENS) for _ in range(FEW)]
        return _observed(prober.send(*asks, server=server), f"loading, queue of {QUEUE}")


def _observed(answers: Sequence[Answer], state: str) -> Observation:
    """One trial: who was answered, who was refused, and with what words."""
    refused = [answer for answer in answers if answer.status == REFUSED]
    good = sum(answer.error is None for answer in answers)
    others = [answer for answer in answers if answer.error and answer.status != REFUSED]
    if others and not refused:
        raise ServerError(f"{len(others)} of {len(answers)} requests failed: {others[0].told}")
    told = refused[0].detail.strip() if refused else ""
    one: Trial = {
        "yes": bool(refused),
        "state": state,
        "sent": len(answers),
        "answered": good,
        "refused": len(refused),
        "failed": len(others),
        "said": told,
    }
    why = f"of {len(answers)} requests at once, {good} were answered and {len(refused)} refused"
    why += f" ({told})" if told else ""
    share = len(refused) / len(answers)
    return Observation("yes" if refused else "no", why, [one], share, "share refused")


QUEUE_RUNNING = Mechanism("queue", "Does it refuse a request with 503 when 40 come at once?", queue)
QUEUE_LOADING = Mechanism(
    "queue-loading",
    "Does it refuse a request with 503 when 8 come at once, its queue holds 2 and it has not"
    " loaded its model?",
    queue_loading,
    like_ollama,
    own_start=True,
)
