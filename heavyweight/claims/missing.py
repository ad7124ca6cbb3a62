"""What would judge a claim that this run does not: a profile, a notebook, more blocks."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from heavyweight.article.claim import Answer, Claim
from heavyweight.article.rules import Band, Equivalence, Range, Threshold
from heavyweight.claims.holding import hold
from heavyweight.claims.measured import Measured
from heavyweight.claims.verdict import Part
from heavyweight.stats import blocks_needed
from heavyweight.stats.multiple import log_standard_error

MANY_BLOCKS = 100  # above it the number is too near to the limit for any study


@dataclass(frozen=True)
class Profile:
    """What a profile of study.toml measures.

    Args:
        arms: names.
        users: loads.
        needs_gpu: whether it runs on a GPU only.
        experiment: which notebook measures it.
    """

    arms: frozenset[str]
    users: frozenset[int]
    needs_gpu: bool
    experiment: str = "session"


@dataclass(frozen=True)
class Known:
    """What the study can measure today.

    Args:
        profiles: of study.toml, by name.
    """

    profiles: dict[str, Profile]

    @classmethod
    def of(cls, root: Path) -> Known:
        """Read it from a checkout.

        Args:
            root: the study's folder; a checkout without study.toml knows nothing.
        """
        try:
            study = tomllib.loads((root / "study.toml").read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError):
            study = {}
        tables = study.get("profiles", {})
        profiles = {}
        for name, own in tables.items():
            profile = tables.get(own.get("like"), {}) | own
            profiles[name] = Profile(
                frozenset(profile.get("arms", ())),
                frozenset(profile.get("users", ())),
                bool(profile.get("needs_gpu")),
                profile.get("experiment", "session"),
            )
        return cls(profiles)


def advice(
    claim: Claim, parts: Sequence[Part], answer: Answer, known: Known, measured: Measured | None
) -> str:
    """What would judge an open claim, or one that Holm's correction opens again; else empty.

    Args:
        claim: of the ledger.
        parts: what was found on it.
        answer: of all parts.
        known: what the study can measure today.
        measured: the run; None: there is none.
    """
    if answer != "inconclusive":
        undone = (stands_with(part) for part in parts if part.counts)
        return "; ".join(dict.fromkeys(text for text in undone if text))
    mine = [part for part in parts if part.counts and part.answer == "inconclusive"]
    if mine and all(part.by == "source" for part in mine) and _by_machine(claim):
        return "nothing more: documents leave it open"
    blocks = dict.fromkeys(more for part in mine if (more := more_blocks(part)))
    if any(math.isnan(part.p) for part in mine):
        return "; ".join([*blocks, judged_by(claim, known, measured)])
    if blocks:
        return "; ".join(blocks)
    if mine:
        return "nothing more, if the value stays: it lies where the rule decides nothing"
    told = sorted({part.answer for part in parts if part.counts and part.estimate is not None})
    if len(told) > 1:
        return "nothing more, if the values stay: by one reading of the words it is "\
               f"{told[0]}, by another {told[1]}"  # fmt: skip
    return judged_by(claim, known, measured)


def _by_machine(claim: Claim) -> bool:
    """Whether a profile or notebook judges it, and not a person alone."""
    return claim.judge is not None and claim.judge.hand is None


def judged_by(claim: Claim, known: Known, measured: Measured | None = None) -> str:
    """The profile or notebook that the ledger names; what is not there yet is said to be missing.

    Where a profile lacks an arm or load that the claim needs on this machine, as profiles without
    a GPU do on one, the first that has them is named.

    Args:
        claim: of the ledger.
        known: what the study can measure today.
        measured: the run; None: a machine without a GPU.
    """
    judge = claim.judge
    if judge is None:
        return "nothing more: it is arithmetic"
    if judge.hand is not None:
        return judge.hand
    where = ""
    if "absolute" in claim.kinds:
        where = f", on an {measured.ledger.setting.gpu}" if measured else ", in that setting"
    if judge.notebook is not None:
        on_gpu = bool(where) or (measured is not None and measured.has_gpu)
        for name, profile in known.profiles.items():
            if (profile.experiment, profile.needs_gpu) == (judge.notebook, on_gpu):
                return f"heavyweight study run --profile {name}{where}"
        return f"a profile of the experiment {judge.notebook} (not in study.toml yet)"
    assert judge.profile is not None  # one of the three
    name = judge.profile
    if name not in known.profiles:
        return f"profile {name} (not in study.toml yet)"
    if where:
        return f"heavyweight study run --profile {name}{where}"
    arms, users = measured.needs(claim) if measured else (set(), set())
    fitting = [
        other
        for other in dict.fromkeys((name, *known.profiles))
        if arms <= known.profiles[other].arms and users <= known.profiles[other].users
    ]
    if not fitting:
        return f"a profile with the arms {', '.join(sorted(arms))} (not in study.toml yet)"
    again = " --new" if measured and measured.complete_of(fitting[0]) else ""
    gpu = ", on a GPU" if known.profiles[fitting[0]].needs_gpu else ""
    return f"heavyweight study run --profile {fitting[0]}{again}{gpu}"


def more_blocks(part: Part) -> str:
    """How many blocks would decide a part whose interval holds a limit, if all else stays.

    By the spread that the interval shows; empty where that does not answer the question, or where
    the value itself lies between limits of which none decides.
    """
    estimate, rule = part.estimate, part.rule
    if estimate is None or math.isnan(part.p) or part.answer != "inconclusive":
        return ""
    if not isinstance(rule, Band | Range | Threshold | Equivalence) or not estimate.value > 0:
        return ""
    sharp = dataclasses.replace(estimate, low=estimate.value, high=estimate.value)
    if hold(rule, sharp, part.limits).answer == "inconclusive":
        return ""
    try:
        spread = log_standard_error(estimate) * math.sqrt(estimate.n)
    except ValueError:
        return ""
    across = [v for v in part.limits if estimate.low <= v <= estimate.high]
    distance = min((abs(math.log(estimate.value / v)) for v in across), default=0.0)
    if distance == 0:
        return ""
    needed = blocks_needed(spread, math.expm1(distance), estimate.confidence)
    if needed >= MANY_BLOCKS:
        return f"it lies so near to a limit that {MANY_BLOCKS} blocks would not tell"
    return f"about {max(needed, estimate.n + 1)} blocks in all, if value and spread stay"


def stands_with(part: Part) -> str:
    """How many blocks would let a part stand that Holm's correction opened, if all else stays."""
    wide, estimate = part.widened, part.estimate
    if wide is None or estimate is None or part.answer in ("inconclusive", part.adjusted):
        return ""
    try:
        spread = log_standard_error(estimate) * math.sqrt(estimate.n)
    except ValueError:
        return ""
    distance = min(abs(math.log(estimate.value / limit)) for limit in part.limits)
    needed = (
        blocks_needed(spread, math.expm1(distance), wide.confidence) if distance else MANY_BLOCKS
    )
    if needed >= MANY_BLOCKS:
        return f"{MANY_BLOCKS} blocks would not let it stand after Holm"
    return f"about {max(needed, estimate.n + 1)} blocks in all, to stand after Holm"
