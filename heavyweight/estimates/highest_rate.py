"""The highest rate at which a search's objectives held, over blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import say
from heavyweight.stats import mean_log_t
from heavyweight.store import HIGHEST_RATE, RunFolder

SEARCH_COLUMNS = (
    "arm", "label", "scope", "block", "blocks", "per_s", "low", "high", "holds_per_s",
    "fails_per_s", "probes", "question", "note",
)  # fmt: skip


def search_table(run: RunFolder, assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """The highest rate at which a search's objectives held: of each session, and over blocks.

    In a session low and high are the search's own: the highest rate that surely holds and the
    lowest that surely fails. Over blocks they are Student's t on the logs of the sessions'
    estimates; a block whose probes do not bracket it has none, and then there is none over blocks,
    since what is left would be no fair sample.

    Args:
        run: its folder, with the probes.
        assessment: of the same run.
        confidence: of the intervals over blocks.

    Returns:
        One row an arm of scope "blocks", and one a finished search of scope "session": arm, label,
        scope, block, blocks, per_s, low, high, holds_per_s and fails_per_s (over blocks: the lowest
        and the highest of them; NaN: a block has none), probes, question, note.
    """
    sessions: dict[str, list[dict[str, Any]]] = {arm: [] for arm in assessment.arms}
    for folder in run.sessions():
        for probe in folder.probes():
            if probe.probe != HIGHEST_RATE:
                continue
            ends = [math.nan if x is None else x
                    for x in (probe.value, probe.value_low, probe.value_high)]  # fmt: skip
            sessions.setdefault(probe.arm, []).append(
                {"scope": "session", "block": probe.block, "blocks": 1, "per_s": ends[0],
                 "low": ends[1], "high": ends[2], "holds_per_s": ends[1], "fails_per_s": ends[2],
                 "probes": len(probe.trials), "question": probe.question, "note": probe.why}
            )  # fmt: skip
    rows = []
    for arm, of_arm in sessions.items():
        shared = {"arm": arm, "label": assessment.label(arm)}
        found = sorted(of_arm, key=lambda row: row["block"])
        if found:
            rows.append(shared | _over_searches(found, confidence))
        rows += [shared | row for row in found]
    table = pd.DataFrame(rows, columns=list(SEARCH_COLUMNS))
    return table.astype(dict.fromkeys(("block", "blocks", "probes"), "Int64"))


def _over_searches(found: list[dict[str, Any]], confidence: float) -> dict[str, Any]:
    """The row of scope "blocks"."""
    open_ = {row["block"]: "is not bracketed" for row in found if math.isnan(row["per_s"])}
    row: dict[str, Any] = {
        "scope": "blocks", "block": pd.NA, "blocks": len(found), "per_s": math.nan,
        "low": math.nan, "high": math.nan, "probes": sum(one["probes"] for one in found),
        "holds_per_s": float(np.min([one["holds_per_s"] for one in found])),
        "fails_per_s": float(np.max([one["fails_per_s"] for one in found])),
        "question": found[0]["question"], "note": say(open_),
    }  # fmt: skip
    if not open_:
        one = mean_log_t([each["per_s"] for each in found], confidence)
        row |= {"per_s": one.value, "low": one.low, "high": one.high, "note": one.note}
    return row
