"""A calibration whose errors are known: the client's rows are made of the server's log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from heavyweight import calibrations
from heavyweight.records import (
    REQUEST_SCHEMA,
    SERVER_LOG_SCHEMA,
    Cell,
    Instrument,
    Machine,
    MachineLoad,
    Setting,
)
from heavyweight.store import write_cell, write_json

UTC = "2026-05-19T12:00:00Z"
ORIGIN_NS = 5_000_000_000
TTFT_MS, ITL_MS = 50.0, 10.0

Delay = Callable[[int, int], float]


def write_calibration(
    run: Path,
    machine: Machine,
    *,
    users: Sequence[int] = (),
    rates: Sequence[float] = (),
    settings: Sequence[Setting] = calibrations.SETTINGS,
    requests: int = 40,
    tokens: int = 16,
    up_ms: float = 0.04,
    hand_ms: float = 0.04,
    down_ms: Delay = lambda request, token: 0.06,
    late_ms: float = 0.02,
) -> Path:
    """Write a calibration.

    Args:
        run: the run's folder; the calibration lies below.
        machine: on which it was made.
        users: loads of closed loops.
        rates: loads of open loops.
        settings: in which each load is written; saturation has one of 64 users.
        requests: of each load, all in the window.
        tokens: of each answer, one a chunk.
        up_ms: from sending to the server's reading.
        hand_ms: from sending to the end of the call that hands the bytes over.
        down_ms: from writing a token (request, token) to its arrival.
        late_ms: from when a request is due to its sending.

    Returns: the calibration's folder.
    """
    folder = run / calibrations.FOLDER
    record = Instrument(
        run=run.name, created_utc=UTC, commit=None, clean=None, seed=1, api="chat", manner="vllm",
        ttft_ms=TTFT_MS, itl_ms=ITL_MS, output_tokens=tokens, prompt_tokens=64, seconds=1.0,
        users=list(users), rates_per_s=list(rates), settings=list(settings), saturation_users=64,
        saturation_output_tokens=tokens, client_cores=[1], server_cores=[0], busy_threads=2,
        busy_niceness=10, machine=machine, complete=True, finished_utc=UTC,
    )  # fmt: skip
    folder.mkdir(parents=True)
    write_json(folder / calibrations.INSTRUMENT_FILE, record)
    for setting in settings:
        loads = [(n, None) for n in users] + [(0, rate) for rate in rates]
        (folder / setting).mkdir()
        for n, rate in [(64, None)] if setting == "saturation" else loads:
            cell = _cell(run.name, setting, n, rate, tokens, requests)
            rows, log = [], []
            for i in range(requests):
                row, line = _request(i, max(n, 1), tokens, up_ms, hand_ms, down_ms, late_ms)
                rows.append(row)
                log.append(line)
            path = write_cell(
                folder / setting, cell, pa.Table.from_pylist(rows, schema=REQUEST_SCHEMA)
            )
            calibrations.write_log(
                calibrations.log_path(path), pa.Table.from_pylist(log, schema=SERVER_LOG_SCHEMA)
            )
    return folder


def _ns(ms: float) -> int:
    return round(ms * 1e6)


def _request(
    i: int, streams: int, tokens: int, up_ms: float, hand_ms: float, down_ms: Delay, late_ms: float
) -> tuple[dict, dict]:
    """One request as the client saw it and as the server logged it."""
    read_ms = 10.0 + (TTFT_MS + ITL_MS * tokens) * i / streams
    writes_ms = read_ms + TTFT_MS + ITL_MS * np.arange(tokens)
    chunks_ns = [_ns(writes_ms[k] + down_ms(i, k)) for k in range(tokens)]
    row = {
        "request_id": f"r{i}", "user": i % streams, "prompt_id": f"p{i}", "start_id": 1,
        "output_tokens_asked": tokens, "due_ns": _ns(read_ms - up_ms - late_ms),
        "sent_ns": _ns(read_ms - up_ms), "handed_ns": _ns(read_ms - up_ms + hand_ms),
        "headers_ns": chunks_ns[0], "chunk_ns": chunks_ns,
        "chunk_bytes": [5] * tokens, "done_ns": chunks_ns[-1], "prompt_tokens": 60,
        "completion_tokens": tokens, "finish_reason": "length", "status": 200,
    }  # fmt: skip
    line = {
        "request_id": f"r{i}", "read_ns": ORIGIN_NS + _ns(read_ms),
        "admitted_ns": ORIGIN_NS + _ns(read_ms),
        "write_ns": [ORIGIN_NS + _ns(ms) for ms in writes_ms], "write_tokens": [1] * tokens,
        "ended_ns": ORIGIN_NS + _ns(writes_ms[-1]),
    }  # fmt: skip
    return row, line


def _cell(
    run: str, setting: Setting, users: int, rate: float | None, tokens: int, requests: int
) -> Cell:
    """A window of one request after another for each user, from beginning to end."""
    key = f"{run}/{setting}/{users}/{rate}"
    end_ms = 20.0 + (TTFT_MS + ITL_MS * tokens) * (requests / max(users, 1) + 1)
    return Cell(
        cell_id=hashlib.sha256(key.encode()).hexdigest(), run=run,
        session=f"{calibrations.FOLDER}/{setting}", arm=calibrations.FOLDER, server="emulated",
        model="emulated", block=1, users=users, loop="closed" if users else "open",
        arrivals=None if users else "poisson", rate_per_s=rate, output_tokens=tokens,
        prompt_tokens_target=64, seed=1, start_id=1, emulated=True, origin_monotonic_ns=ORIGIN_NS,
        origin_utc=UTC, window_start_ns=0, window_end_ns=_ns(end_ms), ended="complete",
        idle_after=True, client={"loop": "synthetic"},
        machine_load=MachineLoad(
            elapsed_s=end_ms / 1e3, server_cpu_s=0.1, client_cpu_s=0.02, other_cpu_s=0.0,
            steal_s=0.0, swapped_bytes=0, server_rss_bytes=50_000_000, client_rss_bytes=90_000_000,
        ),
    )  # fmt: skip
