"""One thing that a rule is applied to: a number with its interval, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from heavyweight.estimates import Assessment
from heavyweight.estimates.blocks import INFINITE, Blocks, notes, say
from heavyweight.estimates.pairing import Pairing
from heavyweight.stats import Estimate, mean_log_t

ZERO = "zero"
LEAST_SHARE = 0.5  # of the planned blocks: fewer are no sample of them


@dataclass(frozen=True)
class Item:
    """One thing that a rule is applied to.

    Args:
        of: what it is.
        estimate: None: it was not measured, or says nothing.
        unit: of the estimate.
        missing: why there is no estimate.
        note: what a reader must know of the estimate.
        counts: False: shown beside the others, decides nothing.
        alike: items of one name are readings of the same words.
        pairing: the blocks behind a ratio, for tests that need them.
        curves: loads, and block -> ratio at each of them, behind a crossing.
        unbroken: the estimate without blocks in which a server had to be started again; None: none
            had to be.
        spread: relative difference between starts of one configuration, the largest of the arms.
    """

    of: str
    estimate: Estimate | None = None
    unit: str = "x"
    missing: str = ""
    note: str = ""
    counts: bool = True
    alike: str = ""
    pairing: Pairing | None = None
    curves: tuple[list[int], dict[int, np.ndarray]] | None = None
    unbroken: Estimate | None = None
    spread: float = 0.0


def absent(arms: Collection[str], assessment: Assessment) -> str:
    """Which of some arms a run lacks, in words; empty: none."""
    gone = [arm for arm in arms if arm not in set(assessment.arms)]
    if not gone:
        return ""
    named = " and ".join(gone)
    return f"arms {named} are not in this run" if gone[1:] else f"arm {named} is not in this run"


def ratio_item(
    of: str,
    pairing: Pairing,
    planned: int,
    ratio: Callable[[Pairing], Estimate | None] = Pairing.ratio,
) -> Item:
    """A ratio over blocks, if the blocks that are there may speak for all.

    Args:
        of: what it is.
        pairing: the two arms' numbers by block.
        planned: blocks of the run.
        ratio: how it is estimated; None where no block tells it.
    """
    estimate = ratio(pairing)
    missing = unfair(pairing.left_out, pairing.spoiled, len(pairing.numerator), planned)
    if missing or estimate is None:
        return Item(of, missing=missing or pairing.note or "no block has both servers")
    unbroken = ratio(pairing.without(pairing.restarted)) if pairing.restarted else None
    restarts = say(dict.fromkeys(pairing.restarted, "needed a second start of a server"))
    return Item(
        of, estimate, note=notes(pairing.note, restarts), pairing=pairing, unbroken=unbroken,
        spread=max(map(_spread, (pairing.numerator, pairing.denominator))),
    )  # fmt: skip


def level_item(of: str, found: Blocks, planned: int, unit: str, factor: float) -> Item:
    """A server's own number over blocks, if the blocks that are there may speak for all.

    Args:
        of: what it is.
        found: the arm's numbers by block.
        planned: blocks of the run.
        unit: of the estimate.
        factor: from the numbers' unit to that one.
    """
    missing = unfair(found.left_out, found.spoiled, len(found.values), planned)
    if missing or not found.values:
        return Item(of, missing=missing or say(found.left_out) or "no VALID cell", unit=unit)
    values = [value * factor for value in found.values.values()]
    return Item(of, mean_log_t(values), unit, note=say(found.left_out))


def unfair(left_out: Mapping[int, str], spoiled: Collection[int], there: int, planned: int) -> str:
    """Why blocks that are left out forbid a verdict by the others; empty where they do not.

    Args:
        left_out: block -> why it has no number.
        spoiled: blocks in which the work was not done: the worst may be among them.
        there: blocks that have a number.
        planned: blocks of the run.
    """
    for block, reason in left_out.items():
        if INFINITE in reason:
            return f"failures reach it in block {block}, so that it has no finite value"
        if ZERO in reason.split():
            return f"it is zero in block {block}, so that there is no ratio"
    if there and spoiled:
        lost = {block: left_out.get(block, "") for block in sorted(spoiled)}
        return f"the other blocks may be the better ones: {say(lost)}"
    if there and there < LEAST_SHARE * planned:
        return f"only {there} of {planned} planned blocks have it: {say(dict(left_out))}"
    return ""


def one_kind(sessions: pd.DataFrame) -> str:
    """Why sessions are not of one kind each arm and one machine; empty where they are.

    Args:
        sessions: rows of the assessment's, those that a number rests on.
    """
    for arm, mine in sessions.groupby("arm"):
        if mine["configuration"].nunique() > 1:
            return f"the sessions of {arm} differ in model, version or settings"
    machines = sessions["machine_id"].nunique()
    return f"its blocks were measured on {machines} machines" if machines > 1 else ""


def _spread(values: Mapping[int, float]) -> float:
    least = min(values.values())
    return max(values.values()) / least - 1 if least > 0 else math.inf
