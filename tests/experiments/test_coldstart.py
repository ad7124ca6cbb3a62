"""Cold starts measured on emulated servers, and the page cache emptied of files of the test's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heavyweight import design, store
from heavyweight.errors import BadInput, NotReady
from heavyweight.experiments import coldstart, disk
from heavyweight.experiments.coldstart import (
    REQUESTS,
    ColdstartSession,
    conditions_of,
    full_speed_at,
)
from heavyweight.parameters import Parameters
from heavyweight.servers import emulated

ROOT = Path(__file__).parents[2]
STUDY = design.load_study(ROOT / "study.toml")
PROFILE = """
[profiles.cold]
about = "restarts of emulated servers"
experiment = "coldstart"
model = "emulated"
arms = ["emulated-slots", "emulated-batch", "openai"]
contrasts = { A = ["emulated-batch", "emulated-slots"] }
output_tokens = 8
blocks = 3
min_seconds = 1
min_requests = 30
min_waves = 4
cap_seconds = 60
"""
GIVEN = {"arm": "emulated-slots", "profile": "cold", "run": "cold"}


@pytest.fixture(autouse=True)
def study(tmp_path, monkeypatch) -> Path:
    """A study with a profile of cold starts; nobody's page cache is emptied but of its files."""
    (tmp_path / "study.toml").write_text((ROOT / "study.toml").read_text() + PROFILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(disk, "DROP_CACHES", tmp_path / "no such folder" / "drop_caches")
    return tmp_path


def session(**more: object) -> ColdstartSession:
    return ColdstartSession(Parameters.checked(GIVEN | more))


def test_a_server_is_started_once_under_each_condition(study) -> None:
    one = session()
    assert {c.name for c in one.planned} == {"warm", "disk cold"}
    one.start()
    table = one.measure()
    assert list(table["condition"]) == [c.name for c in one.planned]
    assert one.stop()["complete"]
    left = store.RunFolder.open(study / "data/runs/cold").sessions()[0].record
    assert left.complete
    assert left.experiment == "coldstart"
    assert left.emulated
    assert [start.start_id for start in left.starts] == [1, 2]
    for start in left.starts:
        cold = start.cold
        assert 0 < start.ready_ms < start.first_token_ms
        assert start.first_request_ttft_ms >= 20, "the emulated server's own time"
        assert list(cold.phases_ms) == ["process", "other", "first request"]
        assert sum(cold.phases_ms.values()) == pytest.approx(start.first_token_ms, rel=1e-12)
        assert cold.phases_ms["process"] == pytest.approx(start.ready_ms)
        assert cold.phases_ms["first request"] == pytest.approx(start.first_request_ttft_ms)
        assert len(cold.speeds_tok_s) == REQUESTS
        # 8 tokens in 20 ms and 7 gaps of 2 ms
        assert all(speed < 8 / 0.034 for speed in cold.speeds_tok_s)
        assert cold.full_speed_ms > start.first_token_ms + 34
        assert cold.dropped == ("fadvise" if cold.disk == "cold" else "")
        assert (study / "data/runs/cold" / left.session / start.log).exists()
    logs = sorted(p.name for p in one.path.glob("server-*.log"))
    assert logs == ["server-1.log", "server-2.log", "server-3.log"], "the first is not recorded"
    assert [start.log for start in left.starts] == logs[1:]


def test_an_interrupted_session_goes_on_with_what_is_missing(monkeypatch) -> None:
    begun = session(arm="emulated-batch")
    first, second = begun.planned
    measured = begun._measured

    def interrupted(condition: coldstart.Condition):
        if condition == second:
            raise KeyboardInterrupt
        return measured(condition)

    monkeypatch.setattr(begun, "_measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begun.measure()
    (kept,) = store.SessionFolder(begun.path).record.starts
    assert kept.cold.condition == first.name

    again = session(arm="emulated-batch")
    assert again.missing == [second]
    again.measure()
    assert again.stop()["complete"]
    starts = store.SessionFolder(begun.path).record.starts
    assert starts[0] == kept, "what is finished is not measured again"
    assert [start.cold.condition for start in starts] == [first.name, second.name]

    whole = session(arm="emulated-batch")
    assert whole.start()["state"] == "measured already"
    assert len(whole.measure()) == 2
    assert len(list(whole.path.glob("server-*.log"))) == 4, "nothing was started"
    whole.stop()


def test_a_server_that_does_not_start_is_told_and_leaves_no_start(monkeypatch) -> None:
    real = emulated.EmulatedServer.command
    monkeypatch.setattr(
        emulated.EmulatedServer, "command", lambda *a: [*real(*a), "--no-such-flag"]
    )
    one = session()
    with pytest.raises(NotReady, match="no-such-flag"):
        one.start()
    assert not store.SessionFolder(one.path).record.starts


def test_the_order_of_the_conditions_is_random_and_the_same_again() -> None:
    vllm = STUDY.arm("vllm-bf16")
    names = [c.name for c in conditions_of(vllm)]
    assert names == ["warm", "disk cold", "compile cold", "eager"]
    orders = [tuple(str(c) for c in session(block=block).planned) for block in range(1, 13)]
    assert len(set(orders)) == 2, "both orders of two conditions occur"
    assert orders == [tuple(str(c) for c in session(block=b).planned) for b in range(1, 13)]


def test_only_a_server_that_compiles_has_a_compile_cache() -> None:
    compiled = {arm: [c.compiled for c in conditions_of(STUDY.arm(arm))] for arm in STUDY.arms if
                STUDY.arm(arm).server != "openai"}  # fmt: skip
    assert compiled["ollama-q4"] == compiled["emulated-batch"] == ["none", "none"]
    assert compiled["vllm-bf16"] == ["warm", "warm", "cold", "eager"]
    eager = STUDY.arm("vllm-bf16").model_copy(update={"flags": ["--enforce-eager"]})
    assert [c.compiled for c in conditions_of(eager)] == ["eager", "eager"]


def test_a_server_of_somebody_elses_is_refused() -> None:
    one = session(arm="openai", base_url="http://127.0.0.1:9")
    with pytest.raises(BadInput, match="does not start"):
        one.start()


def test_where_nothing_empties_the_page_cache_the_condition_is_left_out(monkeypatch) -> None:
    monkeypatch.delattr(disk.os, "posix_fadvise")
    one = session()
    assert [c.name for c in one.planned] == ["warm"]
    assert "disk cold" in one.start()["left out"]
    one.measure()
    assert one.stop()["complete"]
    assert set(store.SessionFolder(one.path).record.left_out) == {"disk cold"}


def test_an_empty_compile_cache_is_gone_after_its_start(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path / "cache"))
    one = session()
    left = tmp_path / "cache" / f"{coldstart.EMPTY_CACHE}of-a-crash"
    left.mkdir(parents=True)
    with one._arm(coldstart.Condition("compile cold", compiled="cold")) as arm:
        folder = Path(arm.env["VLLM_CACHE_ROOT"])
        assert folder.parent == tmp_path / "cache"
        assert list(folder.iterdir()) == []
        assert not left.exists()
        assert set(arm.env) == {"VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"}
    assert not folder.exists()
    with one._arm(coldstart.Condition("eager", compiled="eager")) as arm:
        assert arm.flags == ["--enforce-eager"]
    with one._arm(coldstart.Condition("warm")) as arm:
        assert arm == one.setting.arm
    one.close()


@pytest.mark.parametrize(
    ("speeds", "place"),
    [
        ([], None),
        ([50.0], 0),
        ([10, 20, 46, 50, 50, 50], 2),
        ([60, 50, 50, 50], 0),  # faster than later: at full speed
        ([10, 20, 30, 40, 50, 100], 4),
    ],
)
def test_full_speed_is_nine_tenths_of_what_follows(speeds: list[float], place: int | None) -> None:
    assert full_speed_at(speeds) == place


# ------------------------------------------------------------------ the page cache


def test_the_kernel_is_asked_where_it_may_be(tmp_path, monkeypatch) -> None:
    asked = tmp_path / "drop_caches"
    asked.touch()
    monkeypatch.setattr(disk, "DROP_CACHES", asked)
    assert disk.can_drop()
    assert disk.drop([]) == "drop_caches"
    assert asked.read_text() == "1\n"


def test_else_the_files_are_dropped_one_by_one(tmp_path) -> None:
    folder = tmp_path / "weights"
    (folder / "inside").mkdir(parents=True)
    for name in ("a", "inside/b"):
        (folder / name).write_bytes(bytes(1 << 20))
    (folder / "dangling").symlink_to(tmp_path / "nothing")
    alone = tmp_path / "alone"
    alone.write_bytes(b"1")
    given = [folder, alone, tmp_path / "not there"]
    found = {path.relative_to(tmp_path).as_posix() for path in disk.regular(given)}
    assert found == {"weights/a", "weights/inside/b", "alone"}
    assert disk.can_drop()
    assert disk.drop(given) == "fadvise"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/io is Linux's")
def test_what_was_dropped_is_read_from_the_disk_again(tmp_path, study) -> None:
    """A process that reads a file reads it from the disk only when its pages were dropped."""
    big = tmp_path / "big"
    big.write_bytes(b"0" * (8 << 20))
    code = f"open({str(big)!r}, 'rb').read(); print('read', flush=True); input()"

    def read_by_a_process() -> int | None:
        with subprocess.Popen(
            [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == b"read\n"
            found = disk.read_bytes(process.pid)
            process.communicate(b"\n")
        return found

    big.read_bytes()
    warm = read_by_a_process()
    if warm is None:
        pytest.skip("the system does not tell what a process has read")
    disk.drop([big])
    cold = read_by_a_process()
    if cold == warm:
        pytest.skip("this file system keeps its pages")
    assert cold - warm > 7 << 20


# ------------------------------------------------------------------ the notebook


@pytest.mark.notebook
def test_the_notebook_goes_on_with_a_session(study) -> None:
    """Only its warm start is made by the notebook, so that no page cache is emptied by a test."""
    one = session()
    one.measure()
    one.stop()
    kept = [start for start in one.record.starts if start.cold.condition == "disk cold"]
    one._save(starts=kept, complete=False)
    shutil.copytree(ROOT / "notebooks", study / "notebooks")
    command = [Path(sys.executable).parent / "papermill", "notebooks/coldstart.ipynb", "out.ipynb"]
    for name, value in GIVEN.items():
        command += ["-p", name, value if isinstance(value, str) else json.dumps(value)]
    done = subprocess.run(
        [*command, "--no-progress-bar"], cwd=study, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    left = store.SessionFolder(one.path).record
    assert left.complete
    assert left.starts[0] == kept[0]
    assert [start.cold.condition for start in left.starts] == ["disk cold", "warm"]
