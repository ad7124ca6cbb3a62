"""The experiment memory over emulated servers: what is seen, how it goes on, its notebook."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest

from heavyweight import store
from heavyweight.emulator.paging import BLOCK_TOKENS, BLOCKS
from heavyweight.errors import BadInput, StoreError
from heavyweight.experiments import kv_probe
from heavyweight.experiments.footprint import Footprint
from heavyweight.experiments.memory import KV, LOADED, READY, Memory
from heavyweight.parameters import Parameters
from heavyweight.records import Probe

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROFILE = """
[profiles.memory-emulated]
about = "memory of emulated servers"
experiment = "memory"
model = "emulated"
arms = ["emulated-slots", "emulated-batch"]
users = [1, 2]
output_tokens = 16
blocks = 1
min_seconds = 0.2
min_requests = 30
min_waves = 4
cap_seconds = 60
session_minutes = { emulated-slots = 0.2, emulated-batch = 0.2 }
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of its own with a profile of this experiment over emulated servers."""
    (tmp_path / "study.toml").write_text((ROOT / "study.toml").read_text() + PROFILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def session(arm: str, **more: object) -> Memory:
    return Memory(Parameters.checked({"arm": arm, "profile": "memory-emulated", **more}))


def probes(of: Memory) -> dict[str, Probe]:
    return {probe.probe: probe for probe in store.SessionFolder(of.path).probes()}


def test_a_server_in_the_manner_of_vllm(study: Path) -> None:
    one = session("emulated-batch")
    assert [str(step) for step in one.missing][:2] == [READY, LOADED]
    one.start()
    assert set(probes(one)) == {READY, LOADED}, "on disk as soon as they were seen"
    table = one.measure()
    assert one.missing == []
    stopped = one.stop()
    assert stopped["complete"]
    found = probes(one)
    assert set(found) == {READY, LOADED, "memory-n0001", "memory-n0002", KV}
    assert set(table["moment"]) == set(found) - {KV}
    assert [file.cell.users for file in store.SessionFolder(one.path).cells()] == [1, 2]
    for name in ("memory-n0001", "memory-n0002"):
        peak, now = found[name].trials
        assert (peak["reading"], now["reading"]) == ("peak", "now")
        assert peak["pss_bytes"] >= now["pss_bytes"] > 0
        assert peak["rss_bytes"] >= peak["private_bytes"]
        assert found[name].value == peak["pss_bytes"]
        assert peak["samples"] >= 2
        assert peak["kv_reserved_tokens"] == BLOCKS * BLOCK_TOKENS
        assert found[name].answer == "unknown", "an emulated server has no weights"
    assert all(probe.emulated and probe.start_id == 1 for probe in found.values())

    cache = found[KV]
    assert cache.answer == "yes"
    *readings, idle = cache.trials
    assert len(readings) >= 3
    assert (idle["moment"], idle["assigned_tokens"]) == ("idle", 0)
    for row in readings:
        assert row["sequences"] == 8
        assert row["block_tokens"] == BLOCK_TOKENS
        assert 0 <= row["wasted_tokens_per_sequence"] <= BLOCK_TOKENS
        assert row["tokens_in_flight"] <= row["assigned_tokens"] < row["reserved_tokens"]
        most = 8 * (kv_probe.OUTPUT_TOKENS + 80)
        assert 8 * kv_probe.EVERY_CHUNKS < row["tokens_by_client"] < most
    grown = [row["tokens_in_flight"] for row in readings]
    assert grown == sorted(grown)
    assert grown[-1] > grown[0]


def test_a_server_whose_slots_have_a_part_each_wastes_what_they_do_not_use(study: Path) -> None:
    one = session("emulated-slots", users=[1])
    one.start()
    one.measure()
    one.stop()
    cache = probes(one)[KV]
    assert cache.answer == "no"
    for row in cache.trials:
        assert row["sequences"] == 1
        assert row["assigned_tokens"] == row["reserved_tokens"] == 2048
        assert row["tokens_in_flight"] == row["tokens_by_client"] > 0
        assert row["wasted_share"] == pytest.approx(1 - row["tokens_in_flight"] / 2048)
    assert 0.8 < cache.value < 1


def test_what_was_seen_is_not_looked_at_again(study: Path) -> None:
    first = session("emulated-batch", users=[1])
    first.start()
    first.close()  # interrupted before its loads
    kept = {p: p.stat().st_mtime_ns for p in first.path.glob("probe-*.json")}
    assert len(kept) == 2

    second = session("emulated-batch", users=[1])
    assert [str(step) for step in second.missing] == [*map(str, second.setting.loads), KV]
    second.start()
    second.measure()
    assert second.stop()["complete"]
    assert kept == {p: p.stat().st_mtime_ns for p in kept}
    assert probes(second)[KV].start_id == 2

    third = session("emulated-batch", users=[1])
    assert third.start()["state"] == "measured already"
    assert len(third.record.starts) == 2


def test_a_load_whose_memory_was_not_seen_is_repeated_for_its_memory_alone(study: Path) -> None:
    one = session("emulated-batch", users=[1])
    one.start()
    one.measure()
    one.stop()
    (cell,) = store.SessionFolder(one.path).cells()
    written_ns = cell.path.stat().st_mtime_ns
    (one.path / "probe-memory-n0001.json").unlink()

    again = session("emulated-batch", users=[1])
    assert again.missing == list(again.setting.loads)
    again.start()
    again.measure()
    assert again.stop()["complete"]
    assert "memory-n0001" in probes(again)
    assert len(store.SessionFolder(one.path).cells()) == 1
    assert cell.path.stat().st_mtime_ns == written_ns


def test_streams_that_fail_leave_the_question_open(study: Path) -> None:
    one = session("emulated-batch", users=[1])
    one.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kv_probe, "OUTPUT_TOKENS", 4)  # over before they can be read
        one.measure()
    one.stop()
    cache = probes(one)[KV]
    assert (cache.answer, cache.trials, cache.value) == ("unknown", [], None)
    assert "never in flight together" in cache.why


def test_a_gpu_that_does_not_answer_leaves_the_value_out(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, written = session("emulated-batch"), {}
    monkeypatch.setattr(Memory, "_write", lambda _, name, question, **seen: written.update(seen))
    silent = Footprint(1, 1, 100, 80, 80, 50, 30, 20, 120, vram_bytes=None, on_gpu=True)
    of._write_memory(READY, {"now": silent}, None)
    assert (written["answer"], written["value"]) == ("unknown", None)
    assert "not told" in written["why"]
    of._write_memory(READY, {"now": replace(silent, vram_bytes=7)}, None)
    assert written["value"] == 7


def test_a_server_that_is_not_ours_cannot_be_looked_at(study: Path) -> None:
    with pytest.raises(BadInput, match="does not start that server"):
        session("openai", base_url="http://127.0.0.1:9/v1")


def test_a_profile_of_another_experiment_is_refused(study: Path) -> None:
    with pytest.raises(BadInput, match="experiment session"):
        Memory(Parameters.checked({"arm": "emulated-batch", "profile": "emulated"}))


def test_a_probe_is_written_once(study: Path) -> None:
    one = session("emulated-batch")
    one.path.mkdir(parents=True)
    one._write("twice", "Is it asked?", answer="yes", why="it is")
    with pytest.raises(StoreError, match="exists already"):
        one._write("twice", "Is it asked?", answer="no", why="it is not")


def test_a_server_that_died_says_so_in_place_of_a_number(study: Path) -> None:
    one = session("emulated-batch", users=[1])
    one.start()
    one.server.process._popen.kill()
    one.server.process.wait(10)
    table = one.measure()  # started again
    one.stop()
    assert len(one.record.starts) == 2
    assert probes(one)["memory-n0001"].start_id == 2
    assert (table.loc[table["moment"] == "memory-n0001", "pss_MB"] > 0).all()


def left_over(run: Path) -> list[int]:
    groups = {
        start.pgid for one in store.RunFolder.open(run).sessions() for start in one.record.starts
    }
    assert groups
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) in groups:
                found.append(pid)
    return found


@pytest.mark.notebook
def test_the_notebook_by_plain_papermill(study: Path, tmp_path: Path) -> None:
    given = {"arm": "emulated-batch", "profile": "memory-emulated", "users": "[2]"}
    command = [BIN / "papermill", ROOT / "notebooks" / "memory.ipynb", tmp_path / "out.ipynb",
               "--no-progress-bar"]  # fmt: skip
    for name, value in given.items():
        command += ["-p", name, value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / "data" / "runs" / "by-hand-memory"
    (folder,) = store.RunFolder.open(run).sessions()
    assert folder.record.complete
    assert folder.record.experiment == "memory"
    assert len(folder.probes()) == 4
    told = str(nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs)
    assert "complete" in told
    assert not left_over(run)
