"""Numbers of the experiments that the ledger's rules are applied to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from heavyweight.article.claim import Asks, Claim
from heavyweight.article.rules import Threshold
from heavyweight.claims.items import Item, level_item, ratio_item
from heavyweight.estimates import Assessment, objective_at_one_user, probes_table
from heavyweight.estimates.blocks import Blocks
from heavyweight.estimates.highest_goodput import goodput_pairing, goodput_ratio
from heavyweight.estimates.memory import compared, memory_by_block, memory_frame
from heavyweight.estimates.pairing import paired

SAME_KV = {"V5": ("C", False), "T3": ("T", True)}
"""Claim on the memory of two servers: the run's contrast that says which arms have KV caches of one
size, and whether the second is divided by the first."""

UNITS = {"vram_bytes": "GPU memory", "pss_bytes": "PSS", "rss_bytes": "RSS"}
HERE = "this run does not measure it"


def probe_number(claim: Claim, asks: Asks, assessment: Assessment) -> Item:
    """The number of a probe, block by block.

    Args:
        claim: of one arm.
        asks: its probe, with the unit of the number.
        assessment: of the run.
    """
    (arm,) = claim.arms
    of = f"{assessment.label(arm)}, {asks.probe}"
    table = probes_table(assessment.folder)
    mine = table[(table["probe"] == asks.probe) & (table["arm"] == arm)]
    if mine.empty:
        return Item(of, missing=HERE)
    found = Blocks()
    for block in set(range(1, assessment.run.blocks + 1)) - set(mine["block"]):
        found.left_out[block] = "not measured"
    for row in mine.itertuples():
        if row.answer == "unknown" or math.isnan(row.value):
            found.left_out[int(row.block)] = f"unknown: {row.why}"
        else:
            found.values[int(row.block)] = float(row.value)
    return level_item(of, found, assessment.run.blocks, asks.unit or "", 1.0)


def memory_ratio(claim: Claim, assessment: Assessment) -> Item:
    """The memory of two servers with the same weights and KV caches of one size.

    Args:
        claim: one of :data:`SAME_KV`.
        assessment: of a run of the experiment memory.
    """
    contrast, turned = SAME_KV[claim.id]
    arms = assessment.run.contrasts.get(contrast)
    if arms is None:
        return Item(claim.quantity, missing=HERE)
    arms = (arms[1], arms[0]) if turned else (arms[0], arms[1])
    return peak_ratio(arms, assessment, claim.quantity)


def peak_ratio(arms: tuple[str, str], assessment: Assessment, of: str) -> Item:
    """The peaks of two servers' memory under the largest load, by the count that compares them.

    Args:
        arms: numerator, denominator.
        assessment: of a run of the experiment memory.
        of: what it is called where it was not measured.
    """
    frame = memory_frame(assessment.folder, assessment)
    if frame.empty:
        return Item(of, missing=HERE)
    users, quantity = int(frame["users"].max()), compared(frame)
    sides = [memory_by_block(assessment, frame, arm, users, quantity) for arm in arms]
    labels = " / ".join(map(assessment.label, arms))
    of = f"{labels}, peak {UNITS[quantity]} at {users} users"
    return ratio_item(of, paired(arms, sides), assessment.run.blocks)


def peak_memory(arm: str, assessment: Assessment) -> Item:
    """The peak of a server's memory under the largest load, in GB.

    Args:
        arm: which.
        assessment: of a run of the experiment memory.
    """
    frame = memory_frame(assessment.folder, assessment)
    of = f"{assessment.label(arm)}, peak memory"
    if frame.empty or arm not in set(frame["arm"]):
        return Item(of, missing=HERE)
    users, quantity = int(frame["users"].max()), compared(frame)
    found = memory_by_block(assessment, frame, arm, users, quantity)
    of = f"{assessment.label(arm)}, peak {UNITS[quantity]} at {users} users"
    return level_item(of, found, assessment.run.blocks, "GB", 1e-9)


def goodput(claim: Claim, assessment: Assessment, arms: Sequence[str]) -> Item:
    """The highest goodput of two servers, at the objective of the claim's rule.

    Args:
        claim: its rule has the factors of the objective.
        assessment: of a run of the experiment openloop.
        arms: numerator, denominator.
    """
    of = " / ".join(map(assessment.label, arms)) + ", highest goodput"
    rule = next(rule for rule in claim.rules if isinstance(rule, Threshold))
    if assessment.run.experiment != "openloop":
        return Item(of, missing=HERE)
    ttft, tpot = (rule.parameters[f"{name}_p95_factor"] for name in ("ttft", "tpot"))
    objective = objective_at_one_user(assessment, ttft, percent=95, tpot_factor=tpot)
    if objective is None:
        return Item(of, missing="no one-user cell says what the faster server's own latency is")
    pairing = goodput_pairing(assessment, arms, objective)
    return ratio_item(f"{of} ({objective})", pairing, assessment.run.blocks, goodput_ratio)
