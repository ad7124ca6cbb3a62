"""Run a study: sessions in their planned order, each one execution of a notebook by papermill.

Sessions run in processes of their own. Ctrl-C asks the running one to stop by a file that its load
generator watches; what is finished is kept, and the next call goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat

from heavyweight import design, identity, progress, store
from heavyweight.design import PlannedSession, Profile, Study
from heavyweight.errors import (
    BadInput,
    NotInstalled,
    SessionBusy,
    Stopped,
    StoreError,
    StudyError,
)
from heavyweight.parameters import Parameters
from heavyweight.paths import scrub
from heavyweight.records import Run
from heavyweight.run import run_record
from heavyweight.servers.lock import SessionLock

NOTEBOOK = "notebooks/session.ipynb"
STOP_PATIENCE_S = 90.0
POLL_S = 0.25
KERNEL_ENDS_S = 3.0


@dataclass(frozen=True)
class Job:
    """A study on its way: its plan, its folder, and the parameters that its sessions share."""

    root: Path
    profile: Profile
    folder: store.RunFolder
    sessions: list[PlannedSession]
    extra: dict[str, object]

    def complete(self, session: PlannedSession) -> bool:
        """Whether a session was measured to its end."""
        path = self.folder.path / session.name
        if not (path / store.SESSION_FILE).exists():
            return False
        folder = store.SessionFolder(path)
        there = {file.cell.users for file in folder.cells()}  # raises if one is damaged
        return folder.record.complete and set(session.users) <= there

    def left(self) -> list[PlannedSession]:
        """Sessions that are still to be run or to be finished."""
        return [session for session in self.sessions if not self.complete(session)]


def run_names(runs: Path, profile: str) -> list[str]:
    """Runs of a profile that are named by the study, oldest first."""
    pattern = re.compile(rf"{re.escape(profile)}-(\d+)")
    found = [
        (int(match[1]), path.name)
        for path in runs.glob(f"{profile}-*")
        if (match := pattern.fullmatch(path.name)) and (path / store.RUN_FILE).exists()
    ]
    return [name for _, name in sorted(found)]


def prepare_job(
    root: Path,
    study: Study,
    profile: Profile,
    *,
    runs: Path,
    name: str | None = None,
    new: bool = False,
    arms: list[str] | None = None,
    blocks: int | None = None,
    extra: dict[str, object] | None = None,
) -> Job:
    """The study to be run: a new one, or the newest of the profile that was begun.

    Args:
        root: the study's folder.
        study: study.toml.
        profile: what to measure.
        runs: folder of the runs.
        name: name of the run; None: the newest that was begun with the same plan, or a new one.
        new: begin a new run even if there is one.
        arms: only these arms of the profile, or others of study.toml.
        blocks: another number of blocks.
        extra: parameters that every session gets (base_url, port, ...).

    Raises:
        StoreError: the run was begun with another plan.
        BadInput: an unknown arm.
    """
    if arms or blocks:
        chosen = [study.arm(arm).name for arm in arms or profile.arms]
        profile = profile.model_copy(update={"arms": chosen, "blocks": blocks or profile.blocks})
    extra = extra or {}
    given = Parameters.checked({"arm": profile.arms[0], **extra})
    applied = [given.applied_to(study.arm(arm)) for arm in profile.arms]
    record = run_record(
        "", root, study, profile, arms=profile.arms, label=profile.name,
        plan_sha256=identity.plan_sha256(study, profile, applied, extra),
    )  # fmt: skip
    name = name or _fitting_name(runs, record, new)
    folder = store.RunFolder.create(runs / name, record.model_copy(update={"run": name}))
    copy = folder.path / "study.toml"
    if not copy.exists():
        store.write_text(copy, (root / "study.toml").read_text(encoding="utf-8"))
    return Job(root, profile, folder, design.plan(profile, study.seed), extra)


def _fitting_name(runs: Path, record: Run, new: bool) -> str:
    """The newest run of the profile that was begun with this plan, or a name for a new one."""
    names = run_names(runs, record.profile)
    if not new:
        for name in reversed(names):
            if store.RunFolder.open(runs / name).same_plan(record):
                return name
    number = int(names[-1].rpartition("-")[2]) + 1 if names else 1
    return f"{record.profile}-{number}"


def execute(job: Job, on_state: Callable[[PlannedSession, dict], None]) -> None:
    """Run what is left of a study.

    Args:
        job: the study.
        on_state: called several times a second with the session and its state.

    Raises:
        Stopped: the user pressed Ctrl-C.
        StudyError: a session failed; what was finished is kept.
    """
    stop_path = job.folder.path / progress.STOP_FILE
    stop_path.unlink(missing_ok=True)
    for session in job.left():
        _execute_session(job, session, on_state)


def _execute_session(
    job: Job, session: PlannedSession, on_state: Callable[[PlannedSession, dict], None]
) -> None:
    run, folder = job.folder.path, job.folder.path / session.name
    folder.mkdir(parents=True, exist_ok=True)
    executed = next(_free_names(folder))
    parameters = {
        "run": job.folder.run.run,
        "runs": os.path.relpath(run.parent, job.root),
        "profile": job.profile.name,
        "arm": session.arm,
        "block": session.block,
        "order": session.order,
        "users": list(session.users),
        **job.extra,
    }
    (run / progress.STATE_FILE).unlink(missing_ok=True)
    with (folder / ".papermill.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "papermill", NOTEBOOK, str(executed)),
                *("--no-progress-bar", "--log-level", "ERROR"),
                *("--parameters_yaml", json.dumps(parameters)),
            ],
            cwd=job.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
        )
    try:
        while process.poll() is None:
            on_state(session, progress.read(run))
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        _stop(process, run)
        raise Stopped(
            f"stopped in {session.name}",
            remedy="call again to go on; finished loads are kept",
        ) from None
    finally:
        _publish(executed)
    on_state(session, progress.read(run))
    if process.returncode:
        raise _failure(session, progress.read(run), folder / ".papermill.log")
    (folder / ".papermill.log").unlink(missing_ok=True)
    (run / progress.STATE_FILE).unlink(missing_ok=True)


def _free_names(folder: Path) -> Iterator[Path]:
    """Names for an executed notebook: an interrupted session has more than one."""
    number = 1
    while True:
        path = folder / f"session-{number}.ipynb"
        if not path.exists():
            yield path
        number += 1


def _stop(process: subprocess.Popen, run: Path) -> None:
    """Ask the session to stop; end its process group if it does not."""
    (run / progress.STOP_FILE).touch()
    try:
        process.wait(STOP_PATIENCE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)  # its kernel ends with it, and lets go of the lock
        process.wait()
        time.sleep(KERNEL_ENDS_S)
        with suppress(SessionBusy), SessionLock():  # taking the machine stops what is left over
            pass
    finally:
        (run / progress.STOP_FILE).unlink(missing_ok=True)


def _publish(executed: Path) -> None:
    """Keep the executed notebook without the names of this machine."""
    if not executed.exists():
        return
    with suppress(ValueError, OSError, StoreError):  # cut off: the session's own error says why
        notebook = nbformat.read(executed, as_version=4)
        notebook.metadata.pop("papermill", None)
        store.write_text(executed, scrub(nbformat.writes(notebook)) + "\n")


def _failure(session: PlannedSession, state: dict, log: Path) -> StudyError:
    """Why a session failed, in one message."""
    kinds = {kind.__name__: kind for kind in (BadInput, NotInstalled, SessionBusy, Stopped)}
    if state.get("error"):
        kind = kinds.get(str(state.get("kind")), StudyError)
        return kind(f"{session.name}: {state['error']}")
    tail = scrub(log.read_text(encoding="utf-8", errors="replace")).strip().splitlines()[-8:]
    return StudyError(
        f"{session.name} failed before it could say why; its last lines:\n" + "\n".join(tail),
        remedy=f"look into {session.name}/session-*.ipynb; call again to go on",
    )


def expected_minutes(profile: Profile, runs: list[store.RunFolder]) -> dict[str, float]:
    """Minutes that a session of each arm should take.

    From sessions of the same profile measured before, else the estimate in study.toml.
    """
    known = dict(profile.session_minutes)
    for folder in runs:
        if folder.run.profile != profile.name:
            continue
        for session in folder.sessions():
            record = session.record
            if record.complete and len(record.starts) == 1 and record.finished_utc:
                seconds = _between(record.starts[0].started_utc, record.finished_utc)
                known[record.arm] = seconds / 60
    return known


def _between(start_utc: str, end_utc: str) -> float:
    return (datetime.fromisoformat(end_utc) - datetime.fromisoformat(start_utc)).total_seconds()
