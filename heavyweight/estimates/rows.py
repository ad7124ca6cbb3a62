"""One cell as rows: what it is and came to, and each of its percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.frames import LOAD
from heavyweight.records import Session
from heavyweight.stats import Estimate
from heavyweight.stats.requests import QUANTITIES, Requests
from heavyweight.validity import Check

NO_ENDS = (np.nan, np.nan, np.nan)

PERCENTILE_COLUMNS = (
    "cell_id", "quantity", "percentile", "n", "n_eff", "estimate_ms", "low_ms", "high_ms", "needs",
    "note", "failures", "without_failures_ms", "without_failures_low_ms",
    "without_failures_high_ms",
)  # fmt: skip
CELL_COLUMNS = (
    "cell_id", "block", "session", "arm", "label", *LOAD, "loop", "rate_per_s",
    "capacity_fraction", "machine_id", "start_id", "starts", "ended", "valid", "work_valid",
    "reasons", "untold", "requests", "errors", "window_s", "throughput_tok_s", "requests_per_s",
    "server_rss_bytes",
)  # fmt: skip
INSTRUMENT_COLUMNS = {
    **{f"instrument_{quantity}_p99_ms": f"{quantity}_error_p99_ms" for quantity in QUANTITIES},
    "instrument_tokens_seen_fraction": "tokens_seen_fraction",
}
"""The client's own error at a cell's load: column of the cells, column of the calibration."""
CHECK_COLUMNS = (
    "cell_id", "session", "arm", *LOAD, "check", "kind", "passed", "value", "limit", "unit",
    "detail", "remedy",
)  # fmt: skip


def cell_row(
    r: Requests,
    session: Session,
    verdicts: list[Check],
    percentiles: list[dict[str, Any]],
    labels: dict[str, str],
    error: pd.Series | None,
) -> dict[str, Any]:
    """One row of the cells.

    Args:
        r: its requests.
        session: that it belongs to.
        verdicts: of its checks.
        percentiles: its rows of :func:`percentile_row`.
        labels: arm: how it is called.
        error: the client's own at its load; None: it is not known.
    """
    cell = r.cell
    rss = None if cell.machine_load is None else cell.machine_load.server_rss_bytes
    failed = [check for check in verdicts if check.passed is False]
    return {
        "cell_id": cell.cell_id,
        "block": cell.block,
        "session": cell.session,
        "arm": cell.arm,
        "label": labels.get(cell.arm, cell.arm),
        "users": cell.users,
        "output_tokens": cell.output_tokens,
        "prompt_tokens": cell.prompt_tokens_target,
        "rate_per_s": np.nan if cell.rate_per_s is None else cell.rate_per_s,
        "machine_id": session.machine_id,
        "start_id": cell.start_id,
        "starts": len(session.starts),
        "ended": cell.ended,
        "valid": not failed,
        "work_valid": all(check.kind != "work" for check in failed),
        "reasons": ", ".join(check.name for check in failed),
        "untold": ", ".join(check.name for check in verdicts if check.passed is None),
        "requests": int((r.in_window & ~r.failed).sum()),
        "errors": int(r.failed.sum()),
        "window_s": r.window_s,
        "throughput_tok_s": r.tokens_per_s,
        "requests_per_s": r.requests_per_s,
        "server_rss_bytes": np.nan if rss is None else float(rss),
        "loop": cell.loop,
        "capacity_fraction": cell.capacity_fraction,
        **{f"{p['quantity']}_p{p['percentile']:g}_ms": p["estimate_ms"] for p in percentiles},
        **{
            name: np.nan if error is None else float(error[column])
            for name, column in INSTRUMENT_COLUMNS.items()
        },
    }


def percentile_row(r: Requests, quantity: Any, percent: float) -> dict[str, Any]:
    """One row of the percentiles: failures as +inf, and beside it without them."""
    failures = int((r.in_window & r.failed).sum())
    estimate, n_eff = r.percentile(quantity, percent)
    without = r.percentile(quantity, percent, failures=False)[0] if failures else estimate
    row = {
        "quantity": quantity,
        "percentile": percent,
        "n": estimate.n,
        "n_eff": n_eff,
        "needs": None if isinstance(estimate, Estimate) else estimate.needs,
        "note": estimate.note,
        "failures": failures,
    }
    for prefix, found in (("", estimate), ("without_failures_", without)):
        ends = (found.value, found.low, found.high) if isinstance(found, Estimate) else NO_ENDS
        names = (f"{prefix or 'estimate_'}ms", f"{prefix}low_ms", f"{prefix}high_ms")
        row |= dict(zip(names, ends, strict=True))
    return row
