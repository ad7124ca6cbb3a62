"""Requests a second that meet an objective, of each arm at each load. Only VALID cells enter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import by_block, cells_by_block, closed_loads, load_at
from heavyweight.stats import effective_sample_size
from heavyweight.stats.goodput import goodput, mean_t
from heavyweight.stats.ratios import mean_log_t
from heavyweight.stats.requests import Requests

COLUMNS = (
    "arm", "label", "users", "scope", "block", "blocks", "goodput_per_s", "low", "high",
    "met_fraction", "requests_per_s", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Objective:
    """What a request must keep to count as good.

    Args:
        ttft_ms: at most, from sending (an open loop: from when it was due) to the first text.
        tpot_ms: at most, per output token after the first.
    """

    ttft_ms: float
    tpot_ms: float

    def __str__(self) -> str:
        return f"TTFT at most {self.ttft_ms:,.0f} ms and TPOT at most {self.tpot_ms:,.1f} ms"

    def met(self, requests: Requests) -> np.ndarray:
        """Which requests of the window met it; a failure did not.

        An answer of one token has no gap, and is judged by its first text alone.
        """
        # A failed request is +inf in every latency; both keep the window's order.
        ttft, tpot = requests.of_window("ttft"), requests.of_window("tpot")
        return np.asarray((ttft <= self.ttft_ms) & (np.isnan(tpot) | (tpot <= self.tpot_ms)))


def objective_at_one_user(
    assessment: Assessment,
    factor: float = 2.0,
    percent: float = 50.0,
    tpot_factor: float | None = None,
) -> Objective | None:
    """A multiple of the best percentile of each latency that an arm of the run has for one user.

    Each is the faster server's geometric mean over the blocks: one objective for the whole run. Its
    own error is in no interval of what is judged by it.

    Args:
        assessment: the run.
        factor: how much slower still counts as good.
        percent: which percentile, one that was assessed.
        tpot_factor: the same of the time per output token; None: ``factor``.

    Returns:
        The objective; None where no arm has that percentile of both at one user.
    """
    load = load_at(assessment, 1)
    if load is None:
        return None
    best = {}
    for quantity in ("ttft", "tpot"):
        found = [
            mean_log_t(list(blocks.values.values())).value
            for arm in assessment.arms
            if (blocks := by_block(assessment, arm, load, f"{quantity}_p{percent:g}_ms")).values
        ]
        if not found:
            return None
        best[quantity] = min(found)
    return Objective(factor * best["ttft"], (tpot_factor or factor) * best["tpot"])


def goodput_table(
    assessment: Assessment, objective: Objective | None, confidence: float = 0.95
) -> pd.DataFrame:
    """Goodput of each arm and load: of each session, and over blocks.

    Inside a session the interval is that of the share that met the objective; over blocks it is
    Student's t on the goodputs themselves, which may be zero.

    Args:
        assessment: the run.
        objective: what a request must keep; None: there is none, and no row.
        confidence: of the intervals.

    Returns:
        One row for each arm and load of scope "blocks", and one for each VALID cell of scope
        "session": arm, label, users, scope, block, blocks, goodput_per_s, low, high (requests/s),
        met_fraction, requests_per_s, note.
    """
    rows: list[dict[str, Any]] = []
    if objective is None:
        return _typed(rows)
    for arm in assessment.arms:
        for users, load in closed_loads(assessment).items():
            shared: dict[str, Any] = {
                "arm": arm,
                "label": assessment.label(arm),
                "users": users,
            }
            sessions = [
                shared
                | {"block": block}
                | goodput_of(assessment.arrays(cell), objective, confidence)
                for block, cells in cells_by_block(assessment, arm, load).items()
                for cell in cells
            ]
            if not sessions:
                continue
            goods = pd.DataFrame(sessions).groupby("block")["goodput_per_s"].mean()
            found = mean_t(goods.to_numpy(), confidence)
            shares = [row["met_fraction"] for row in sessions]
            rates = [row["requests_per_s"] for row in sessions]
            rows.append(
                {**shared, "scope": "blocks", "blocks": found.n, "goodput_per_s": found.value,
                 "low": found.low, "high": found.high, "met_fraction": float(np.mean(shares)),
                 "requests_per_s": float(np.mean(rates)), "note": found.note},
            )  # fmt: skip
            rows += sessions
    return _typed(rows)


def _typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("block", "blocks", "users"), "Int64"))


def goodput_of(requests: Requests, objective: Objective, confidence: float) -> dict[str, Any]:
    """One cell's goodput: the columns of scope "session" of :func:`goodput_table`."""
    met = objective.met(requests)
    # Waves: neighbours resemble each other, and count for fewer.
    n_eff = effective_sample_size(met)
    found = goodput(met, requests.window_s, confidence, n_eff)
    return {
        "scope": "session", "blocks": 1, "goodput_per_s": found.value,
        "low": found.low, "high": found.high, "met_fraction": float(met.mean()),
        "requests_per_s": met.size / requests.window_s, "note": found.note,
    }  # fmt: skip
