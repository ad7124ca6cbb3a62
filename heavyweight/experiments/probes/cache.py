"""Whether a prompt that came before is computed again."""

from __future__ import annotations

from heavyweight.experiments.probes.base import (
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

TRIALS = 6
PROMPT_TOKENS, OUTPUT_TOKENS = 512, 4
HALF = 0.5


def prefix_cache(prober: Prober) -> Observation:
    """Ask the same long prompt twice, then another of its length, then the first one again.

    The other prompt is the control: it shows that a server does not simply become faster. The last
    request shows whether one request in between makes the server forget.
    """

    def observe() -> Trial:
        same, other = prober.prompt(PROMPT_TOKENS), prober.prompt(PROMPT_TOKENS)
        first, again, control, later = (
            checked(prober.send(Ask(prompt, OUTPUT_TOKENS)))[0].ttft_ms
            for prompt in (same, same, other, same)
        )
        return {
            "yes": again < HALF * first and again < HALF * control,
            "first_ms": first,
            "again_ms": again,
            "other_ms": control,
            "later_ms": later,
            "again": again / first,
            "other": control / first,
            "later": later / first,
        }

    trials = [trial(observe) for _ in prober.tries(TRIALS)]
    again, other, later = (median(numbers(trials, name)) for name in ("again", "other", "later"))
    why = f"the same prompt's second time took less than half of the first in {counted(trials)}"
    if again and other and later:
        why += (
            f"; first token after {again:.3g} of the first time, another prompt {other:.3g},"
            f" the same one after another {later:.3g}"
        )
    return Observation(
        said(trials, TRIALS, TRIALS // 2 + 1), why, trials, again, "x of the first time"
    )


PREFIX_CACHE = Mechanism(
    "prefix-cache", "Is a prompt that was asked before answered in half of the time?", prefix_cache
)
