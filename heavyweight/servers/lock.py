"""One session on a machine at a time, also after a crash of its holder."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from heavyweight.errors import SessionBusy
from heavyweight.paths import cache_dir
from heavyweight.processes import Known, runner
from heavyweight.servers.base import Progress
from heavyweight.servers.process import stop_group
from heavyweight.telemetry import process_group

STOP_TIMEOUT_S = 10.0
HOLDER_FILE = "session.json"
ORPHAN_S = 120.0  # for a session whose command is gone to stop its server


class Holder(BaseModel):
    """session.json: who holds the machine, for whom, and the server that it started."""

    holder: Known
    runner: Known | None = None
    since_utc: str
    server_pgid: int | None = None
    server: list[Known] = []
    port: int | None = None

    def server_left(self) -> bool:
        """Whether the recorded group still runs.

        A group's number is not given to another one while a process of it lives, so one recorded
        process that is alive and in that group proves that the whole group is the recorded one.
        """
        for known in self.server:
            with suppress(ProcessLookupError, PermissionError):
                if known.alive() and os.getsid(known.pid) == self.server_pgid:
                    return True
        return False


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class SessionLock:
    """The machine's lock; the system lets go of it when its holder ends, however it ends.

    Args:
        progress: is told when a server that a crashed session left over is stopped.
    """

    def __init__(self, progress: Progress = _to_stderr) -> None:
        self._progress = progress
        self._lock = FileLock(cache_dir() / "session.lock", thread_local=False)
        self._record = cache_dir() / HOLDER_FILE

    def acquire(self) -> None:
        """Take the machine, and stop a server that a crashed session left over.

        Raises:
            SessionBusy: another session holds it; says which.
            ServerError: the server that was left over cannot be stopped.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise self._busy() from None
        try:
            self._stop_leftover()
            self._write(
                Holder(
                    holder=Known.of(psutil.Process()),
                    runner=runner(),
                    since_utc=datetime.now(UTC).isoformat(timespec="seconds"),
                )
            )
        except BaseException:
            self._lock.release()
            raise

    def record_server(self, pgid: int, port: int | None) -> None:
        """Remember the server's group; call it after the spawn, and again when it is ready.

        Args:
            pgid: of a process spawned by the study.
            port: on which it listens.
        """
        holder = self._read()
        if holder is None or not self._lock.is_locked:
            raise SessionBusy("the machine is not held by this session", "", "acquire() first")
        members = []
        for process in process_group(pgid):
            with suppress(psutil.Error):
                members.append(Known.of(process))
        self._write(
            holder.model_copy(update={"server_pgid": pgid, "server": members, "port": port})
        )

    def release(self, server_stopped: bool = True) -> None:
        """Let go of the machine; nothing happens if it is not held.

        Args:
            server_stopped: False: the record stays, so that the next session stops the server.
        """
        if self._lock.is_locked:
            if server_stopped:
                self._record.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def await_orphan(self) -> None:
        """Wait for a session to stop whose command was killed: it saw that and is on its way out.

        Where it does not in time, or is no orphan, who comes next is told so when it begins.
        """
        deadline = time.monotonic() + ORPHAN_S
        told = False
        while time.monotonic() < deadline:
            left = self._read()
            if left is None or left.runner is None or left.runner.alive():
                return
            if not left.holder.alive():
                return
            if not told:
                self._progress("the session of a command that was killed is stopping: waiting")
                told = True
            time.sleep(0.2)

    def _busy(self) -> SessionBusy:
        holder = self._read()
        if holder is None:
            return SessionBusy("another session holds this machine", "", "wait until it is done")
        return SessionBusy(
            f"another session holds this machine: process {holder.holder.pid},"
            f" since {holder.since_utc}",
            "one session at a time, as two would slow each other",
            f"wait until it is done, or stop it: kill {holder.holder.pid}",
        )

    def _stop_leftover(self) -> None:
        left = self._read()
        if left is not None and left.server_pgid is not None and left.server_left():
            self._progress(
                f"the session of process {left.holder.pid} ended without stopping its server:"
                f" stopping process group {left.server_pgid} (port {left.port})"
            )
            stop_group(left.server_pgid, STOP_TIMEOUT_S)
        self._record.unlink(missing_ok=True)

    def _read(self) -> Holder | None:
        """What is recorded; None if nothing is, or a crash cut it off."""
        try:
            return Holder.model_validate_json(self._record.read_text("utf-8"))
        except (OSError, ValidationError):
            return None

    def _write(self, holder: Holder) -> None:
        temporary = Path(f"{self._record}.part")
        temporary.write_text(json.dumps(holder.model_dump(), indent=2) + "\n", "utf-8")
        temporary.replace(self._record)


def stop_left_over() -> None:
    """Stop the server of a session that was killed; nothing where a session holds the machine.

    Raises:
        ServerError: it cannot be stopped.
    """
    with suppress(SessionBusy), SessionLock():  # taking the machine stops what is left over
        pass


def refuse_while_measuring() -> None:
    """Refuse what would disturb a session; nothing is taken and nothing is stopped.

    Raises:
        SessionBusy: a session holds the machine.
    """
    lock = SessionLock()
    try:
        lock._lock.acquire(timeout=0)
    except Timeout:
        raise lock._busy() from None
    lock._lock.release()
