"""Two streams at once: does one wait for the other, and do their tokens come in the same step?"""

from __future__ import annotations

import numpy as np

from heavyweight.design import Arm
from heavyweight.experiments import steps
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
from heavyweight.experiments.streams import Ask

WAITING_TRIALS, WAITING_TOKENS = 20, 24
STEP_TRIALS, STEP_NEEDED, STEP_TOKENS = 10, 8, 40
LEAST_COMMON = 8  # tokens of both streams while both run: fewer say nothing
AHEAD = 8  # events of the first stream before the second is sent


def waiting(prober: Prober) -> Observation:
    """Send two requests at once, again and again; yes: the second waits in every trial."""

    def observe() -> Trial:
        asks = [Ask(prober.prompt(), WAITING_TOKENS) for _ in range(2)]
        first, second = sorted(checked(prober.send(*asks)), key=lambda answer: answer.first_ns)
        return {
            "yes": second.first_ns > first.last_ns,
            "gap_ms": (second.first_ns - first.last_ns) / 1e6,
            "first_ttft_ms": first.ttft_ms,
            "second_ttft_ms": second.ttft_ms,
            "later": second.ttft_ms / first.ttft_ms,
        }

    trials = [trial(observe) for _ in prober.tries(WAITING_TRIALS)]
    later = median(numbers(trials, "later"))
    return Observation(
        answer=said(trials, WAITING_TRIALS, WAITING_TRIALS),
        why=f"the second stream began after the first had ended in {counted(trials)}"
        + (f"; its first token came {later:.3g} times as late" if later else ""),
        trials=trials,
        value=later,
        unit="x",
    )


def same_step(prober: Prober) -> Observation:
    """Let a second stream join a running one at a random moment of its step; compare arrivals."""

    def observe() -> Trial:
        pause_s = float(prober.rng.uniform(0, 0.05))
        first, second = checked(
            prober.send(
                Ask(prober.prompt(), STEP_TOKENS + AHEAD),
                Ask(prober.prompt(), STEP_TOKENS, after=(0, AHEAD), pause_s=pause_s),
            )
        )
        one, other = steps.both(first.chunk_ns, second.chunk_ns)
        common = min(len(one), len(other))
        if common < LEAST_COMMON:
            return {"yes": False, "tokens": common}  # they do not run together
        step = steps.step_ns(one)
        if not step > 0:
            return {"error": BURSTS}
        window = steps.WINDOW * step
        share = steps.share_together(one, other, window)
        chance = steps.share_by_chance(one, other, step, window)
        return {
            "yes": share >= (1 + chance) / 2,
            "together": share,
            "by_chance": chance,
            "half_a_step_off": steps.share_together(one, other + round(step / 2), window),
            "step_ms": step / 1e6,
            "tokens": common,
        }

    trials = [trial(observe) for _ in prober.tries(STEP_TRIALS)]
    together, chance = (numbers(trials, name) for name in ("together", "by_chance"))
    why = f"their tokens came in the same step in {counted(trials)}"
    if together:
        why += (
            f"; {np.mean(together):.0%} of the tokens came with one of the other stream,"
            f" {np.mean(chance):.0%} where one stream is moved by parts of a step"
        )
    else:
        why += "; the streams did not run together"
    return Observation(
        answer=said(trials, STEP_TRIALS, STEP_NEEDED),
        why=why,
        trials=trials,
        value=float(np.mean(together)) if together else None,
        unit="share of tokens",
    )


def _several(arm: Arm) -> bool:
    return arm.slots is None or arm.slots > 1


WAITING = Mechanism(
    "overlap", "Does a second request wait until the first has ended?", waiting
)  # fmt: skip
SAME_STEP = Mechanism(
    "same-step", "Do the tokens of two streams come in the same step?", same_step, _several
)
