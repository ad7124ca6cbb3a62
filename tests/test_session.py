"""The session notebook and the study's runner, over emulated servers, as a user calls them."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from heavyweight import design, load, progress, store
from heavyweight.calibrations import INSTRUMENT_FILE, InstrumentFolder
from heavyweight.paths import cache_dir
from heavyweight.processes import Known
from heavyweight.run import commit_of
from heavyweight.servers import Server
from heavyweight.servers.lock import HOLDER_FILE, Holder
from heavyweight.session.cell import measure_cell
from heavyweight.store import SESSION_FILE, write_json
from tests.experiments import probed

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.notebook


def papermill(out: Path, **parameters: object) -> subprocess.CompletedProcess:
    """Execute the session notebook by plain papermill, as a shell loop would."""
    command = [BIN / "papermill", ROOT / "notebooks" / "session.ipynb", out, "--no-progress-bar"]
    for name, value in parameters.items():
        command += ["-p", name, value if isinstance(value, str) else json.dumps(value)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def cells(run: Path) -> dict[str, int]:
    """Files of finished cells and when they were written."""
    return {
        str(p.relative_to(run)): p.stat().st_mtime_ns
        for p in run.glob("*/n????-????????????.parquet")
    }


def left_over(run: Path) -> list[int]:
    """Processes of the run's servers that still live: each server leads a session of its own."""
    folders = store.RunFolder.open(run).sessions()
    groups = {start.pgid for folder in folders for start in folder.record.starts}
    assert groups
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) in groups:
                found.append(pid)
    return found


@contextlib.contextmanager
def killed_session() -> Iterator[subprocess.Popen[bytes]]:
    """A server, and the record of the session that started it and is no more."""
    waits = [sys.executable, "-c", "import time; time.sleep(300)"]
    with subprocess.Popen(waits) as session:
        gone = Known.of(psutil.Process(session.pid))
        session.kill()
    with subprocess.Popen(waits, start_new_session=True) as server:
        known = Known.of(psutil.Process(server.pid))
        holder = Holder(holder=gone, since_utc="", server_pgid=server.pid, server=[known])
        write_json(cache_dir() / HOLDER_FILE, holder)
        try:
            yield server
        finally:
            server.kill()


def test_one_session_by_plain_papermill_and_again(tmp_path: Path) -> None:
    given = {"arm": "emulated-slots", "profile": "emulated", "users": "[2, 1]", "runs": tmp_path}
    given = {name: str(value) for name, value in given.items()}
    first = papermill(tmp_path / "out.ipynb", **given)
    assert first.returncode == 0, first.stderr[-3000:]
    run = store.RunFolder.open(tmp_path / "by-hand")
    assert run.run.emulated
    (session,) = run.sessions()
    assert session.record.complete
    assert session.record.starts[0].ready_ms > 0
    assert session.record.starts[0].open_ports == []
    assert session.record.starts[0].commit == commit_of(ROOT)[0]
    assert session.record.starts[0].first_token_ms > session.record.starts[0].ready_ms
    assert [file.cell.users for file in session.cells()] == [1, 2]
    for file in session.cells():
        rows = store.frame(file)
        assert rows.error.isna().all()
        assert (rows.completion_tokens == rows.output_tokens_asked).all()
        assert rows.prompt_id.is_unique
        in_window = rows.done_ns.between(
            file.cell.window_start_ns, file.cell.window_end_ns, inclusive="right"
        )
        assert in_window.sum() >= 30
    text = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "complete" in str(text.cells[-1].outputs)

    before = cells(run.path)
    again = papermill(tmp_path / "again.ipynb", **given)
    assert again.returncode == 0, again.stderr[-3000:]
    assert cells(run.path) == before
    assert len(session.record.starts) == 1, "nothing was missing, so nothing is started"
    assert not left_over(run.path)

    # As a kernel leaves it that is killed between its last load and the end of its server.
    write_json(session.path / SESSION_FILE, session.record.model_copy(update={"complete": False}))
    with killed_session() as server:
        third = papermill(tmp_path / "third.ipynb", **given)
        assert third.returncode == 0, third.stderr[-3000:]
        assert server.wait(10) < 0, "it was left over"
    assert session.record.complete
    assert cells(run.path) == before


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"arm": "emulated-slots", "usres": "[1]"}, "did you mean 'users'"),
        ({"arm": "emulatd-slots"}, "did you mean 'emulated-slots'"),
        ({"arm": "emulated-slots", "users": "[0]"}, "users"),
        ({"arm": "emulated-slots", "profile": "quik"}, "did you mean 'quick'"),
    ],
)
def test_a_mistyped_parameter_starts_and_writes_nothing(
    tmp_path: Path, parameters: dict, told: str
) -> None:
    runs = tmp_path / "runs"
    done = papermill(tmp_path / "out.ipynb", **parameters, runs=str(runs))
    assert done.returncode == 1
    assert told in done.stderr
    assert not runs.exists()


def heavyweight(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    """Run the command in the study's folder."""
    return subprocess.run(
        [BIN / "heavyweight", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.fixture
def run_name() -> str:
    """A run below data/runs that is removed afterwards."""
    import shutil

    name = f"test-{os.getpid()}"
    yield name
    shutil.rmtree(ROOT / "data" / "runs" / name, ignore_errors=True)


@pytest.mark.timeout(240)
def test_a_study_that_is_interrupted_goes_on_where_it_stopped(run_name: str) -> None:
    command = ("study", "run", "--profile", "emulated", "--blocks", "1", "--run", run_name)
    run = ROOT / "data" / "runs" / run_name
    first = subprocess.Popen(
        [BIN / "heavyweight", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while first.poll() is None and not cells(run):
        time.sleep(0.05)
    assert cells(run), first.stderr.read()
    while first.poll() is None and progress.read(run).get("phase") != "measure":
        time.sleep(0.05)  # in the middle of the next cell
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=120)
    assert first.returncode == 130, told
    assert "call again to go on" in told
    assert not left_over(run)

    kept = cells(run)
    calibrated_ns = (run / "instrument" / INSTRUMENT_FILE).stat().st_mtime_ns
    second = heavyweight(*command, "--json")
    assert second.returncode == 0, second.stderr
    after = cells(run)
    assert len(after) == 4
    assert len(list(run.glob("*/n*.telemetry.parquet"))) == 4
    assert kept.items() <= after.items(), "finished cells are not measured again"
    summary = json.loads(second.stdout)
    assert summary["emulated"] is True
    folder = store.RunFolder.open(run)
    calibration = InstrumentFolder.of(run)
    assert calibration.record.complete
    assert {pair.client.cell.users for pair in calibration.pairs()} >= {1, 4}
    assert (calibration.path / "instrument-1.ipynb").exists()
    assert calibrated_ns == (calibration.path / INSTRUMENT_FILE).stat().st_mtime_ns, "made once"
    assert all(session.record.complete for session in folder.sessions())
    restarted = [len(session.record.starts) for session in folder.sessions()]
    assert sorted(restarted) in ([1, 1], [1, 2])

    third = heavyweight(*command)
    assert third.returncode == 0, third.stderr
    assert "nothing to do" in third.stderr
    assert cells(run) == after

    assert not list(run.rglob("*.log")), "a finished session's logs are compressed"
    assert len(list(run.glob("*/server-1.log.gz"))) == 2
    for path in run.rglob("*"):
        if path.suffix in (".ipynb", ".json", ".gz", ".toml"):
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            assert str(Path.home()) + "/" not in text, path.name
            assert str(ROOT) not in text, path.name


def test_a_port_that_is_taken_is_named_and_nothing_is_measured(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"arm": "emulated-slots", "profile": "emulated", "port": taken.getsockname()[1]}
        done = papermill(tmp_path / "out.ipynb", **given, runs=str(tmp_path))
    assert done.returncode == 1
    assert f"port {given['port']} on 127.0.0.1 is taken" in done.stderr
    assert not cells(tmp_path / "by-hand")


def two_users(arm: design.Arm, server: Server, folder: Path) -> load.LoadSpec:
    """A small load on a server that runs."""
    return probed.setting(arm).load_spec(
        design.Load(2, 64, 16), server, run="test", model="emulated", folder=folder, start_id=1,
        stop_path=folder / "stop",
    )  # fmt: skip


def test_a_cell_that_ended_as_it_was_interrupted_keeps_its_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished cell is kept, and so is what was recorded beside it."""
    imitated = probed.arm(slots=4)
    whole = load.measure

    def interrupted(spec: load.LoadSpec, report: load.OnProgress | None) -> Path:
        whole(spec, report)
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "measure", interrupted)
    with probed.started(imitated, tmp_path) as server:
        spec = two_users(imitated, server, tmp_path)
        with pytest.raises(KeyboardInterrupt):
            measure_cell(server, spec, None)
    (cell,) = store.SessionFolder(tmp_path).cells()
    assert cell.telemetry() is not None


def test_a_load_of_another_machine_is_told_before_it_begins_and_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notebook that plain papermill executes says what `study run` says, cell by cell."""
    imitated = probed.arm(slots=4)

    def measured(spec: load.LoadSpec, report: load.OnProgress | None) -> Path:
        said = capsys.readouterr().out
        assert "at most 2 requests at once" in said
        assert "their-host" not in said
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "measure", measured)
    with probed.started(imitated, tmp_path) as server:
        spec = two_users(imitated, server, tmp_path)
        away = spec.model_copy(update={"base_url": "http://their-host:8000", "allow_remote": True})
        with pytest.raises(KeyboardInterrupt):
            measure_cell(server, away, None)
        monkeypatch.setattr(load, "measure", lambda spec, report: tmp_path)
        measure_cell(server, spec, None)
    assert capsys.readouterr().out == "", "nothing is told of a load of this machine"
