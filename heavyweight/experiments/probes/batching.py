"""Slots: how soon a freed one is taken, and what a joining request does to a running one."""

from __future__ import annotations

import numpy as np

from heavyweight import servers
from heavyweight.design import Arm
from heavyweight.experiments import steps
from heavyweight.experiments.probes.arms import shipped
from heavyweight.experiments.probes.base import (
    BURSTS,
    Mechanism,
    Observation,
    Prober,
    Trial,
    checked,
    counted,
    median,
    numbers,
    said,
    trial,
)
from heavyweight.experiments.streams import Answer, Ask

SLOTS = 2
RECYCLING_TRIALS = 10
LONG_TOKENS, SHORT_TOKENS, NEXT_TOKENS = 96, 20, 12
AT_ONCE = 2.0  # steps

JOIN_TRIALS = 6
RUNNING_TOKENS, JOINING_TOKENS, JOINING_PROMPT = 128, 32, 384
ALONE_EVENTS = 32  # of the running stream before the other is sent


def recycling(prober: Prober) -> Observation:
    """Fill two slots, let a third request wait, and count steps from a stream's end to its start.

    A stream's end is that of its answer, which the server tells in the step of the last token.
    """
    with prober.starting(prober.arm.model_copy(update={"slots": SLOTS})) as server:
        # The first request may load the model.
        checked(prober.send(Ask(prober.prompt(), NEXT_TOKENS), server=server))
        trials = [trial(lambda: _recycled(prober, server)) for _ in prober.tries(RECYCLING_TRIALS)]
    counts = numbers(trials, "steps")
    if len(counts) <= RECYCLING_TRIALS / 2:
        return Observation(
            "unknown", f"the third request waited for a slot in {len(counts)} trials only", trials
        )
    mean = float(np.mean(counts))
    return Observation(
        answer="yes" if mean <= AT_ONCE else "no",
        why=f"a waiting request's first token came {mean:.3g} steps after the end of a stream"
        f" that freed its slot, on the mean of {len(counts)} trials;"
        f" at most {AT_ONCE:g} in {counted(trials)}",
        trials=trials,
        value=mean,
        unit="steps",
    )


def _recycled(prober: Prober, server: servers.Server) -> Trial:
    return recycled(
        *checked(
            prober.send(
                Ask(prober.prompt(), LONG_TOKENS),
                Ask(prober.prompt(), SHORT_TOKENS, after=(0, 2)),
                Ask(prober.prompt(), NEXT_TOKENS, after=(1, 4)),
                server=server,
            )
        )
    )


def recycled(long: Answer, short: Answer, following: Answer) -> Trial:
    """Steps of the long stream from the end of the short one to the start of the next.

    Args:
        long: runs all the time.
        short: ends meanwhile.
        following: waited for a slot; where it did not, the trial says nothing.
    """
    if following.first_ns < short.last_ns or long.last_ns < following.first_ns:
        return {"yes": None, "waited": False}
    step = steps.step_ns(long.chunk_ns[long.chunk_ns < short.last_ns])
    if not step > 0:
        return {"error": BURSTS}
    count = steps.steps_between(long.chunk_ns, short.done_ns, following.first_ns, step)
    return {
        "yes": count <= AT_ONCE,
        "steps": count,
        "waited": True,
        "step_ms": step / 1e6,
        "freed_to_first_ms": (following.first_ns - short.done_ns) / 1e6,
    }


def joining(prober: Prober) -> Observation:
    """Let a request join a running one, and compare the running one's steps before and meanwhile.

    Each trial keeps the gaps between the running stream's tokens: ``gap_ms``, and ``at_ms``, when
    each ended after the joining request was sent.
    """

    def observe() -> Trial:
        return joined(
            *checked(
                prober.send(
                    Ask(prober.prompt(), RUNNING_TOKENS),
                    Ask(prober.prompt(JOINING_PROMPT), JOINING_TOKENS, after=(0, ALONE_EVENTS)),
                )
            )
        )

    trials = [trial(observe) for _ in prober.tries(JOIN_TRIALS)]
    slowdown, pause = median(numbers(trials, "slowdown")), median(numbers(trials, "pause_steps"))
    why = f"it had its first token before the running one ended in {counted(trials)}"
    if slowdown and pause:
        why += (
            f"; steps took {slowdown:.3g} times as long while both ran, and the longest at the"
            f" join {pause:.3g} times"
        )
    return Observation(said(trials, JOIN_TRIALS, JOIN_TRIALS // 2 + 1), why, trials, slowdown, "x")


def joined(running: Answer, joiner: Answer) -> Trial:
    """The running stream's steps alone, at the join, and while both run."""
    assert joiner.sent_ns is not None  # it was answered
    stamps, gaps = running.chunk_ns[1:], np.diff(running.chunk_ns)
    before = gaps[stamps <= joiner.sent_ns]
    alone = float(np.median(before)) if len(before) else 0.0
    if not alone > 0:
        return {"error": BURSTS}
    # Tokens of one step arrive one after the other: the joiner's may be a little later.
    start, end = joiner.first_ns - alone / 4, joiner.last_ns + alone / 4
    begun = running.chunk_ns[:-1]
    pause = gaps[(stamps > joiner.sent_ns) & (begun < start)]
    meanwhile = gaps[(begun >= start) & (stamps <= end)]
    together = joiner.first_ns < running.last_ns and len(meanwhile) > 0 and len(pause) > 0
    return {
        "yes": together,
        "alone_ms": alone / 1e6,
        "together_ms": float(np.median(meanwhile)) / 1e6 if together else None,
        "slowdown": float(np.median(meanwhile)) / alone if together else None,
        "pause_ms": float(pause.max()) / 1e6 if together else None,
        "pause_steps": float(pause.max()) / alone if together else None,
        "joiner_ttft_ms": joiner.ttft_ms,
        "joiner_last_ms": (joiner.last_ns - joiner.sent_ns) / 1e6,
        "at_ms": [round(v, 3) for v in ((stamps - joiner.sent_ns) / 1e6).tolist()],
        "gap_ms": [round(v, 3) for v in (gaps / 1e6).tolist()],
    }


def _slots(arm: Arm) -> bool:
    return arm.started and (arm.slots or 1) > 1 and not shipped(arm)


RECYCLING = Mechanism(
    "slot-recycling",
    "Does a waiting request start within two steps of the end of a running one?",
    recycling,
    _slots,
    own_start=True,
)
JOINING = Mechanism("joining", "Does a request join while another one is running?", joining)
