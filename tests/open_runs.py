"""Synthetic runs of open loops whose truth is known, for tests of the reading half.

Poisson arrivals at shares of the true capacity, served first come, first served, by the slots of
the synthetic arms; without any clock.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from heavyweight import store
from heavyweight.records import Cell, Probe
from heavyweight.store import RunFolder
from tests.calibrated import write_calibration
from tests.synthetic import ANSWERED, ARMS, MACHINE, UTC, Row, SyntheticArm, table, write_run

MOST_USERS = 16
FRACTIONS = (0.3, 0.6, 0.8, 1.1)
TOKENS = 16
WARMUP_S = 2.0

OpenEdit = Callable[[Cell, list[Row]], tuple[Cell, list[Row]]]


def capacity_per_s(arm: SyntheticArm) -> float:
    """Requests/s of the closed loop with the most users, without any spread."""
    return arm.tok_s(MOST_USERS, TOKENS) / TOKENS


def served(
    arm: SyntheticArm, due_ms: np.ndarray, factor: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Arrival of each token (ms) of requests that are due at some times."""
    slots = [0.0] * arm.slots
    offsets = arm.ttft_ms + arm.gap_ms(1) * np.arange(TOKENS)
    made = []
    for due in due_ms:
        begin = max(due, heapq.heappop(slots))
        stamps = begin + factor * float(np.exp(0.01 * rng.standard_normal())) * offsets
        heapq.heappush(slots, stamps[-1])
        made.append(stamps)
    return made


def open_cell(
    like: Cell, arm: SyntheticArm, fraction: float, capacity: float, requests: int, factor: float
) -> tuple[Cell, list[Row]]:
    """One open loop of a session, with at least so many requests in its window."""
    rate = fraction * capacity
    cell_id = hashlib.sha256(f"{like.cell_id}/{fraction}".encode()).hexdigest()
    rng = np.random.default_rng(int(cell_id, 16))
    gaps = rng.exponential(1 / rate, size=4 * requests + int(3 * WARMUP_S * rate) + 100)
    due_ms = np.cumsum(gaps) * 1e3
    first = int(np.searchsorted(due_ms, WARMUP_S * 1e3))
    end_ms = float(due_ms[first + requests])
    due_ms = due_ms[due_ms < end_ms]
    rows: list[Row] = []
    for i, (due, stamps) in enumerate(
        zip(due_ms, served(arm, due_ms, factor, rng), strict=True)
    ):  # fmt: skip
        chunk_ns = np.rint(stamps * 1e6).astype(np.int64)
        due_ns = round(due * 1e6)
        rows.append(
            {
                **ANSWERED, "request_id": f"{cell_id[:12]}-{i:05d}", "response_id": f"c-{i}",
                "user": 0, "prompt_id": f"b{like.block:02d}-r{cell_id[:8]}-{i:06d}",
                "output_tokens_asked": TOKENS, "due_ns": due_ns, "sent_ns": due_ns + 20_000,
                "headers_ns": int(chunk_ns[0]) - 1000, "chunk_ns": chunk_ns,
                "chunk_bytes": np.full(TOKENS, 5, np.int32), "done_ns": int(chunk_ns[-1]),
                "prompt_tokens": 60 + i % 9, "completion_tokens": TOKENS,
            }
        )  # fmt: skip
    cell = like.model_copy(
        update={
            "cell_id": cell_id, "loop": "open", "users": 0, "arrivals": "poisson",
            "rate_per_s": rate, "capacity_fraction": fraction,
            "window_start_ns": round(WARMUP_S * 1e9), "window_end_ns": round(end_ms * 1e6),
        }
    )  # fmt: skip
    return cell, rows


def write_open_run(
    path: Path,
    *,
    arms: Sequence[SyntheticArm] = ARMS,
    blocks: int = 3,
    fractions: Sequence[float] = FRACTIONS,
    requests: int = 150,
    skip: Collection[tuple[int, str, float]] = (),
    edit: OpenEdit | None = None,
    searched: bool = True,
) -> RunFolder:
    """Write a run of the experiment openloop with known truth and open it.

    Args:
        path: folder of the run, made here.
        arms: the servers.
        blocks: how many.
        fractions: shares of the capacity.
        requests: due in the window of each open loop.
        skip: open loops that are not written, as (block, arm, fraction).
        edit: changes an open loop before it is written.
        searched: whether each session has a search: it finds 0.7 of the capacity.
    """
    folder = write_run(
        path, arms=arms, users=(1, MOST_USERS), blocks=blocks, requests=200, calibrated=False
    )
    run = folder.run.model_copy(update={"experiment": "openloop"})
    folder = RunFolder.replace(path, run)
    write_calibration(path, MACHINE, users=(1, MOST_USERS), rates=(2000.0,))
    by_name = {arm.name: arm for arm in arms}
    for session in folder.sessions():
        (most,) = [file for file in session.cells() if file.cell.users == MOST_USERS]
        arm, block = by_name[most.cell.arm], most.cell.block
        rng = np.random.default_rng([block, len(arm.name)])
        factor = float(np.exp(0.02 * rng.standard_normal()))
        capacity = capacity_per_s(arm) / factor
        for fraction in fractions:
            if (block, arm.name, fraction) in skip:
                continue
            cell, rows = open_cell(most.cell, arm, fraction, capacity, requests, factor)
            if edit:
                cell, rows = edit(cell, rows)
            store.write_cell(session.path, cell, table(rows))
        if searched:
            found = search_of(most.cell, capacity)
            name = store.PROBE_FILE.format(store.HIGHEST_RATE)
            store.write_json(session.path / name, found)
    return folder


def search_of(cell: Cell, capacity: float) -> Probe:
    """What a search found."""
    return Probe(
        probe=store.HIGHEST_RATE, question="is there a rate?", run=cell.run, session=cell.session,
        arm=cell.arm, server=cell.server, block=cell.block, start_id=1, emulated=True,
        answer="yes", yes=1, trials=[{"rate_per_s": 0.6 * capacity, "verdict": "holds"}],
        value=0.7 * capacity, value_low=0.6 * capacity, value_high=0.8 * capacity,
        value_unit="requests/s", why="as ordered by a test", finished_utc=UTC,
    )  # fmt: skip
