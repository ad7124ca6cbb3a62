"""One command at a time works on a run; a folder that cannot be written to is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.kills import small_study
from heavyweight import runner
from heavyweight.progress import STATE_FILE

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.notebook


@pytest.fixture
def root(tmp_path: Path):
    with small_study(tmp_path / "study") as place:
        yield place


def study_run(root: Path, *more: str, **options: object) -> subprocess.CompletedProcess:
    """The command, in its own folder; see the profile of benchmarks.kills."""
    return subprocess.run(
        [BIN / "heavyweight", "study", "run", "--profile", "kills", "--run", "r", *more],
        cwd=root, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def test_a_second_command_in_the_same_folder_is_refused_and_disturbs_nothing(root: Path) -> None:
    run = root / "data" / "runs" / "r"
    run.mkdir(parents=True)
    (run / STATE_FILE).write_text('{"session": "of the first"}')
    with FileLock(run / runner.LOCK_FILE):
        second = study_run(root)
    assert second.returncode == 2
    assert "another `heavyweight study run` works on r" in second.stderr
    assert "Traceback" not in second.stderr
    assert (run / STATE_FILE).read_text() == '{"session": "of the first"}'
    assert not list(run.glob("*/*.ipynb"))


def mounted(root: Path, options: str, then: str) -> subprocess.CompletedProcess:
    """Run a command with data/runs on a file system of its own, in a mount namespace."""
    runs = root / "data" / "runs"
    runs.mkdir(parents=True)
    script = f"mount -t tmpfs -o {options} none {runs} && {then}"
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        cwd=root, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount in a namespace here: {done.stderr.strip()[:100]}")
    return done


COMMAND = "heavyweight study run --profile kills --run r"


def test_a_disk_that_fills_up_is_named_and_the_study_goes_on(root: Path) -> None:
    runs = root / "data" / "runs"
    script = (
        f"(while [ ! -e {runs}/r/instrument/instrument.json ]; do sleep 0.2; done; "
        f"dd if=/dev/zero of={runs}/ballast bs=64k 2>/dev/null) & "
        f"{COMMAND}; echo first $?; {COMMAND}; echo second $?; "
        f"rm {runs}/ballast; {COMMAND}; echo third $?"
    )
    done = mounted(root, "size=22m", script)
    assert done.stdout.split("\n")[:2] == ["first 2", "second 2"], done.stdout + done.stderr
    assert done.stderr.count("No space left on device") == 2
    assert done.stderr.count("free some space") == 2
    assert "third 0" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_to_is_refused(root: Path) -> None:
    runs = root / "data" / "runs"
    script = f"mkdir {runs}/r && mount -o remount,ro {runs} && {COMMAND}; echo first $?"
    done = mounted(root, "size=10m", script)
    assert "first 2" in done.stdout, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_session_whose_command_is_gone_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    import psutil

    from heavyweight.processes import RUNNER, Known
    from heavyweight.servers import lock

    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    dead = Known.of(psutil.Process(gone.pid))
    gone.wait()
    code = (
        "import time; from heavyweight.servers.lock import SessionLock\n"
        "with SessionLock(): print('held', flush=True); time.sleep(1.0)"
    )
    monkeypatch.setenv(RUNNER, dead.model_dump_json())
    session = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert session.stdout is not None
    assert session.stdout.readline() == "held\n"
    told: list[str] = []
    started = time.monotonic()
    waiting = lock.SessionLock(told.append)
    waiting.await_orphan()
    assert session.wait(10) == 0
    assert time.monotonic() - started > 0.1, "it held the machine for a second"
    assert told == ["the session of a command that was killed is stopping: waiting"]
    with waiting:
        pass
