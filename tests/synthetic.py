"""A small synthetic run folder whose truth is known, for tests of the reading half.

Two emulated servers are simulated without any clock: one works on one request at a time, the
other on 64, first come, first served. Every run is marked ``emulated``.
"""

from __future__ import annotations

import hashlib
import heapq
import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from heavyweight import records
from heavyweight.records import Cell, Run, Session
from heavyweight.store import SESSION_FILE, RunFolder, write_cell, write_json
from tests.calibrated import write_calibration

UTC = "2026-05-19T12:00:00Z"
TURNAROUND_MS = 0.1  # a user's pause between an answer and the next request
REQUEST_SPREAD = 0.01  # standard deviation of the log of a request's service time

STUDY = Path(__file__).parents[1] / "study.toml"
LIMITS = {k: float(v) for k, v in tomllib.loads(STUDY.read_text())["limits"].items()}

Row = dict[str, Any]
Rng = np.random.Generator
ANSWERED: Row = {"start_id": 1, "finish_reason": "length", "status": 200}
Edit = Callable[[Cell, list[Row]], tuple[Cell, list[Row]]]


MACHINE = records.Machine(
    machine_id="synthetic", cpu_model="no processor: simulated", cpus=2, cpu_flags=[],
    memory_bytes=8 << 30, kernel="none", python="3.11", packages={},
)  # fmt: skip
START = records.ServerStart(
    start_id=1, started_utc=UTC, command=["none"], environment={}, cores=[0, 1],
    affinity_seen=[0, 1], port=8000, ready_ms=100.0, first_token_ms=150.0,
    first_request_ttft_ms=20.0,
)  # fmt: skip


@dataclass(frozen=True)
class SyntheticArm:
    """A server whose timing is known.

    Args:
        name: arm.
        label: how it is called on figures.
        slots: requests that it works on at once.
        ttft_ms: from the start of a request's work to its first token.
        itl_ms: between two tokens of a request that is alone.
        crowding: relative growth of the gap for each further request at work.
        prompt_ms: from the start of a request's work, for each token of its prompt beyond 64.
        memory_bytes: resident at the end of each cell.
        artefact: checksum of what it loads.
    """

    name: str
    label: str
    slots: int
    ttft_ms: float = 20.0
    itl_ms: float = 2.0
    crowding: float = 0.0
    prompt_ms: float = 0.0
    memory_bytes: int = 50_000_000
    artefact: str | None = None

    def first_ms(self, prompt_tokens: int) -> float:
        """From the start of a request's work to its first token."""
        return self.ttft_ms + self.prompt_ms * (prompt_tokens - 64)

    def gap_ms(self, users: int) -> float:
        """Time between two tokens of a request when ``users`` are active."""
        return self.itl_ms * (1 + self.crowding * (min(users, self.slots) - 1))

    def tok_s(self, users: int, output_tokens: int, prompt_tokens: int = 64) -> float:
        """True throughput over all users, without the spread of blocks and requests."""
        service_ms = self.first_ms(prompt_tokens) + (output_tokens - 1) * self.gap_ms(users)
        idle_ms = TURNAROUND_MS if users <= self.slots else 0.0
        return min(users, self.slots) * output_tokens / (service_ms + idle_ms) * 1e3


ARMS = (
    SyntheticArm("emulated-slots", "EMULATED, 1 slot", slots=1),
    SyntheticArm("emulated-batch", "EMULATED, 64 slots", slots=64, crowding=0.05),
)


def _requests(
    arm: SyntheticArm, *, users: int, tokens: int, prompt: int, count: int, factor: float, rng: Rng
) -> list[tuple[int, float, np.ndarray]]:
    """User, time of sending and arrival of each token (ms) of ``count`` requests."""
    slots = [0.0] * arm.slots
    first_ms = factor * (arm.first_ms(prompt) + (tokens - 1) * arm.gap_ms(1))
    ready = [(0.0, 0)] + [(first_ms * (1 + u / users), u) for u in range(1, users)]
    heapq.heapify(ready)
    offsets = arm.first_ms(prompt) + arm.gap_ms(users) * np.arange(tokens)
    noise = factor * np.exp(REQUEST_SPREAD * rng.standard_normal(count))
    made = []
    for scale in noise:
        sent, user = heapq.heappop(ready)
        begin = max(sent, heapq.heappop(slots))
        tokens_ms = begin + scale * offsets
        heapq.heappush(slots, tokens_ms[-1])
        heapq.heappush(ready, (tokens_ms[-1] + TURNAROUND_MS, user))
        made.append((user, sent, tokens_ms))
    return made


def _cell(
    run: Run,
    arm: SyntheticArm,
    *,
    block: int,
    users: int,
    tokens: int,
    prompt: int,
    requests: int,
    spread: float,
) -> tuple[Cell, list[Row]]:
    """One cell and its rows: a ramp, a warm-up wave, a window of ``requests``, a drain."""
    key = f"{run.run}/{run.seed}/{arm.name}/{block}/{users}/{tokens}"
    key += f"/{prompt}" * (prompt != 64)
    cell_id = hashlib.sha256(key.encode()).hexdigest()
    session_rng = np.random.default_rng(list(f"{run.seed}/{arm.name}/{block}".encode()))
    factor = float(np.exp(spread * session_rng.standard_normal()))
    rng = np.random.default_rng(int(cell_id, 16))
    count = 4 * users + requests + 2
    made = _requests(
        arm, users=users, tokens=tokens, prompt=prompt, count=count, factor=factor, rng=rng
    )
    ends_ms = np.sort([stamps[-1] for _, _, stamps in made])
    begin_ms = ends_ms[2 * users]
    end_ms = ends_ms[2 * users + requests]
    rows = []
    for i, (user, sent_ms, stamps_ms) in enumerate(made):
        if sent_ms > end_ms:
            continue
        chunk_ns = np.rint(stamps_ms * 1e6).astype(np.int64)
        sent_ns = round(sent_ms * 1e6)
        rows.append(
            {
                **ANSWERED,
                "request_id": f"{cell_id[:12]}-{i:05d}",
                "response_id": f"chatcmpl-{i}",
                "user": user,
                "prompt_id": f"b{block:02d}-n{users:04d}-{prompt}-{i:05d}",
                "output_tokens_asked": tokens,
                "due_ns": max(sent_ns - 20_000, 0),
                "sent_ns": sent_ns,
                "headers_ns": int(chunk_ns[0]) - 1000,
                "chunk_ns": chunk_ns,
                "chunk_bytes": np.full(tokens, 5, np.int32),
                "done_ns": int(chunk_ns[-1]),
                "prompt_tokens": prompt - 4 + i % 9,
                "completion_tokens": tokens,
            }
        )
    cell = Cell(
        cell_id=cell_id,
        run=run.run,
        session=f"b{block:02d}-{arm.name}",
        arm=arm.name,
        server="emulated",
        model="emulated",
        block=block,
        users=users,
        output_tokens=tokens,
        prompt_tokens_target=prompt,
        seed=run.seed,
        start_id=1,
        emulated=True,
        origin_monotonic_ns=1_000_000_000,
        origin_utc=UTC,
        window_start_ns=round(begin_ms * 1e6),
        window_end_ns=round(end_ms * 1e6),
        ended="complete",
        idle_after=True,
        machine_load=records.MachineLoad(
            elapsed_s=(end_ms - begin_ms) / 1e3,
            server_cpu_s=0.1,
            client_cpu_s=0.1,
            other_cpu_s=0.0,
            steal_s=0.0,
            swapped_bytes=0,
            server_rss_bytes=arm.memory_bytes,
        ),
        client={"loop": "synthetic"},
    )
    return cell, rows


def _session(run: Run, arm: SyntheticArm, block: int, order: int) -> Session:
    """The session's record, as a finished session leaves it."""
    return Session(
        run=run.run,
        session=f"b{block:02d}-{arm.name}",
        arm=arm.name,
        server="emulated",
        block=block,
        order=order,
        emulated=True,
        model="emulated",
        artefact="none",
        artefact_sha256=arm.artefact,
        slots=arm.slots,
        context_tokens=2048,
        identity=records.ServerIdentity(
            server="emulated", version="0.1.0", model="emulated", model_digest=arm.artefact
        ),
        machine=MACHINE,
        starts=[START],
        users_planned=run.users,
        complete=True,
        finished_utc=UTC,
    )


def table(rows: list[Row]) -> pa.Table:
    """Rows as the table of a cell."""
    return pa.Table.from_pylist(rows, schema=records.REQUEST_SCHEMA)


def fail(row: Row, error: str = "reset") -> Row:
    """The same request, failed: the connection broke after its first chunk."""
    return row | {
        "chunk_ns": row["chunk_ns"][:1],
        "chunk_bytes": row["chunk_bytes"][:1],
        "completion_tokens": None,
        "prompt_tokens": None,
        "finish_reason": None,
        "error": error,
        "error_detail": "as ordered by a test",
    }


def write_run(
    path: Path,
    *,
    arms: Sequence[SyntheticArm] = ARMS,
    users: Sequence[int] = (1, 4, 8, 50),
    blocks: int = 3,
    output_tokens: int = 16,
    lengths: Sequence[tuple[int, int]] = (),
    experiment: str = "session",
    requests: int | None = None,
    spread: float = 0.03,
    seed: int = 20260519,
    skip: Collection[tuple[int, str, int]] = (),
    edit: Edit | None = None,
    edit_session: Callable[[Session], Session] | None = None,
    calibrated: bool = True,
) -> RunFolder:
    """Write a run with known truth and open it.

    Args:
        path: folder of the run, made here and named like it.
        arms: the servers; the contrast A is the last one over the first one.
        users: loads.
        output_tokens: tokens of each answer, one a chunk.
        lengths: pairs of prompt and output tokens, each with every load; none: 64 and those above.
        experiment: that the run says it is of.
        requests: finished in each window; by default 30 or 4 waves, the larger.
        spread: standard deviation of the log of a session's speed.
        seed: seed of the run.
        skip: cells that are planned and not written, as (block, arm, users).
        edit: changes a cell and its rows before they are written.
        edit_session: changes a session's record before it is written.
        calibrated: whether the client's error at these loads is known.

    Returns: the run's folder, marked emulated. Truth: :meth:`SyntheticArm.tok_s`.
    """
    run = Run(
        run=path.name,
        profile="emulated",
        experiment=experiment,
        seed=seed,
        created_utc=UTC,
        commit=None,
        clean=None,
        emulated=True,
        blocks=blocks,
        users=list(users),
        lengths=list(lengths),
        arms=[arm.name for arm in arms],
        contrasts={"A": (arms[-1].name, arms[0].name)},
        limits=LIMITS,
        labels={arm.name: arm.label for arm in arms},
    )
    folder = RunFolder.create(path, run)
    if calibrated:
        write_calibration(path, MACHINE, users=users)
    for block in range(1, blocks + 1):
        for order, arm in enumerate(arms, start=1):
            session = _session(run, arm, block, order)
            if edit_session:
                session = edit_session(session)
            session_path = path / session.session
            session_path.mkdir()
            write_json(session_path / SESSION_FILE, session)
            for n in users:
                if (block, arm.name, n) in skip:
                    continue
                for asked, answered in lengths or [(64, output_tokens)]:
                    cell, rows = _cell(
                        run,
                        arm,
                        block=block,
                        users=n,
                        tokens=answered,
                        prompt=asked,
                        requests=requests or max(30, 4 * n),
                        spread=spread,
                    )
                    if edit:
                        cell, rows = edit(cell, rows)
                    write_cell(session_path, cell, table(rows))
    return folder
