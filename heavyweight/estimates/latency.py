"""Latency percentiles of each session, and over blocks. Only VALID cells enter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import PERCENTS, Assessment
from heavyweight.estimates.blocks import (
    INFINITE,
    Blocks,
    by_block,
    cells_of,
    loads,
    over_blocks_or_infinite,
    tidy,
)
from heavyweight.estimates.frames import LOAD
from heavyweight.stats import mean_log_t
from heavyweight.stats.requests import QUANTITIES

COLUMNS = (
    "arm", "label", *LOAD, "percentile", "scope", "block", "blocks", "n", "n_eff", "estimate_ms",
    "low_ms", "high_ms", "needs", "failures", "without_failures_ms", "without_failures_low_ms",
    "without_failures_high_ms", "instrument_p99_ms", "note",
)  # fmt: skip


def latency_table(
    assessment: Assessment,
    quantity: str,
    percentiles: Sequence[float] = PERCENTS,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Percentiles of a latency: of each session, and over blocks.

    Inside a session the interval is that of order statistics; over blocks it is Student's t on
    the logs of the sessions' percentiles. A failed request counts as +inf.

    Args:
        assessment: the run.
        quantity: ttft, e2e, itl or tpot.
        percentiles: which; they must be among those that were assessed.
        confidence: of the intervals over blocks.

    Returns:
        One row for each arm, load and percentile of scope "blocks", and one more for each of its
        VALID cells of scope "session": arm, label, users, output_tokens, prompt_tokens, percentile,
        scope, block (missing over blocks), blocks, n (requests or gaps), n_eff, estimate_ms,
        low_ms, high_ms, needs (values that the percentile would need; missing if it is there),
        failures, without_failures_ms, and its ends, instrument_p99_ms (p99 of the client's own
        absolute error in this quantity at this load, on busy cores; NaN: not known), note.

    Raises:
        BadInput: the quantity or a percentile is unknown.
    """
    if quantity not in QUANTITIES:
        raise BadInput(f"no latency {quantity!r}", f"one of {', '.join(QUANTITIES)}")
    known = assessment.percentiles
    for percent in percentiles:
        if len(known) and percent not in set(known["percentile"]):
            raise BadInput(f"percentile {percent:g} was not assessed", "", "assess(run, percents)")
    rows = []
    for arm in assessment.arms:
        for load in loads(assessment):
            cells = cells_of(assessment, arm, load)
            error = f"instrument_{quantity}_p99_ms"
            valid = cells[cells["valid"]].rename(columns={error: "instrument_p99_ms"})
            valid = valid[["cell_id", "block", "instrument_p99_ms"]]
            for percent in percentiles:
                here = known[(known["quantity"] == quantity) & (known["percentile"] == percent)]
                sessions = valid.merge(here, on="cell_id", how="inner").sort_values("block")
                shared = {"arm": arm, "label": assessment.label(arm),
                          **dict(zip(LOAD, load, strict=True)), "percentile": percent}  # fmt: skip
                name = f"{quantity}_p{percent:g}_ms"
                found = by_block(assessment, arm, load, name)
                rows.append({**shared, **_over_blocks(found, sessions, confidence)})
                for session in sessions.to_dict("records"):
                    rows.append({**shared, "scope": "session", "blocks": 1, **session})
    return tidy(rows, COLUMNS)


def _over_blocks(found: Blocks, sessions: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """The row of scope "blocks": Student's t on the logs of the sessions' percentiles."""
    value, low, high, note = over_blocks_or_infinite(found, confidence)
    infinite = [block for block, reason in found.left_out.items() if reason == INFINITE]
    bare = sessions["without_failures_ms"].to_numpy(dtype=float)
    bare = bare[np.isfinite(bare) & (bare > 0)]
    without = mean_log_t(bare, confidence) if bare.size else None
    return {
        "scope": "blocks",
        "blocks": len(found.values) + len(infinite),
        "n": int(sessions["n"].sum()),
        "n_eff": float(sessions["n_eff"].sum()),
        "estimate_ms": value,
        "low_ms": low,
        "high_ms": high,
        "needs": sessions["needs"].max() if math.isnan(value) and len(sessions) else pd.NA,
        "failures": int(sessions["failures"].sum()),
        "without_failures_ms": without.value if without else math.nan,
        "without_failures_low_ms": without.low if without else math.nan,
        "without_failures_high_ms": without.high if without else math.nan,
        "instrument_p99_ms": sessions["instrument_p99_ms"].max(),
        "note": note,
    }
