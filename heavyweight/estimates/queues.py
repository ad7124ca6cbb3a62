"""What a queue must obey: Little's law, and the bounds of a closed loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import cells_of, closed_loads, load_at
from heavyweight.stats.queueing import closed_loop_bound, little_gap, utilisation
from heavyweight.stats.requests import Requests

COLUMNS = (
    "arm", "label", "users", "blocks", "in_flight", "requests_per_s", "response_s", "gap",
    "slots", "bound_per_s", "share_of_bound", "utilisation",
)  # fmt: skip


def queue_table(assessment: Assessment) -> pd.DataFrame:
    """Means over the VALID cells of each arm and load, held against the laws of queues.

    Args:
        assessment: the run.

    Returns:
        One row an arm and load: arm, label, users, blocks, in_flight (mean over the window),
        requests_per_s (by the tokens that arrived), response_s (mean), gap (in flight /
        (requests/s x response) - 1, the largest of the blocks in size), slots, bound_per_s (the
        most that users and slots allow, by the response of one user), share_of_bound, utilisation
        (of the slots, by that response; it is above 1 where a request alone is served more slowly
        than among others). What needs the load of one user is NaN where that is not there.
    """
    rows = []
    for arm in assessment.arms:
        alone_s = _response_s(assessment, arm, 1)
        slots = assessment.sessions.loc[assessment.sessions["arm"] == arm, "slots"].dropna()
        for users in closed_loads(assessment):
            cells = _valid(assessment, arm, users)
            if not cells:
                continue
            numbers = np.array([_of_cell(requests) for requests in cells])
            in_flight, rate, response_s = numbers.mean(axis=0)
            gaps = [little_gap(*row) for row in numbers]
            row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {
                "arm": arm, "label": assessment.label(arm), "users": users, "blocks": len(cells),
                "in_flight": in_flight, "requests_per_s": rate, "response_s": response_s,
                "gap": max(gaps, key=abs),
            }  # fmt: skip
            if len(slots) and math.isfinite(alone_s):
                count = int(slots.iloc[0])
                bound = closed_loop_bound(users, alone_s, alone_s, count)
                row |= {"slots": count, "bound_per_s": bound, "share_of_bound": rate / bound,
                        "utilisation": utilisation(rate, alone_s, count)}  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _valid(assessment: Assessment, arm: str, users: int) -> list[Requests]:
    """The VALID cells of closed loops of one arm and load, with at least one good request."""
    load = load_at(assessment, users)
    if load is None:
        return []
    cells = cells_of(assessment, arm, load)
    found = [assessment.arrays(cell_id) for cell_id in cells.loc[cells["valid"], "cell_id"]]
    return [r for r in found if r.cell.loop == "closed" and r.requests_per_s > 0]


def _response_s(assessment: Assessment, arm: str, users: int) -> float:
    cells = _valid(assessment, arm, users)
    return float(np.mean([_of_cell(r)[2] for r in cells])) if cells else math.nan


def _of_cell(r: Requests) -> tuple[float, float, float]:
    """Requests in flight, requests/s by tokens and mean response in s, of a cell's window."""
    begin, end = r.cell.window_start_ns, r.cell.window_end_ns
    inside = np.minimum(r.done_ns, end) - np.maximum(np.nan_to_num(r.sent_ns, nan=np.inf), begin)
    in_flight = float(np.maximum(inside, 0).sum()) / (end - begin)
    response_s = float(np.mean(r.latencies_ms("e2e", failures=False))) / 1e3
    # By tokens: a wave that ends just beyond an edge of the window would be missed by its ends.
    tokens = float(np.mean(r.completion_tokens[r.in_window & ~r.failed]))
    return in_flight, r.tokens_per_s / tokens, response_s
