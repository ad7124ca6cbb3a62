"""One arm against itself: each interval should hold 1."""

from __future__ import annotations

import math

import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import closed_loads
from heavyweight.estimates.pairing import pair
from heavyweight.stats import holm, p_of

QUANTITIES = (
    "throughput_tok_s", "ttft_p50_ms", "ttft_p95_ms", "e2e_p50_ms", "e2e_p95_ms", "tpot_p50_ms",
)  # fmt: skip
COLUMNS = ("quantity", "users", "blocks", "ratio", "low", "high", "holds_one", "p", "p_holm",
           "note")  # fmt: skip


def self_test_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """Ratios of the two names of one arm, paired by block.

    Args:
        assessment: of a run with one contrast, whose arms are the same.
        confidence: of the intervals.

    Returns:
        One row a quantity and load: quantity, users, blocks, ratio, low, high, holds_one (missing
        without an interval), p (that the ratio is 1), p_holm (after Holm over all rows), note.
    """
    rows = []
    for arms in assessment.run.contrasts.values():
        for quantity in QUANTITIES:
            for users, load in closed_loads(assessment).items():
                pairing = pair(assessment, arms, load, quantity)
                ratio = pairing.ratio(confidence)
                row = dict.fromkeys(COLUMNS, math.nan) | {
                    "quantity": quantity, "users": users, "blocks": len(pairing.numerator),
                    "holds_one": pd.NA, "note": pairing.note,
                }  # fmt: skip
                if ratio is not None:
                    row |= {"ratio": ratio.value, "low": ratio.low, "high": ratio.high}
                if ratio is not None and ratio.has_interval:
                    row |= {"holds_one": ratio.low <= 1 <= ratio.high, "p": p_of(ratio, 1.0)}
                rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"holds_one": "boolean", "p": float})
    return table.assign(p_holm=list(holm(table["p"].to_numpy()).adjusted))
