"""Runs that are not whole: missing and damaged files, failures, restarts, other machines."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from heavyweight.errors import StoreError
from heavyweight.estimates import (
    assess,
    latency_table,
    ratio_table,
    summary,
    throughput_table,
)
from heavyweight.store import RunFolder
from tests.synthetic import ARMS, MACHINE, fail, write_run

SLOTS, BATCH = ARMS


def made(tmp_path, **changes):
    """A small run with changes, assessed."""
    options = {"users": (1, 4), "blocks": 3} | changes
    return assess(write_run(tmp_path / "run", **options))


def test_a_second_start_is_flagged_and_the_ratio_given_without_it(tmp_path):
    def restarted(session):
        if session.session != f"b02-{SLOTS.name}":
            return session
        second = session.starts[0].model_copy(update={"start_id": 2})
        return session.model_copy(update={"starts": [*session.starts, second]})

    run = made(tmp_path, edit_session=restarted)
    assert run.cells["valid"].all()
    note = ratio_table(run, "A").iloc[0]["note"]
    assert note.startswith("block 2 needed a second start (without: ")


def test_another_machine_than_the_calibrations_is_not_known(tmp_path):
    other = MACHINE.model_copy(update={"machine_id": "another"})

    def moved(session):
        here = session.block == 3 and session.arm == BATCH.name
        return session.model_copy(update={"machine": other}) if here else session

    cells = made(tmp_path, edit_session=moved).cells
    assert set(cells[~cells["valid"]]["reasons"]) == {"instrument"}
    assert (cells[~cells["valid"]]["machine_id"] == "another").all()


def test_a_run_without_calibration_is_shown_and_nothing_of_it_enters_a_number(tmp_path):
    run = made(tmp_path, calibrated=False)
    assert run.instrument.empty
    assert not run.cells["valid"].any()
    assert set(run.cells["reasons"]) == {"instrument"}
    assert summary(run)["work_ok"]
    assert ratio_table(run, "A")["ratio"].isna().all()
    assert latency_table(run, "ttft")["instrument_p99_ms"].isna().all()


def test_a_calibration_that_is_cut_off_is_told(tmp_path):
    folder = write_run(tmp_path / "run", users=(4,), blocks=1)
    (log,) = (folder.path / "instrument" / "busy").glob("*.server.parquet")
    log.write_bytes(log.read_bytes()[:50])
    run = assess(folder)
    assert any("busy/" in problem for problem in run.problems)
    assert not run.cells["valid"].any()


def test_arms_of_a_block_on_two_machines_are_no_pair(tmp_path):
    run = made(tmp_path)
    moved = (run.cells["block"] == 3) & (run.cells["arm"] == BATCH.name)
    run = replace(run, cells=run.cells.assign(
        machine_id=run.cells["machine_id"].mask(moved, "another")))  # fmt: skip
    assert set(ratio_table(run, "A")["blocks_left_out"]) == {"block 3 on two machines"}


def test_missing_cells_are_listed(tmp_path):
    gone = {(1, BATCH.name, 4), (3, SLOTS.name, 1), (3, SLOTS.name, 4)}
    run = made(tmp_path, skip=gone)
    assert set(run.missing[["block", "arm", "users"]].itertuples(index=False, name=None)) == gone
    assert run.missing["output_tokens"].isna().all(), "a run of one length tells none"
    table = ratio_table(run, "A").set_index("users")
    assert table.loc[4, "blocks"] == 1
    assert table.loc[4, "blocks_left_out"] == (
        f"block 1 {BATCH.name} not measured; block 3 {SLOTS.name} not measured"
    )
    assert not summary(run)["work_ok"]


def test_an_arm_that_is_not_there_yet(tmp_path):
    gone = [(b, BATCH.name, n) for b in (1, 2, 3) for n in (1, 4)]
    run = made(tmp_path, skip=gone)
    rows = throughput_table(run).set_index(["arm", "users"])
    assert math.isnan(rows.loc[(BATCH.name, 1), "tok_s"])
    assert rows.loc[(BATCH.name, 1), "note"] == "blocks 1, 2, 3 not measured"
    assert ratio_table(run, "A")["note"].tolist() == ["no valid block"] * 2
    assert len(latency_table(run, "e2e", [50])) == 4 + 6


def test_a_run_that_has_only_begun(tmp_path):
    folder = write_run(tmp_path / "run", users=(1, 4), blocks=0)
    run = assess(folder)
    assert run.cells.empty
    assert throughput_table(run)["tok_s"].isna().all()
    assert len(ratio_table(run, "A")) == 2
    assert set(latency_table(run, "ttft")["scope"]) == {"blocks"}
    result = summary(run)
    assert not result["work_ok"]
    json.dumps(result, allow_nan=False)


def test_all_requests_failed(tmp_path):
    def broken(cell, rows):
        failed = [fail(row, "refused") | {"sent_ns": None} for row in rows]
        return cell.model_copy(update={"ended": "errors"}), failed

    run = made(tmp_path, edit=broken)
    assert not run.cells["valid"].any()
    assert (run.cells["throughput_tok_s"] == 0).all()
    assert np.isinf(run.cells["ttft_p50_ms"]).all()
    json.dumps(summary(run), allow_nan=False)


def test_a_cell_without_rows_or_window(tmp_path):
    def nothing(cell, rows):
        return cell.model_copy(update={"window_start_ns": 0, "window_end_ns": 0}), []

    run = made(tmp_path, edit=nothing)
    assert not run.cells["valid"].any()
    assert run.cells["throughput_tok_s"].isna().all()
    assert ratio_table(run, "A")["blocks"].tolist() == [0, 0]


def test_files_that_were_cut_off_are_told(tmp_path):
    folder = write_run(tmp_path / "run", users=(1, 4), blocks=2)
    cell = folder.sessions()[0].cells()[0].path
    cell.write_bytes(cell.read_bytes()[:100])
    (folder.sessions()[2].path / "session.json").write_text("{")
    run = assess(RunFolder.open(folder.path))
    assert len(run.problems) == 2
    assert len(run.cells) == 8 - 1 - 2
    assert len(run.missing) == 3
    assert not summary(run)["work_ok"]


def test_failures_are_infinite_and_beside_them_the_rest(tmp_path):
    def one(cell, rows):
        return cell, [fail(row) if i % 100 == 99 else row for i, row in enumerate(rows)]

    run = made(tmp_path, blocks=2, requests=400, edit=one)
    assert run.cells["valid"].all()
    rows = latency_table(run, "e2e", [50, 99]).query("scope == 'session'")
    assert (rows["failures"] == 4).all()
    p99 = rows[rows["percentile"] == 99]
    assert np.isinf(p99["high_ms"]).all()
    assert np.isfinite(p99["without_failures_ms"]).all()
    assert np.isfinite(rows[rows["percentile"] == 50]["high_ms"]).all()


def test_a_percentile_that_failures_reach_is_infinite_over_blocks_too(tmp_path):
    limits = {"errors_fraction": 0.2}

    def many(cell, rows):
        bad = cell.block == 2
        return cell, [fail(row) if bad and i % 8 == 7 else row for i, row in enumerate(rows)]

    folder = write_run(tmp_path / "run", users=(4,), blocks=3, requests=400, edit=many)
    loose = folder.run.model_copy(update={"limits": folder.run.limits | limits})
    run = assess(_with_run(folder, loose))
    assert run.cells["valid"].all()
    row = latency_table(run, "ttft", [95]).query("scope == 'blocks'").iloc[0]
    assert row["estimate_ms"] == math.inf
    assert row["note"] == "block 2 infinite (failures)"
    assert np.isfinite(row["without_failures_ms"])
    ratio = ratio_table(run, "A", "ttft_p95_ms").iloc[0]
    assert ratio["blocks"] == 2
    assert "block 2" in ratio["blocks_left_out"]


def _with_run(folder, record) -> RunFolder:
    (folder.path / "run.json").write_text(record.model_dump_json())
    return RunFolder.open(folder.path)


def test_a_run_without_its_limits(tmp_path):
    folder = write_run(tmp_path / "run", users=(1,), blocks=1)
    bare = folder.run.model_copy(update={"limits": {}})
    with pytest.raises(StoreError, match="has no limit"):
        assess(_with_run(folder, bare))


def test_a_cell_that_was_copied_counts_once(tmp_path):
    folder = write_run(tmp_path / "run", users=(1, 4), blocks=1)
    before = assess(folder)
    copied = folder.path / "b01-copy"
    shutil.copytree(folder.sessions()[0].path, copied)
    run = assess(folder)
    assert len(run.problems) == 2
    assert "repeats a cell" in run.problems[0]
    assert throughput_table(run).equals(throughput_table(before))
