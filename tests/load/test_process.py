"""Whole cells against emulated servers, through the process that measures them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from heavyweight import load, store
from heavyweight.errors import Stopped
from heavyweight.load import LoadSpec
from heavyweight.records import REQUEST_SCHEMA, Cell, ErrorClass
from tests.load.conftest import Emulated, inside, start_load

Start = Callable[..., Emulated]
Make = Callable[..., LoadSpec]


def measured(spec: LoadSpec) -> tuple[Cell, pd.DataFrame]:
    """Measure the cell and read it back, as the reading half does."""
    file = store.CellFile(load.measure(spec))
    assert file.requests().schema.equals(REQUEST_SCHEMA)
    return file.cell, store.frame(file)


@pytest.mark.parametrize("api", ["ollama", "vllm"])
def test_a_cell_accounts_for_every_token_and_agrees_with_the_servers_log(
    emulated: Start, spec: Make, api: str
) -> None:
    server = emulated("--api", api, "--slots", "2", "--tokens-per-chunk", "3")
    cell, rows = measured(spec(server.base_url, output_tokens=10))
    assert cell.ended == "complete"
    assert cell.idle_after is True
    assert cell.emulated
    assert cell.users == 3
    assert len(inside(cell, rows)) >= 12
    assert cell.window_end_ns - cell.window_start_ns >= 0.1e9
    assert cell.machine_load.elapsed_s > 0
    assert rows.error.isna().all()
    assert (rows.completion_tokens == 10).all()
    assert rows.request_id.is_unique
    assert rows.prompt_id.is_unique
    assert set(rows.user) == {0, 1, 2}
    assert (rows.sent_ns >= rows.due_ns).all()

    log = server.log()
    assert set(rows.request_id) <= set(log)
    for row in rows.itertuples():
        truth = log[row.request_id]
        tokens = np.array(truth["write_tokens"])
        written = np.array(truth["write_ns"])[tokens > 0]
        arrived = np.asarray(row.chunk_ns) + cell.origin_monotonic_ns
        assert len(arrived) == len(written) == 4  # 3 + 3 + 3 + 1 tokens
        assert tokens.sum() == row.completion_tokens
        assert truth["read_ns"] > row.sent_ns + cell.origin_monotonic_ns
        assert (arrived > written).all()
        assert row.done_ns + cell.origin_monotonic_ns > truth["write_ns"][-1]


def test_fifty_users_on_one_slot_queue_first_come_first_served(emulated: Start, spec: Make) -> None:
    server = emulated("--api", "ollama", "--slots", "1", "--ttft-ms", "3", "--itl-ms", "0.5")
    cell, rows = measured(spec(server.base_url, users=50, output_tokens=3, min_requests=30))
    assert cell.ended == "complete"
    assert rows.error.isna().all()
    log = server.log().values()
    by_read = sorted(log, key=lambda line: line["read_ns"])
    admitted = [line["admitted_ns"] for line in by_read]
    assert admitted == sorted(admitted)
    ends = [line["write_ns"][-1] for line in by_read]
    assert all(start >= end for start, end in zip(admitted[1:], ends[:-1], strict=True))
    # In the steady window everybody waits for the 49 others: the wait is nearly all.
    window = inside(cell, rows)
    assert len(window) >= 2 * 50
    waits = window.chunk_ns.map(lambda stamps: stamps[0]) - window.sent_ns
    whole = window.done_ns - window.sent_ns
    assert (waits / whole).median() > 0.9


def test_a_server_that_dies_leaves_error_rows_and_ends_the_cell(
    emulated: Start, spec: Make
) -> None:
    server = emulated("--slots", "16", "--ttft-ms", "50", "--itl-ms", "5")
    reports: list[dict[str, Any]] = []

    def kill_in_the_middle(state: dict[str, Any]) -> None:
        reports.append(state)
        if state["done"] >= 20:
            server.process.kill()

    path = load.measure(
        spec(server.base_url, users=10, output_tokens=20, min_requests=10_000), kill_in_the_middle
    )
    cell, rows = store.CellFile(path).cell, store.frame(store.CellFile(path))
    assert cell.ended == "errors"
    assert cell.idle_after is None
    failed = rows[rows.error.notna()]
    assert set(failed.error) == {ErrorClass.RESET, ErrorClass.REFUSED}
    assert 20 <= len(failed) <= 30  # 20 in a row, and what was in flight then
    assert (failed[failed.error == ErrorClass.RESET].completion_tokens.isna()).all()
    assert len(rows) - len(failed) >= 20
    assert cell.window_end_ns >= rows[rows.error.isna()].done_ns.max()
    assert set(reports[-1]) == {
        "phase", "done", "errors", "in_flight", "live_tok_s", "elapsed_s"
    }  # fmt: skip


def test_ctrl_c_discards_the_cell(emulated: Start, spec: Make, tmp_path: Path) -> None:
    server = emulated("--slots", "4")
    made = spec(server.base_url, min_requests=10_000, progress_path=tmp_path / "progress.json")
    process = start_load(made, tmp_path)
    while not made.progress_path.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "discarded" in said
    assert list(made.out_dir.iterdir()) == []


def test_a_stop_file_discards_the_cell(emulated: Start, spec: Make, tmp_path: Path) -> None:
    server = emulated("--slots", "4")
    stop = tmp_path / "stop"
    made = spec(server.base_url, min_requests=10_000, stop_path=stop)

    def ask(state: dict[str, Any]) -> None:
        if state["done"]:
            stop.touch()

    with pytest.raises(Stopped, match="discarded"):
        load.measure(made, ask)
    assert list(made.out_dir.iterdir()) == []


def test_an_interrupt_in_the_kernel_ends_the_load(emulated: Start, spec: Make) -> None:
    server = emulated("--slots", "4")
    made = spec(server.base_url, min_requests=10_000)
    main = threading.get_ident()

    def interrupt(state: dict[str, Any]) -> None:
        if state["done"]:
            signal.pthread_kill(main, signal.SIGINT)

    with pytest.raises(Stopped):
        load.measure(made, interrupt)
    assert list(made.out_dir.iterdir()) == []
    assert not [c for c in psutil.Process().children() if "heavyweight.load" in c.cmdline()]


def test_a_load_whose_parent_is_gone_stops(emulated: Start, spec: Make, tmp_path: Path) -> None:
    server = emulated("--slots", "4")
    made = spec(server.base_url, min_requests=10_000, parent_pid=os.getpid() + 1)
    process = start_load(made, tmp_path)
    process.communicate(timeout=20)
    assert process.returncode == 3
    assert list(made.out_dir.iterdir()) == []
