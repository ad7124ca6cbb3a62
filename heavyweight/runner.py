"""Run a study: each of its steps is one execution of a notebook by papermill.

Steps run in processes of their own. Ctrl-C asks the running one to stop by a file that its load
generator watches; what is finished is kept, and the next call goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from heavyweight import machine, processes, progress, sealing, store
from heavyweight.design import PlannedCalibration, Step
from heavyweight.errors import ServerError, SessionBusy, Stopped, StoreError, StudyError, by_name
from heavyweight.job import Job, elsewhere, without_hosts
from heavyweight.paths import scrub
from heavyweight.servers.lock import SessionLock, stop_left_over

State = Callable[[Step, dict[str, Any]], None]
NOTEBOOK = "notebooks/{}.ipynb"
LOCK_FILE = ".lock"
STOP_PATIENCE_S = 90.0
POLL_S = 0.25
KERNEL_ENDS_S = 3.0
LEAST_FREE_BYTES = 20_000_000  # a session of short cells takes about a tenth of it


def execute(job: Job, on_state: State) -> list[ServerError]:
    """Run what is left of a study.

    A session whose server does not start, or dies again and again, is left as it is, and the study
    goes on with the next.

    Args:
        job: the study.
        on_state: called several times a second with the step and its state.

    Returns:
        Why sessions could not be finished; empty: all were.

    Raises:
        Stopped: the user pressed Ctrl-C.
        StudyError: a session failed in another way; what was finished is kept.
    """
    failures: list[ServerError] = []
    with _alone(job.folder.path):
        SessionLock().await_orphan()
        stop_left_over()  # a session that has nothing left to measure takes no machine
        scrub_left_over(job.folder.path)
        sealing.seal(job.folder)  # refuses what is not as it was measured
        job.refuse_elsewhere(machine.describe().machine_id)
        (job.folder.path / progress.STOP_FILE).unlink(missing_ok=True)
        for step in job.left():
            _refuse_full_disk(job.folder.path)
            try:
                _execute_step(job, step, on_state)
            except ServerError as error:
                if isinstance(step, PlannedCalibration):
                    raise  # without it no cell could be VALID
                failures.append(error)
            sealing.seal(job.folder)
    return failures


def unfinished(failures: list[ServerError], name: str) -> ServerError:
    """One error for the sessions of a run that could not be finished."""
    told = "\n".join(str(failure) for failure in failures)
    return ServerError(
        f"{len(failures)} session(s) of {name} could not be finished:\n{told}",
        remedy="call again to try them once more; the others are measured and kept",
    )


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """One command at a time works on a run; the system lets go when it ends, however it ends."""
    lock = FileLock(run / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SessionBusy(
            f"another `heavyweight study run` works on {run.name}",
            "one at a time",
            "wait until it is done, or stop it with Ctrl-C where it runs",
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot write into {run.name}: {error.strerror or error}",
            "a folder that can be written to, on a disk with free space",
            "mend its owner or mode, free some space, or copy the run elsewhere; nothing is lost",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _refuse_full_disk(run: Path) -> None:
    free = shutil.disk_usage(run).free
    if free < LEAST_FREE_BYTES:
        raise StoreError(
            f"{free / 1e6:.1f} MB are free on the disk of {run.name}: No space left on device",
            f"{LEAST_FREE_BYTES / 1e6:.0f} MB or more",
            "free some space and call again to go on; what was finished is kept",
        )


def _parameters(job: Job, step: Step) -> dict[str, object]:
    """What a step's notebook is given."""
    shared: dict[str, object] = {
        "run": job.folder.path.name,  # a copy of a run goes on in its own folder
        "runs": os.path.relpath(job.folder.path.parent, job.root),
        "profile": job.profile.name,
    }
    if isinstance(step, PlannedCalibration):
        return {**shared, "users": list(step.users), "rates": list(step.rates)}
    if step.loaded and not job.profile.lengths:
        shared["users"] = list(step.users)
    return {**shared, "arm": step.arm, "block": step.block, "order": step.order, **job.extra}


def _execute_step(job: Job, step: Step, on_state: State) -> None:
    run, folder = job.folder.path, job.folder.path / step.name
    folder.mkdir(parents=True, exist_ok=True)
    notebook = "instrument" if isinstance(step, PlannedCalibration) else step.experiment
    executed = next(_free_names(folder, notebook))
    (run / progress.STATE_FILE).unlink(missing_ok=True)
    with (folder / ".papermill.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "papermill", NOTEBOOK.format(notebook), str(executed)),
                *("--no-progress-bar", "--log-level", "ERROR"),
                *("--kernel", "python3", "--language", "python"),  # where a notebook names none
                *("--parameters_yaml", json.dumps(_parameters(job, step))),
            ],
            cwd=job.root,
            env=processes.told_to_children(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
        )
    try:
        while process.poll() is None:
            on_state(step, progress.read(run))
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        _stop(process, run)
        raise Stopped(
            f"stopped in {step.name}",
            remedy="call again to go on; finished loads are kept",
        ) from None
    finally:
        _publish(executed, job)
    on_state(step, progress.read(run))
    if process.returncode:
        raise _failure(step, progress.read(run), folder / ".papermill.log")
    (folder / ".papermill.log").unlink(missing_ok=True)
    (run / progress.STATE_FILE).unlink(missing_ok=True)
    store.compress_logs(folder)


def _free_names(folder: Path, notebook: str) -> Iterator[Path]:
    """Names for an executed notebook: an interrupted session has more than one."""
    number = 1
    while True:
        path = folder / f"{notebook}-{number}.ipynb"
        if not path.exists():
            yield path
        number += 1


def _stop(process: subprocess.Popen[bytes], run: Path) -> None:
    """Ask the session to stop; end its process group if it does not."""
    (run / progress.STOP_FILE).touch()
    try:
        process.wait(STOP_PATIENCE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)  # its kernel ends with it, and lets go of the lock
        process.wait()
        time.sleep(KERNEL_ENDS_S)
        stop_left_over()
    finally:
        (run / progress.STOP_FILE).unlink(missing_ok=True)


def scrub_left_over(run: Path) -> None:
    """Take the names of this machine out of notebooks and logs that a killed session left.

    Args:
        run: its folder; what was sealed is not looked at.
    """
    sums = sealing.Sums.read(run)
    sealed = sums.by_name if sums else {}
    for path in sorted(run.rglob("*")):
        if path.suffix not in (".ipynb", ".log") or path.is_symlink() or not path.is_file():
            continue
        if path.relative_to(run).as_posix() in sealed:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if (clean := scrub(text)) != text:
            store.write_text(path, clean)


def _publish(executed: Path, job: Job) -> None:
    """Keep the executed notebook without the names of this machine and of others."""
    if not executed.exists():
        return
    with suppress(ValueError, OSError, StoreError):  # cut off: the session's own error says why
        import nbformat  # not above: the command starts two seconds sooner without it

        notebook = nbformat.read(executed, as_version=4)
        notebook.metadata.pop("papermill", None)
        hosts = elsewhere(job.study, job.profile, job.extra)
        text = without_hosts(scrub(nbformat.writes(notebook)), hosts)
        store.write_text(executed, text + "\n")


def _failure(step: Step, state: dict[str, Any], log: Path) -> StudyError:
    """Why a step failed, in one message."""
    _refuse_full_disk(log.parent)  # who could not write could not say so either
    store.write_text(log, scrub(log.read_text(encoding="utf-8", errors="replace")))
    if state.get("error"):
        kind = by_name().get(str(state.get("kind")), StudyError)
        return kind(f"{step.name}: {state['error']}")
    tail = log.read_text(encoding="utf-8").strip().splitlines()[-8:]
    return StudyError(
        f"{step.name} failed before it could say why; its last lines:\n" + "\n".join(tail),
        remedy=f"look into {step.name}/*.ipynb; call again to go on",
    )
