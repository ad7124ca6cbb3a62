"""What other tools measured becomes a run here: the same numbers, nothing invented, no verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from heavyweight import claims, records
from heavyweight.errors import BadInput, StoreError
from heavyweight.estimates import Assessment, assess, summary
from heavyweight.figures import Provenance
from heavyweight.importing import Source, read, write_run
from heavyweight.records import REQUEST_SCHEMA, ErrorClass
from heavyweight.sealing import Sums
from heavyweight.stats.requests import Requests
from heavyweight.store import RunFolder, write_cell
from heavyweight.together import together
from tests.synthetic import LIMITS
from tests.synthetic import write_run as synthetic_run

SAMPLES = Path(__file__).parents[1] / "data" / "imports"
FILES = {
    "vllm-closed": SAMPLES / "vllm-closed.json",
    "vllm-open": SAMPLES / "vllm-open.json",
    "vllm-resets": SAMPLES / "vllm-resets.json",
    "guidellm-two": SAMPLES / "guidellm-two.json",
    "guidellm-open": SAMPLES / "guidellm-open.json",
    "guidellm-resets": SAMPLES / "guidellm-resets.json",
    "aiperf-closed": SAMPLES / "aiperf-closed" / "profile_export.jsonl",
    "aiperf-refused": SAMPLES / "aiperf-refused" / "profile_export.jsonl",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Every sample as a run of its own."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: write_run(folder, name, [Source(read(path), "theirs")], LIMITS)
        for name, path in FILES.items()
    }


def cells(run: RunFolder) -> list[Requests]:
    files = [file for session in run.sessions() for file in session.cells()]
    return [Requests.read(file.requests(), file.cell) for file in files]


def told(name: str) -> dict[str, Any]:
    return json.loads(FILES[name].read_text())


@pytest.mark.parametrize("name", ["vllm-closed", "vllm-open", "vllm-resets"])
def test_vllms_own_totals_are_those_of_the_rows(runs: dict[str, RunFolder], name: str) -> None:
    said, [r] = told(name), cells(runs[name])
    assert r.tokens_in_window == said["total_output_tokens"]
    assert (np.sum(~r.failed), np.sum(r.failed)) == (said["completed"], said["failed"])
    for quantity, ours in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl")):
        mean = r.latencies_ms(ours, failures=False).mean()  # type: ignore[arg-type]
        if name == "vllm-resets" and quantity == "itl":
            continue  # the tool counts the gaps of failed requests, too
        if quantity == "tpot":
            # The tool divides up to the usage event, which is later than the last chunk.
            assert mean == pytest.approx(said["mean_tpot_ms"], rel=0.05)
        else:
            assert mean == pytest.approx(said[f"mean_{quantity}_ms"], rel=1e-4)
    assert r.tokens_per_s == pytest.approx(said["output_throughput"], rel=0.1)
    assert r.window_s <= said["duration"]


@pytest.mark.parametrize("name", ["guidellm-two", "guidellm-resets"])
def test_guidellms_own_totals_are_those_of_the_rows(runs: dict[str, RunFolder], name: str) -> None:
    benchmarks = told(name)["benchmarks"]
    found = cells(runs[name])
    assert len(found) == len(benchmarks)
    for r, one in zip(found, benchmarks, strict=True):
        said = {k: v["successful"]["mean"] for k, v in one["metrics"].items()}
        good = r.latencies_ms("ttft", failures=False)
        assert good.size == len(one["requests"]["successful"])
        assert good.mean() == pytest.approx(said["time_to_first_token_ms"], rel=1e-4)
        e2e = r.latencies_ms("e2e", failures=False)
        assert e2e.mean() / 1e3 == pytest.approx(said["request_latency"], rel=1e-4)
        if not one["requests"].get("errored"):
            assert r.tokens_per_s == pytest.approx(said["output_tokens_per_second"], rel=0.02)


def test_an_open_loop_counts_from_due_as_guidellms_scheduled_latency_does(
    runs: dict[str, RunFolder],
) -> None:
    [r] = cells(runs["guidellm-open"])
    said = told("guidellm-open")["benchmarks"][0]["metrics"]["request_scheduled_latency"]
    assert r.cell.loop == "open"
    assert r.latencies_ms("e2e").mean() / 1e3 == pytest.approx(said["successful"]["mean"], rel=1e-4)


@pytest.mark.parametrize("name", ["aiperf-closed", "aiperf-refused"])
def test_aiperfs_own_totals_are_those_of_the_rows(runs: dict[str, RunFolder], name: str) -> None:
    said = json.loads((FILES[name].parent / "profile_export_aiperf.json").read_text())
    [r] = cells(runs[name])
    assert r.tokens_in_window == said["total_output_tokens"]["avg"]
    for quantity, theirs in (
        ("ttft", "time_to_first_token"), ("e2e", "request_latency"), ("tpot", "inter_token_latency")
    ):  # fmt: skip
        mean = r.latencies_ms(quantity, failures=False).mean()  # type: ignore[arg-type]
        assert mean == pytest.approx(said[theirs]["avg"], rel=1e-4)
    assert r.tokens_per_s == pytest.approx(said["output_token_throughput"]["avg"], rel=0.1)


def test_what_is_not_told_is_null_and_never_zero(runs: dict[str, RunFolder]) -> None:
    for name, run in runs.items():
        for session in run.sessions():
            record = session.record
            assert record.machine is record.server is record.emulated is record.artefact is None
            assert record.starts == []
            for file in session.cells():
                cell, rows = file.cell, file.requests()
                assert cell.machine_load is cell.seed is cell.start_id is cell.emulated is None
                assert cell.idle_after is None
                for column in ("user", "prompt_id", "start_id", "chunk_bytes", "headers_ns",
                               "handed_ns", "finish_reason"):  # fmt: skip
                    assert rows[column].null_count == len(rows), (name, column)
                if not name.startswith("guidellm"):
                    assert rows["due_ns"].null_count == len(rows)
    assert runs["vllm-closed"].sessions()[0].cells()[0].cell.output_tokens is None
    assert runs["aiperf-closed"].sessions()[0].cells()[0].cell.output_tokens == 16
    lists = cells(runs["guidellm-two"])[0].table["chunk_ns"].to_pylist()
    assert all(len(one) == 3 and one[1] is None for one in lists)
    lists = cells(runs["aiperf-closed"])[0].table["chunk_ns"].to_pylist()
    assert {len(one) for one in lists} == {16}
    assert cells(runs["guidellm-two"])[0].latencies_ms("itl").size == 0


def test_failures_are_rows_with_the_tools_words(runs: dict[str, RunFolder]) -> None:
    refused = cells(runs["aiperf-refused"])[0].table.to_pylist()
    bad = [row for row in refused if row["error"]]
    assert {(row["error"], row["status"]) for row in bad} == {("http_503", 503)}
    assert all("model is loading" in row["error_detail"] for row in bad)
    for name in ("vllm-resets", "guidellm-resets"):
        bad = [row for row in cells(runs[name])[0].table.to_pylist() if row["error"]]
        assert len(bad) == 2
        assert {row["error"] for row in bad} == {ErrorClass.NOT_TOLD.value}
        assert all(row["completion_tokens"] is None for row in bad)


def test_a_run_says_where_it_comes_from(runs: dict[str, RunFolder]) -> None:
    for name, run in runs.items():
        [record] = run.run.imported
        assert record.file == FILES[name].name
        assert run.sessions()[0].record.imported == record
        assert {cell.cell.imported for cell in run.sessions()[0].cells()} == {record.tool}
        words = f"IMPORTED from {record.source}: supports no verdict."
        assert any(words in line for line in Provenance.of(run).footer())
        assert records.imported_from(run.run.imported) == words
        sums = Sums.read(run.path)
        assert sums is not None
        assert sums.compared().intact
    assert runs["guidellm-two"].run.imported[0].version == "0.8.1"
    assert runs["aiperf-closed"].run.imported[0].version == "0.13.0"
    assert runs["vllm-closed"].run.imported[0].version is None


def test_checks_that_cannot_be_made_neither_pass_nor_fail(runs: dict[str, RunFolder]) -> None:
    checks = assess(runs["aiperf-closed"]).checks.set_index("check")
    untold = {"prompt tokens", "server", "client", "machine", "instrument"}
    assert set(checks.index[checks["passed"].isna()]) == untold
    assert checks.loc[sorted(untold), "detail"].str.startswith("cannot be told").all()
    assert checks["passed"].dropna().all()
    assert summary(assess(runs["aiperf-closed"]))["cells"] == {
        "measured": 1, "valid": 0, "invalid": 0, "untold": 1, "missing": 0,
    }  # fmt: skip
    bad = assess(runs["aiperf-refused"]).cells.iloc[0]
    assert not bad["valid"]
    assert "errors" in bad["reasons"]


@pytest.fixture(scope="module")
def assessed(runs: dict[str, RunFolder]) -> Assessment:
    return assess(runs["aiperf-closed"])


def test_imported_data_decide_nothing(assessed: Assessment) -> None:
    without = claims.judge_runs([], claims.Evidence.of())
    judged = claims.judge_runs([assessed], claims.Evidence.of())
    assert [one.answer for one in judged] == [one.answer for one in without]
    parts = [part for verdict in judged for part in verdict.parts]
    assert not any(part.told_by_run for part in parts)
    assert any("supports no verdict" in part.why for part in parts)


def test_an_imported_run_is_read_alone(runs: dict[str, RunFolder], tmp_path: Path) -> None:
    theirs = runs["aiperf-closed"]
    ours = synthetic_run(theirs.path.parent / "ours", users=(1,), blocks=1)
    memory = synthetic_run(theirs.path.parent / "beside", users=(1,), experiment="memory", blocks=1)
    assert together(theirs) == [theirs]
    assert [one.path for one in together(ours)] == [ours.path, memory.path]
    assert theirs.path not in [one.path for one in together(memory)]


def test_files_of_two_arms_are_one_run_with_a_ratio(tmp_path: Path) -> None:
    closed, opened = read(FILES["aiperf-closed"]), read(FILES["vllm-open"])
    sources = [
        Source(closed, "one"), Source(closed, "two", users=4),
        Source(opened, "two", prompt_tokens=32, output_tokens=16),
    ]  # fmt: skip
    run = write_run(tmp_path, "both", sources, LIMITS)
    assert [s.path.name for s in run.sessions()] == ["b01-one-1", "b01-two-2", "b01-two-3"]
    [row] = [r for r in summary(assess(run))["ratios"] if r["users"] == 4]
    assert (row["blocks"], row["ratio"]) == (1, pytest.approx(1))
    said = [session.record.imported for session in run.sessions()]
    assert [one.said for one in said if one] == [
        {}, {"users": "4"}, {"prompt_tokens": "32", "output_tokens": "16"},
    ]  # fmt: skip


def test_the_same_load_again_is_another_block(tmp_path: Path) -> None:
    found = read(FILES["vllm-closed"])
    run = write_run(tmp_path, "twice", [Source(found, "a"), Source(found, "a")], LIMITS)
    assert [s.record.block for s in run.sessions()] == [1, 2]
    assert run.run.blocks == 2
    assert len({cell.cell.cell_id for s in run.sessions() for cell in s.cells()}) == 2


def test_measured_rows_may_not_lack_what_only_imported_rows_lack(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "ours", users=(1,), blocks=1)
    file = run.sessions()[0].cells()[0]
    rows = [row | {"due_ns": None} for row in file.requests().to_pylist()]
    table = pa.Table.from_pylist(rows, schema=records.IMPORTED_SCHEMA)
    with pytest.raises(ValueError, match="null"):
        write_cell(tmp_path, file.cell, table)
    assert records.IMPORTED_SCHEMA.names == REQUEST_SCHEMA.names


def test_aiperf_without_its_summary_needs_to_be_told_the_load(tmp_path: Path) -> None:
    alone = tmp_path / "profile_export.jsonl"
    alone.write_bytes(FILES["aiperf-closed"].read_bytes())
    found = read(alone)
    with pytest.raises(BadInput, match="--users or --rate"):
        write_run(tmp_path / "runs", "x", [Source(found, "a")], LIMITS)
    assert not (tmp_path / "runs").exists()
    run = write_run(tmp_path / "runs", "x", [Source(found, "a", users=4)], LIMITS)
    assert run.run.imported[0].version is None
    (tmp_path / "profile_export_aiperf.json").write_bytes(
        (FILES["aiperf-refused"].parent / "profile_export_aiperf.json").read_bytes()
    )
    with pytest.raises(BadInput, match="same profile"):
        read(alone)


def test_only_first_and_last_where_aiperf_tells_no_gaps(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in FILES["aiperf-closed"].read_text().splitlines()]
    for line in lines:
        del line["metrics"]["inter_chunk_latency"]
    path = tmp_path / "profile_export.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    run = write_run(tmp_path / "runs", "x", [Source(read(path), "a", users=4)], LIMITS)
    [r] = cells(run)
    assert all(one[1] is None for one in r.table["chunk_ns"].to_pylist())
    for line in lines:
        assert line["metrics"]["inter_token_latency"]["value"] > 0
    theirs = np.mean([line["metrics"]["inter_token_latency"]["value"] for line in lines])
    assert r.latencies_ms("tpot").mean() == pytest.approx(theirs, rel=1e-4)
    assert np.isnan(r.events_per_s)


def test_what_the_file_tells_cannot_be_said_otherwise(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="leave the option out"):
        write_run(tmp_path, "x", [Source(read(FILES["vllm-closed"]), "a", users=5)], LIMITS)


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a\x00b", "/tmp/x", "é"])
def test_no_name_leaves_the_folder_of_the_runs(tmp_path: Path, name: str) -> None:
    found = read(FILES["vllm-closed"])
    for run, arm in ((name, "arm"), ("run", name)):
        with pytest.raises(BadInput, match="is no name"):
            write_run(tmp_path / "runs", run, [Source(found, arm)], LIMITS)
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_there_is_kept(runs: dict[str, RunFolder]) -> None:
    there = runs["vllm-closed"]
    with pytest.raises(StoreError, match="nothing is overwritten"):
        write_run(there.path.parent, there.path.name,
                  [Source(read(FILES["vllm-open"]), "a")], LIMITS)  # fmt: skip
