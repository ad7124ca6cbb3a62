"""How each arm's throughput grows with users, and the Universal Scalability Law."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import by_block, closed_loads, notes, say
from heavyweight.stats import Estimate, NotEstimable, log_ratio_t
from heavyweight.stats.scaling import usl

USL_COLUMNS = (
    "arm", "label", "blocks", "loads", "parameter", "value", "low", "high", "residual", "note",
)  # fmt: skip
GROWTH_COLUMNS = ("arm", "label", "users", "blocks", "growth", "low", "high", "per_user", "note")


def _by_load(
    assessment: Assessment, arm: str
) -> tuple[list[int], dict[int, dict[int, float]], str]:
    """Loads, and load -> block -> throughput of VALID cells; and which blocks lack which load."""
    found, lacking = {}, []
    for n, load in closed_loads(assessment).items():
        blocks = by_block(assessment, arm, load, "throughput_tok_s")
        if blocks.left_out:
            lacking.append(f"at {n} users {say(blocks.left_out)}")
        if blocks.values:
            found[n] = blocks.values
    return sorted(found), found, "; ".join(lacking)


def scaling_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """The Universal Scalability Law of each arm, fitted in each block that has all loads.

    Args:
        assessment: the run.
        confidence: of the intervals.

    Returns:
        One row an arm and parameter (rate: tok/s of one user; sigma: contention; kappa:
        coherence; peak: users at the highest throughput): arm, label, blocks, loads, value, low,
        high, residual (largest relative one of the fit), note. An arm that cannot be fitted has
        NaN, and the note says what it needs.
    """
    rows = []
    for arm in assessment.arms:
        loads, found, lacking = _by_load(assessment, arm)
        whole = sorted(set.intersection(*(set(found[n]) for n in loads))) if loads else []
        curves = {block: np.array([found[n][block] for n in loads]) for block in whole}
        shared = {
            "arm": arm, "label": assessment.label(arm), "blocks": len(whole), "loads": len(loads),
        }  # fmt: skip
        fitted = usl(loads, curves, confidence) if curves else None
        if fitted is None or isinstance(fitted, NotEstimable):
            reason = "no block has all loads" if fitted is None else fitted.note
            note = notes(f"not estimable: {reason}", lacking)
            rows.append(shared | {"parameter": "-", "value": math.nan, "note": note})
            continue
        for name in ("rate", "sigma", "kappa", "peak"):
            one: Estimate | NotEstimable = getattr(fitted, name)
            row = shared | {"parameter": name, "residual": fitted.residual}
            if isinstance(one, NotEstimable):
                rows.append(row | {"value": math.nan, "note": one.note})
            else:
                note = notes(one.note, lacking)
                ends = {"value": one.value, "low": one.low, "high": one.high}
                rows.append(row | ends | {"note": note})
    table = pd.DataFrame(rows, columns=list(USL_COLUMNS))
    return table.astype(dict.fromkeys(("value", "low", "high", "residual"), float))


def growth_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """Throughput at each load as a multiple of that at the lowest load, paired by block.

    Args:
        assessment: the run.
        confidence: of the intervals.

    Returns:
        One row an arm and load: arm, label, users, blocks, growth with low and high, per_user (the
        growth divided by that of the users: 1 where each user has as much as one alone), note.
    """
    rows = []
    for arm in assessment.arms:
        loads, found, lacking = _by_load(assessment, arm)
        for n in loads:
            common = found[n].keys() & found[loads[0]].keys()
            if not common:
                continue
            pick = [{block: found[m][block] for block in sorted(common)} for m in (n, loads[0])]
            ratio = log_ratio_t(pick[0], pick[1], confidence)
            rows.append(
                {"arm": arm, "label": assessment.label(arm), "users": n, "blocks": len(common),
                 "growth": ratio.value, "low": ratio.low, "high": ratio.high,
                 "per_user": ratio.value * loads[0] / n, "note": notes(ratio.note, lacking)}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(GROWTH_COLUMNS))
