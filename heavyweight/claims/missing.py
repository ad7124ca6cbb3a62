"""What would judge a claim that this run does not: a profile, a notebook, more blocks."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

from heavyweight.article.ledger import Claim
from heavyweight.claims.verdict import Part
from heavyweight.stats.multiple import log_standard_error
from heavyweight.stats.planning import blocks_needed

MANY_BLOCKS = 100  # above it the number is too near to the limit for any study


@dataclass(frozen=True)
class Known:
    """What the study can measure today.

    Args:
        profiles: of study.toml, and whether each needs a GPU.
        notebooks: in notebooks/.
    """

    profiles: dict[str, bool]
    notebooks: frozenset[str]

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
        profiles = {
            name: bool(profile.get("needs_gpu"))
            for name, profile in study.get("profiles", {}).items()
        }
        notebooks = frozenset(path.stem for path in (root / "notebooks").glob("*.ipynb"))
        return cls(profiles, notebooks)


def judged_by(claim: Claim, known: Known) -> str:
    """What would judge a claim, as the ledger says; a part of the study that is not there yet is
    said to be missing."""
    judge = claim.judge
    if judge is None:
        return "nothing more: it is arithmetic"
    if judge.hand is not None:
        return judge.hand
    if judge.profile is not None:
        if judge.profile not in known.profiles:
            return f"profile {judge.profile} (not in study.toml yet)"
        gpu = ", on a GPU" if known.profiles[judge.profile] else ""
        return f"heavyweight study run --profile {judge.profile}{gpu}"
    there = "" if judge.notebook in known.notebooks else " (not there yet)"
    return f"notebooks/{judge.notebook}.ipynb{there}"


def more_blocks(part: Part) -> str:
    """How many blocks would decide a part whose interval holds a limit, if all else stays.

    By the spread that the interval shows; empty where that does not answer the question.
    """
    estimate = part.estimate
    if estimate is None or math.isnan(part.p) or part.answer != "inconclusive":
        return ""
    across = [v for v in part.limits if estimate.low <= v <= estimate.high]
    if not across or not estimate.value > 0:
        return ""
    try:
        spread = log_standard_error(estimate) * math.sqrt(estimate.n)
    except ValueError:
        return ""
    distance = min(abs(math.log(estimate.value / limit)) for limit in across)
    if distance == 0:
        return "it lies on a limit: no number of blocks would tell"
    needed = blocks_needed(spread, math.expm1(distance), estimate.confidence)
    if needed >= MANY_BLOCKS:
        return f"it lies so near to a limit that {MANY_BLOCKS} blocks would not tell"
    return f"about {max(needed, estimate.n + 1)} blocks, if value and spread stay"
