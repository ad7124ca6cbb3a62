"""A calibration: measured once per load, resumed, and everything stopped that it started."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from heavyweight import machine
from heavyweight.calibrations import InstrumentFolder, log_path
from heavyweight.design import Calibration
from heavyweight.errors import BadInput, NotReady, SessionBusy, Stopped, StoreError
from heavyweight.estimates import instrument_table
from heavyweight.instrument import calibrate, cells_of, processes
from heavyweight.instrument.processes import core_list, own_cores
from heavyweight.parameters import InstrumentParameters
from heavyweight.servers.lock import SessionLock
from tests.calibrated import write_calibration

SHORT = Calibration(ttft_ms=5, itl_ms=1, output_tokens=4, seconds=0.2)
GIVEN = {"run": "r", "seed": 7}
TWO = pytest.mark.skipif(len(machine.usable_cores()) < 2, reason="needs two cores")


def stamps(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.parquet")}


def started() -> list[str]:
    """Emulated servers and busy work that live below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # ended, and not waited for yet
            line = " ".join(process.cmdline())
            if "heavyweight.emulator" in line or "heavyweight.instrument.busy" in line:
                found.append(line)
    return found


@TWO
def test_each_load_once_in_each_setting_and_more_loads_later(tmp_path: Path) -> None:
    folder = tmp_path / "instrument"
    told = []
    record = calibrate(
        folder, SHORT, users=[2], **GIVEN, on_progress=lambda *state: told.append(state[:2])
    )
    assert record.complete
    assert record.settings == ["alone", "busy", "saturation"]
    assert not record.left_out
    assert record.client_cores != record.server_cores
    pairs = InstrumentFolder(folder).pairs()
    assert [(pair.setting, pair.client.cell.users) for pair in pairs] == [
        ("alone", 2), ("busy", 2), ("saturation", 64),
    ]  # fmt: skip
    for pair in pairs:
        assert pair.client.cell.emulated
        seen = set(pair.client.requests()["request_id"].to_pylist())
        assert seen <= set(pair.server()["request_id"].to_pylist())
    bound = [pair.client.cell.client["affinity"] for pair in pairs]
    assert bound[0] == bound[2] == str(record.client_cores[0])
    assert bound[1] == ",".join(map(str, machine.usable_cores()))
    busy = pairs[1].client.cell.machine_load
    assert busy.other_cpu_s > pairs[0].client.cell.machine_load.other_cpu_s
    assert not started()
    assert not list(folder.glob(".measuring*"))

    table = instrument_table(folder)
    assert (table["unmatched"] == 0).all()
    assert (table["requests"] > 0).all()
    before = stamps(folder)
    calibrate(folder, SHORT, users=[2], **GIVEN)
    assert stamps(folder) == before, "finished loads are not measured again"
    calibrate(folder, SHORT, rates=[30.0], settings=["busy"], **GIVEN)
    after = stamps(folder)
    assert before.items() <= after.items()
    names = [pair.client.path.name.partition("-")[0] for pair in InstrumentFolder(folder).pairs()]
    assert names.count("r0030.0") == 2, "a new load is measured in every setting"
    assert InstrumentFolder(folder).record.users == [2]


def test_a_machine_with_one_core_leaves_out_what_needs_two(tmp_path: Path, monkeypatch) -> None:
    core = machine.usable_cores()[:1]
    monkeypatch.setattr(machine, "usable_cores", lambda: core)
    assert [one.setting for one in cells_of([1, 4])] == ["busy", "busy"]
    record = calibrate(tmp_path / "i", SHORT, users=[1], **GIVEN)
    assert record.settings == ["busy"]
    assert set(record.left_out) == {"alone", "saturation"}
    assert "one" in record.left_out["alone"]
    assert list(instrument_table(tmp_path / "i")["setting"]) == ["busy"]


def test_another_timing_or_machine_does_not_go_on(tmp_path: Path, monkeypatch) -> None:
    calibrate(tmp_path, SHORT, settings=["busy"], **GIVEN)
    with pytest.raises(StoreError, match="itl_ms = 1"):
        calibrate(tmp_path, SHORT.model_copy(update={"itl_ms": 2}), **GIVEN)
    other = machine.describe().model_copy(update={"machine_id": "f" * 64})
    monkeypatch.setattr(machine, "describe", lambda: other)
    with pytest.raises(StoreError, match="another machine"):
        calibrate(tmp_path, SHORT, **GIVEN)


def test_a_stop_keeps_what_is_finished_and_stops_all_that_was_started(tmp_path: Path) -> None:
    folder, stop = tmp_path / "i", tmp_path / "stop"
    (folder / ".measuring-left-by-a-crash").mkdir(parents=True)
    kept = write_calibration(tmp_path / "kept", machine.describe(), users=[4], settings=["busy"])
    shutil.copytree(kept / "busy", folder / "busy")
    before = stamps(folder)
    threading.Timer(1.5, stop.touch).start()
    long = SHORT.model_copy(update={"seconds": 60})
    begun = time.monotonic()
    with pytest.raises(Stopped):
        calibrate(folder, long, users=[1], settings=["busy"], stop_path=stop, **GIVEN)
    assert time.monotonic() - begun < 50
    assert not started()
    assert not InstrumentFolder(folder).record.complete
    assert stamps(folder) == before
    assert not list(folder.glob(".measuring*"))


def test_nothing_else_measures_at_the_same_time(tmp_path: Path) -> None:
    with SessionLock(), pytest.raises(SessionBusy):
        calibrate(tmp_path, SHORT, users=[1], **GIVEN)
    assert not stamps(tmp_path)


def test_a_requests_file_without_its_log_is_told(tmp_path: Path) -> None:
    folder = write_calibration(tmp_path, machine.describe(), users=[1], settings=["busy"])
    (pair,) = InstrumentFolder(folder).pairs()
    log_path(pair.client.path).unlink()
    with pytest.raises(StoreError, match="move"):
        instrument_table(folder)


def test_work_that_cannot_begin_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "READY", "never said")
    monkeypatch.setattr(processes, "READY_S", 0.5)
    with (
        pytest.raises(NotReady, match="keeps cores busy"),
        processes.busy_cores(tmp_path, 1, machine.usable_cores()),
    ):
        pass
    assert not started()


def test_the_busy_work_ends_with_the_one_who_wanted_it() -> None:
    """Its parent is a shell that is killed: it is not left over."""
    code = "import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-m', "
    code += "'heavyweight.instrument.busy', '1', str(os.getpid())]); "
    code += "print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as shell:
        pid = int(shell.stdout.readline())
        assert shell.stdout.readline().strip() == "ready"
        shell.kill()
    deadline = time.monotonic() + 20
    while works(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not works(pid)


def works(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("text", "cores"),
    [("0-1", {0, 1}), ("0,8\n", {0, 8}), ("0-1,4-5", {0, 1, 4, 5}), ("", set()), ("x,y", set())],
)
def test_the_kernels_list_of_cores(text: str, cores: set[int]) -> None:
    assert core_list(text) == cores


def test_client_and_server_share_no_core(monkeypatch) -> None:
    """Two threads of one core are the last choice."""
    monkeypatch.setattr(machine, "usable_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(processes.Path, "read_text", lambda *_: "0,2-3")
    assert own_cores() == (1, 0)
    monkeypatch.setattr(processes.Path, "read_text", lambda *_: "0-3")
    assert own_cores() == (3, 0)


def test_parameters_are_checked() -> None:
    assert InstrumentParameters.checked({"users": "[1, 8]", "rates": "[2.5]"}).rates == [2.5]
    with pytest.raises(BadInput, match="did you mean 'rates'"):
        InstrumentParameters.checked({"rate": "[1]"})
    with pytest.raises(BadInput, match="users"):
        InstrumentParameters.checked({"users": [0]})


def test_busy_work_whose_parent_was_gone_before_it_began_ends_at_once() -> None:
    """The parent may be killed while the work still loads; then init has adopted it."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-m", "heavyweight.instrument.busy", "2", str(gone.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
