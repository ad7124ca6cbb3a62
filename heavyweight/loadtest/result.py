"""One measured load -> what it says: percentiles, throughput, errors, the client, the verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.rows import percentile_row
from heavyweight.loadtest.calibration import error_at
from heavyweight.records import Cell, Session, measured
from heavyweight.stats.requests import Quantity, Requests
from heavyweight.validity import Check, check_cell

ORDER: tuple[Quantity, ...] = ("ttft", "itl", "tpot", "e2e")
PERCENTS = (50.0, 95.0, 99.0)
# Where the server is the user's, and not one that the study started.
REMEDIES = {
    "output tokens": "keep the server from ending early: --extra-body '{\"ignore_eos\": true}' "
    "where it knows that, or other --output-tokens",
    "requests": "measure longer: --seconds, --requests",
    "steady state": "measure longer (--seconds), warm up longer (--warmup-seconds), or lower the "
    "load below what the server can do",
    "server": "look at the server; something else used it, or it changed meanwhile",
    "machine": "stop other programs, and measure again",
    "instrument": "leave out --no-calibrate; if the error is too large, lower the load, or give "
    "the client more of the machine",
}
INSTRUMENT = "instrument"


def limits_for(limits: Mapping[str, float], session: Session, here: bool) -> dict[str, float]:
    """The limits of the checks that can be made of this server.

    The CPU of other processes says nothing where the server runs on this machine unseen: it is one
    of them.

    Args:
        limits: of study.toml.
        session: with the process group of the server, if it is known.
        here: whether the server is on this machine.
    """
    unseen = here and session.starts[-1].pgid is None
    return {**limits, **({"other_cpu_cores": math.inf} if unseen else {})}


def judge_load(
    file: str, requests: Requests, session: Session, limits: Mapping[str, float],
    calibration: pd.DataFrame | None = None, *, instrument_too: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """All that one load says.

    Args:
        file: its name.
        requests: its rows.
        session: of :func:`heavyweight.loadtest.plan.session_of`.
        limits: of :func:`limits_for`.
        calibration: the client's own error, rows of ``estimates.instrument_table``.
        instrument_too: whether the check of that error is made already.

    Returns:
        Plain values; numbers that do not exist are NaN.
    """
    cell = requests.cell
    checks = [
        _told(check)
        for check in check_cell(cell, session, requests, limits, calibration=calibration)
        if instrument_too or check.name != INSTRUMENT
    ]
    return {
        "file": file,
        "valid": all(check.passed for check in checks),
        "emulated": cell.emulated,
        "load": _load(cell),
        "ended": cell.ended,
        "window_s": requests.window_s,
        "requests": int((requests.in_window & ~requests.failed).sum()),
        "errors": dict(Counter(requests.error[requests.failed]).most_common()),
        "throughput": _throughput(requests),
        "latency": [percentile_row(requests, q, p) for q in ORDER for p in PERCENTS],
        "client": _client(requests),
        "instrument": None
        if calibration is None
        else error_at(calibration, requests, session.machine_id),
        "checks": [asdict(check) for check in checks],
    }


def _throughput(requests: Requests) -> dict[str, Any]:
    """Tokens and answers per second in the window, and whether it shows a steady load at all."""
    cell, e2e_ms = requests.cell, requests.latencies_ms("e2e", failures=False)
    note = ""
    if cell.loop == "open" and e2e_ms.size:
        least_ns = min(cell.window_start_ns, cell.window_end_ns - cell.window_start_ns)
        if float(np.median(e2e_ms)) * 1e6 > least_ns:
            note = (
                "warm-up or window are shorter than an answer takes: fewer tokens came in the"
                " window than a steady load would bring (--warmup-seconds, --seconds)"
            )
    return {"tok_s": requests.tokens_per_s, "requests_s": requests.requests_per_s, "note": note}


def _told(check: Check) -> Check:
    remedy = REMEDIES.get(check.name)
    return check if check.passed or remedy is None else replace(check, remedy=remedy)


def _load(cell: Cell) -> dict[str, Any]:
    names = ("loop", "api", "model", "users", "arrivals", "rate_per_s", "parts", "clock_error_ns",
             "output_tokens", "prompt_tokens_target", "seed", "block")  # fmt: skip
    return {name: getattr(cell, name) for name in names}


def _client(requests: Requests) -> dict[str, Any]:
    """How late requests were sent, and what the load generator took of the machine."""
    load = measured(requests.cell.machine_load)
    lag_ms = ((requests.sent_ns - requests.due_ns) / 1e6)[requests.in_window]
    lag_ms = lag_ms[~np.isnan(lag_ms)]

    def lag(q: float) -> float | None:
        return float(np.quantile(lag_ms, q, method="inverted_cdf")) if lag_ms.size else None

    return {
        "lag_p50_ms": lag(0.5),
        "lag_p99_ms": lag(0.99),
        "lag_max_ms": lag(1.0),
        "cpu_cores": load.client_cpu_s / load.elapsed_s if load.elapsed_s > 0 else None,
        "rss_bytes": load.client_rss_bytes,
        **{name: requests.cell.client.get(name) for name in ("loop", "pacing", "affinity")},
    }


def finite(value: Any) -> Any:
    """The same without numbers that JSON cannot hold: what does not exist is None.

    An infinite one is the word "infinite": a percentile that failures reach.
    """
    if isinstance(value, dict):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinite"
    return value
