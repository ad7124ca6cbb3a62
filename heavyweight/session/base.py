"""What all sessions have in common: a record, a server that is started, watched and stopped."""

from __future__ import annotations

import atexit
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import pandas as pd

from heavyweight import design, load, servers, store
from heavyweight.errors import BadInput, ServerError, StoreError, StudyError
from heavyweight.parameters import Parameters
from heavyweight.progress import Progress
from heavyweight.records import ServerStart
from heavyweight.records import Session as SessionRecord
from heavyweight.run import commit_of, open_run
from heavyweight.servers.lock import SessionLock, stop_left_over
from heavyweight.session.record import described
from heavyweight.setting import Setting

SAME_ON_RESUME = (
    "experiment", "arm", "model", "artefact_sha256", "settings", "software", "context_tokens",
)  # fmt: skip
ANOTHER = "choose another run or block"
DYING_S = 5.0  # vLLM's API answers some seconds longer than its engine lives
MAX_STARTS = 3  # a server that dies again and again is not started for ever


class ServerSession(ABC):
    """One arm in one block: its server is started, something is done, its stop is verified.

    What is finished is on disk at once, so a session that was interrupted goes on.

    Args:
        parameters: which arm and block; see :class:`heavyweight.parameters.Parameters`.

    Attributes:
        setting: all that defines it.
        folder: the run's.
        path: the session's folder.
        progress: what it is doing, for who waits.
        server: of its arm; another start may be given another arm.
        record: session.json, as it stands on disk.

    Raises:
        BadInput: a parameter cannot be used.
        NotInstalled: the server or the model's artefact is missing.
        StoreError: the run folder holds another plan.
    """

    experiments: ClassVar[frozenset[str]]
    """Whose profiles it measures."""
    unit: ClassVar[str] = "loads"
    """What it measures, as a reader counts them."""
    asks_first: ClassVar[bool] = True
    """Whether the server is asked what it is before its first request, and not only after it."""

    def __init__(self, parameters: Parameters) -> None:
        self.setting = setting = Setting.resolve(parameters)
        if (wanted := setting.profile.experiment) not in self.experiments:
            raise BadInput(
                f"profile {setting.profile.name!r} is one of the experiment {wanted}",
                f"a profile of {' or '.join(sorted(self.experiments))}",
                f"execute notebooks/{wanted}.ipynb, or choose another profile",
            )
        self.folder = open_run(setting.root, setting.study, setting.profile, parameters)
        self.path = self.folder.path / design.session_name(parameters.block, setting.arm.name)
        self.progress = Progress(self.folder.path, self.path.name)
        self.server = servers.server_for(setting.arm, parameters.allow_remote)
        self.record = self._record()
        self._starts_before = len(self.record.starts)  # in sittings that were interrupted
        self._lock: SessionLock | None = None

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """The session that a notebook's parameters cell describes; unknown names are refused."""
        return cls(Parameters.from_namespace(namespace))

    def _record(self) -> SessionRecord:
        """session.json as it was left, or a new one."""
        file = self.path / store.SESSION_FILE
        now = described(self.setting, self.server, self.folder.run.run, self.path.name)
        if not file.exists():
            return now
        left = store.read_json(file, SessionRecord)
        if left.machine_id != now.machine_id:
            raise StoreError(f"{self.path.name} was begun on another machine", "", ANOTHER)
        for field in SAME_ON_RESUME:
            before, after = getattr(left, field), getattr(now, field)
            if before != after and (self.setting.arm.started or field != "model"):
                raise StoreError(
                    f"{self.path.name} was begun with another {field.replace('_', ' ')}",
                    "the same when it goes on",
                    ANOTHER,
                )
        return left

    def _save(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)
        self.path.mkdir(parents=True, exist_ok=True)
        store.write_json(self.path / store.SESSION_FILE, self.record)

    @property
    @abstractmethod
    def planned(self) -> Sequence[object]:
        """All that is to be measured."""

    @property
    @abstractmethod
    def missing(self) -> Sequence[object]:
        """What is still to be measured, in its order."""

    def start(self) -> pd.Series:
        """Start the server and time its cold start; nothing is started where nothing is missing.

        Returns:
            What the server is and how long it took.
        """
        if not self.missing:
            stop_left_over()  # its own, where it was killed after the last of its work
            return pd.Series({"session": self.path.name, "state": "measured already"})
        self.begin()
        with self._told():
            self._start_server()
        return self.cold_start()

    def begin(self) -> None:
        """Tell how much there is to do, and how much is done."""
        planned = len(self.planned)
        self.progress.begin(planned, planned - len(self.missing), self.unit)

    def cold_start(self) -> pd.Series:
        """The last start: what answered, and how long it took to be ready and to say a word."""
        start, identity = self.record.starts[-1], self.record.identity
        return pd.Series(
            {
                "session": self.path.name,
                "server": identity and f"{identity.server} {identity.version or ''}".strip(),
                "model": identity and identity.model,
                "start": start.start_id,
                "ready_ms": start.ready_ms and round(start.ready_ms),
                "first_token_ms": start.first_token_ms and round(start.first_token_ms),
            }
        )

    def _start_server(self, arm: design.Arm | None = None) -> None:
        """Start the server and write its start down; see :meth:`_timed_start`."""
        start = self._timed_start(arm)
        self._save(starts=[*self.record.starts, start], complete=False)

    def _timed_start(self, arm: design.Arm | None = None) -> ServerStart:
        """Spawn, wait until ready, check who answers, time the first token.

        Args:
            arm: the session's, changed; None: as it is.

        Returns:
            The start, not written down yet.
        """
        setting = self.setting
        if arm is not None:
            self.server = servers.server_for(arm, setting.parameters.allow_remote)
        arm = arm or setting.arm
        self._hold_machine()
        self._save()
        start_id = len(self.record.starts) + 1
        config = self._config(arm)
        self.progress.phase(f"starting {arm.label}")
        self.server.start(config)
        spawned_ns = self.server.spawned_ns
        self._remember_server(config.port)
        self.server.ready()
        self._remember_server(config.port)
        if self.asks_first:
            self.server.identify()
        self._when_ready()
        first = load.first_token(
            self.server.base_url,
            self.server.served_model,
            self.server.extra_body,
            seed=setting.study.seed,
            block=setting.parameters.block,
            start_id=start_id,
            allow_remote=setting.parameters.allow_remote,
        )
        self._after_first_token()
        identity = self.server.identify()  # again: some servers load the model at the first request
        # Of a server that the study did not start, only its own word says what it runs.
        model = self.record.model if setting.arm.started else identity.model
        self._save(identity=identity, model=model)
        return self.server.start_record(start_id).model_copy(
            update=dict(zip(("commit", "clean"), commit_of(setting.root), strict=True))
            | {
                "first_token_ms": (first.first_ns - spawned_ns) / 1e6 if spawned_ns else None,
                "first_request_ttft_ms": (first.first_ns - first.sent_ns) / 1e6,
            }
        )

    def _next_log(self) -> Path:
        """Where the server that is started next writes; each start has a log of its own."""
        return self.path / f"server-{len(list(self.path.glob('server-*.log*'))) + 1}.log"

    def _after_first_token(self) -> None:
        """What is done at once after the first request; nothing in most experiments."""
        return

    def _config(self, arm: design.Arm) -> servers.ServerConfig:
        """What the next start of the server is given."""
        port = servers.port_for(self.setting.parameters.port)
        return self.setting.server_config(arm, port=port, log_path=self._next_log())

    def _when_ready(self) -> None:  # noqa: B027 (most sessions do nothing)
        """The server is ready and was asked for no token yet; some sessions look at it."""

    def _hold_machine(self) -> None:
        """One session at a time; a server that a crashed one left over is stopped."""
        if self._lock is None:
            lock = SessionLock()
            lock.acquire()
            self._lock = lock
            atexit.register(self.close)

    def _remember_server(self, port: int) -> None:
        """Write down which processes are ours, so that the next session can stop them."""
        if self._lock and self.server.process:
            self._lock.record_server(self.server.process.pgid, port)

    def revive(self) -> None:
        """Start the server again if it is gone."""
        if self.server.alive():
            return
        self._end_server()
        starts = len(self.record.starts) - self._starts_before
        if starts >= MAX_STARTS:
            raise ServerError(
                f"{self.path.name}: the server died or hung in {starts} starts",
                "a server that survives its load",
                f"read {self.path.name}/server-*.log; call again to go on with what is missing",
            )
        self._start_server()

    def _survived(self) -> bool:
        """Whether the server still lives after it failed a request; it may be about to end."""
        if self.server.process:
            self.server.process.wait(DYING_S)
        return self.server.alive()

    def _end_server(self) -> None:
        """Stop the server; if it had died before, that is written down."""
        died = self.server.process is not None and not self.server.alive()
        self.server.stop()
        if died:
            self._save(deaths=(self.record.deaths or 0) + 1)

    def stop(self) -> pd.Series:
        """Stop the server, verify that it is gone, and close the session.

        Returns:
            Whether the session is complete, and what is missing.
        """
        with self._told():
            self.close()
            missing = list(self.missing)
            self._save(
                complete=not missing,
                finished_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        self.progress.end()
        told = {"session": self.path.name, "complete": not missing}
        return pd.Series(told | {"missing": [str(one) for one in missing]})

    def close(self) -> None:
        """Stop the server and let go of the machine; safe to call twice."""
        stopped = False
        try:
            self._end_server()
            stopped = True
        finally:
            if self._lock:
                self._lock.release(stopped)
                self._lock = None
                atexit.unregister(self.close)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """On any failure: stop the server, and tell the runner in one message why."""
        try:
            with self.progress.interruptible():
                yield
        except BaseException as error:
            self.progress.fail(error if isinstance(error, StudyError) else repr(error))
            self.close()
            raise
