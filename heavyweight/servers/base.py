"""A server is a few verbs: install, start, ready, identify, idle, stop."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from heavyweight.errors import BadInput, NotReady, PortTaken, ServerError
from heavyweight.kinds import SERVERS
from heavyweight.load.idle import in_flight
from heavyweight.paths import scrub
from heavyweight.records import ServerIdentity, ServerStart
from heavyweight.servers.asking import get_text
from heavyweight.servers.config import Installed, ServerConfig
from heavyweight.servers.ports import LOOPBACK, check_port_free, free_port, port_open
from heavyweight.servers.process import (
    SERVER_NICENESS,
    ManagedProcess,
    clean_environment,
    tail,
)
from heavyweight.store import write_text

if TYPE_CHECKING:
    from heavyweight.design import Arm

__all__ = [
    "LOOPBACK", "Installed", "ManagedProcess", "Progress", "Server", "ServerConfig",
    "check_port_free", "free_port", "port_open", "tail",
]  # fmt: skip

Progress = Callable[[str], None]
POLL_S = 0.02  # resolution of ready_ms


class Server(ABC):
    """One server of one arm; after a stop it may be started again.

    Attributes:
        kind: as in study.toml and in :data:`heavyweight.kinds.SERVERS`.
        arm: which server, version, slots and flags.
        allow_remote: whether it may be on another machine; of those that the study does not start.
        api: how requests are spoken.
        base_url: without a path, http://127.0.0.1:PORT.
        served_model: name of the model in requests.
        extra_body: fields that every request to this server carries.
        process: None while the server is not up, and where it is not ours.
    """

    kind: ClassVar[str]
    api: ClassVar[Literal["chat"]] = "chat"
    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 20.0
    usual_port: ClassVar[int | None] = None  # where it listens unless it is told

    def __init__(self, arm: Arm, allow_remote: bool = False) -> None:
        self.arm, self.allow_remote = arm, allow_remote
        self.process: ManagedProcess | None = None
        self.base_url = ""
        self.served_model = ""
        self.extra_body: dict[str, Any] = {}
        self.ready_ms: float | None = None
        self._config: ServerConfig | None = None
        self._environment: dict[str, str] = {}
        self._started_utc = ""
        self._affinity_seen: list[int] = []

    @classmethod
    def install(cls, progress: Progress, version: str | None = None) -> Installed:
        """Put the server on this machine, or find it there, and run it for its version.

        Raises:
            BadInput: the study does not install servers of this kind.
        """
        raise BadInput(f"{cls.kind}: such a server is not installed by the study", "", "start it")

    def installed(self) -> Installed | None:
        """What :meth:`install` recorded; None: nothing needs to be installed.

        Raises:
            NotInstalled: it is missing.
        """
        return None

    def files(self) -> list[Path]:
        """Files and folders that a start reads, besides the artefact."""
        installed = self.installed()
        return [installed.path] if installed else []

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """What the arm sets, and what cannot be the same as in another kind of server."""

    @abstractmethod
    def command(self, config: ServerConfig) -> list[str]:
        """The command line."""

    def environment(self, config: ServerConfig) -> dict[str, str]:
        """The variables that the study sets, without those that are inherited."""
        return {}

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server says that it is ready; quick, and quiet if it is not."""

    @abstractmethod
    def identify(self) -> ServerIdentity:
        """What answers on the port.

        Raises:
            ServerError: another version, model or context than the arm says.
        """

    def idle(self) -> bool | None:
        """Whether no request is in flight, as it says itself; None where it has no such route.

        Raises:
            ServerError: it does not answer.
        """
        path = SERVERS[self.kind].idle_path
        count = None if path is None else in_flight(get_text(f"{self.base_url}{path}"))
        return None if count is None else count == 0

    @abstractmethod
    def name_of_model(self, config: ServerConfig) -> str:
        """Name under which requests ask for the model."""

    def metrics(self) -> dict[str, float]:
        """What it tells of itself while it works; quick, and empty where it tells nothing."""
        return {}

    @property
    def pgid(self) -> int | None:
        """Its process group; None while it is not up, and where it is not ours."""
        return self.process.pgid if self.process else None

    def start(self, config: ServerConfig) -> None:
        """Spawn the server.

        Raises:
            PortTaken: somebody answers on the port already.
            NotInstalled: the server, or the artefact that it loads, is missing.
            ServerError: it cannot be spawned as the arm says.
        """
        if self.process is not None:
            raise ServerError("this server runs already", "", "stop() it first")
        command, own = self.command(config), self.environment(config) | self.arm.env
        check_port_free(config.port)
        self._config, self._environment = config, own
        self.base_url = f"http://{LOOPBACK}:{config.port}"
        self.served_model = self.name_of_model(config)
        self.extra_body |= self.arm.extra_body
        self._started_utc = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.process = ManagedProcess.spawn(
            command, clean_environment(own), config.cores, config.log_path, config.port
        )
        self.process.give_way()

    def alive(self) -> bool:
        """Whether the server's leading process runs."""
        return self.process is not None and self.process.alive()

    @property
    def spawned_ns(self) -> int | None:
        """time.perf_counter_ns at the spawn; None: it was not spawned by the study."""
        return self.process.spawn_monotonic_ns if self.process else None

    def ready(self, timeout_s: float | None = None) -> float:
        """Wait until the server is ready; ms from the spawn.

        Args:
            timeout_s: from now on; by default what this kind of server may take.

        Raises:
            NotReady: it ended, or is late; with its last log lines.
            PortTaken: another process answers on its port.
        """
        process = self._process()
        limit_s = self.start_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit_s
        while not self.answers():
            if not process.alive():
                raise self._not_ready(f"it ended with status {process.returncode}")
            if time.monotonic() > deadline:
                raise self._not_ready(f"it did not answer within {limit_s:.0f} s")
            time.sleep(POLL_S)
        self.ready_ms = (time.perf_counter_ns() - process.spawn_monotonic_ns) / 1e6
        if process.listens() is False:
            raise PortTaken(
                f"another process answers on port {process.port}",
                f"the {self.kind} server that was just started",
                "stop the other one or choose another port",
            )
        self._affinity_seen = process.affinity_seen()
        return self.ready_ms

    def stop(self) -> None:
        """Stop the server's whole process group, verified; its log is scrubbed of names.

        Raises:
            ServerError: a process is left or the port still answers.
        """
        if self.process is None:
            return
        self.process.stop(self.stop_timeout_s)
        log = self.process.log_path
        self.process = None
        write_text(log, scrub(log.read_text("utf-8", "replace")))

    def start_record(self, start_id: int) -> ServerStart:
        """This start as a record, without names of this machine."""
        process, config = self._process(), self._given()
        return ServerStart(
            start_id=start_id,
            started_utc=self._started_utc,
            command=[scrub(word) for word in process.command],
            environment={name: _told(value) for name, value in self._environment.items()},
            cores=sorted(config.cores),
            affinity_seen=process.affinity_seen() or self._affinity_seen,
            port=config.port,
            pgid=process.pgid,
            niceness=SERVER_NICENESS,
            open_ports=process.open_ports(),
            ready_ms=self.ready_ms,
            first_token_ms=None,  # of the first request, which the session sends
            first_request_ttft_ms=None,
            log=config.log_path.name,
        )

    def _not_ready(self, why: str) -> NotReady:
        process = self._process()
        lines = scrub(tail(process.log_path)) or "(its log is empty)"
        return NotReady(
            f"{self.kind} is not ready: {why}. Its last log lines:\n{lines}\n",
            remedy=f"read its whole log, {process.log_path.name}, and `heavyweight doctor`",
        )

    def _expect(self, what: str, found: object, expected: object) -> None:
        """Raise ServerError unless the running server is as the arm says."""
        if found != expected:
            raise ServerError(
                f"the {self.kind} server on {self.base_url} says {what} {found}",
                f"{what} {expected}",
                "correct study.toml or install that version: heavyweight servers install",
            )

    def _process(self) -> ManagedProcess:
        if self.process is None:
            raise ServerError("the server was not started", "start() first")
        return self.process

    def _given(self) -> ServerConfig:
        if self._config is None:
            raise ServerError("the server was not started", "start() first")
        return self._config


def _told(value: str) -> str:
    """A variable's value without names of this machine, and without the whole of PATH."""
    return scrub(value.replace(os.environ.get("PATH") or "$PATH", "$PATH"))
