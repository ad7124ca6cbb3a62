"""One process group: spawned on chosen cores, watched as a whole, stopped and verified."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from heavyweight import telemetry
from heavyweight.errors import NotInstalled, ServerError
from heavyweight.load.address import is_loopback
from heavyweight.servers.ports import port_open

LOG_LINES_SHOWN = 15

# What a server inherits. Anything else (OLLAMA_*, VLLM_*, OMP_*, PYTHON*, proxies) could change
# what is measured without a word, so a server sees only these and what the study sets.
INHERITED = (
    "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME",
    "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_VISIBLE_DEVICES", "PATH", "TMPDIR", "USER",
)  # fmt: skip
PORT_CLOSES_S = 2.0  # after the end of all processes
SERVER_NICENESS = 10


def clean_environment(own: dict[str, str]) -> dict[str, str]:
    """The environment of a server: a few inherited variables, then the study's own."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | own


def tail(path: Path, lines: int = LOG_LINES_SHOWN) -> str:
    """The last lines of a log; empty where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def _still_alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that run, by pid and creation time, zombies apart."""
    alive = []
    for process in processes:
        with suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def _signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # psutil refuses to signal a pid that was taken over by another process.
        with suppress(psutil.Error):
            process.send_signal(number)


def stop_group(pgid: int, timeout_s: float, leader: subprocess.Popen[bytes] | None = None) -> None:
    """SIGTERM to every process of a group, SIGKILL to what is left, then look that none is.

    Args:
        pgid: process group, and session, of a leader that this study spawned.
        timeout_s: how long they may take to end by themselves.
        leader: its Popen, so that it is reaped; None where another process spawned it.

    Raises:
        ServerError: a process of the group survived SIGKILL.
    """
    known: dict[int, psutil.Process] = {}

    def left() -> list[psutil.Process]:
        if leader is not None:
            leader.poll()
        for process in telemetry.process_group(pgid):
            known.setdefault(process.pid, process)
            # A descendant that opened a session of its own is in no group of ours.
            with suppress(psutil.Error):
                for child in process.children(recursive=True):
                    known.setdefault(child.pid, child)
        return _still_alive(list(known.values()))

    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10.0)):
        _signal_all(left(), number)
        deadline = time.monotonic() + patience_s
        while left() and time.monotonic() < deadline:
            time.sleep(0.02)
    if survivors := left():
        raise ServerError(
            f"processes {[p.pid for p in survivors]} of group {pgid} are still alive",
            "none left after SIGTERM and SIGKILL",
            "stop them by hand before another session starts",
        )


@contextmanager
def _bound_to(cores: Sequence[int]) -> Iterator[None]:
    """Bind the calling thread for a moment: a child inherits it, with no code after the fork."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise ServerError(
            f"cores {list(cores)} cannot be used: {error.strerror}",
            f"some of {sorted(before)}",
            "correct `cores` in study.toml",
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ManagedProcess:
    """A command in a session and process group of its own, with its log.

    Attributes:
        command: as it was spawned.
        spawn_monotonic_ns: time.perf_counter_ns just before the spawn.
        pgid: its process group, which is the leader's pid.
        log_path: where stdout and stderr go.
    """

    def __init__(self, popen: subprocess.Popen[bytes], command: list[str], spawn_ns: int,
                 log_path: Path, port: int | None) -> None:  # fmt: skip
        self._popen = popen
        self.command = command
        self.spawn_monotonic_ns = spawn_ns
        self.pgid = popen.pid
        self.log_path = log_path
        self.port = port

    @classmethod
    def spawn(cls, command: Sequence[str], env: dict[str, str], cores: Sequence[int],
              log_path: Path, port: int | None = None) -> ManagedProcess:  # fmt: skip
        """Start a command.

        Args:
            command: program and arguments.
            env: the whole environment of the process.
            cores: processors that it and its descendants may use.
            log_path: file that is appended to.
            port: on 127.0.0.1; if given, it must be closed after the stop.

        Raises:
            NotInstalled: there is no such program.
            ServerError: the cores cannot be used.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log, _bound_to(cores):
            spawn_ns = time.perf_counter_ns()
            try:
                popen = subprocess.Popen(
                    list(command), env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            except (FileNotFoundError, PermissionError) as error:
                raise NotInstalled(
                    f"{command[0]} cannot be run: {error.strerror}", "", "heavyweight doctor"
                ) from error
        return cls(popen, list(command), spawn_ns, log_path, port)

    def give_way(self) -> None:
        """Lower its priority: where cores are shared, the client that times it must not wait.

        Linux compares the niceness of two sessions by their autogroups, where it has them, and of
        two processes only inside one. What it starts later inherits both.
        """
        os.setpriority(os.PRIO_PROCESS, self.pgid, SERVER_NICENESS)
        with suppress(OSError):  # no autogroups here
            Path(f"/proc/{self.pgid}/autogroup").write_text(str(SERVER_NICENESS))

    def alive(self) -> bool:
        """Whether the leader runs."""
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status of the leader; negative: ended by that signal; None: it runs."""
        return self._popen.poll()

    def members(self) -> list[psutil.Process]:
        """Live processes of the group."""
        return telemetry.process_group(self.pgid)

    def affinity_seen(self) -> list[int]:
        """All processors that a thread of the group may use, as the system says now."""
        if not hasattr(os, "sched_getaffinity"):
            return []
        seen: set[int] = set()
        for process in self.members():
            with suppress(psutil.Error):
                for thread in process.threads():
                    with suppress(OSError):
                        seen.update(os.sched_getaffinity(thread.id))
        return sorted(seen)

    def rss_bytes(self) -> int:
        """Resident memory, summed over the group; pages that they share count for each."""
        return telemetry.rss_bytes(self.members())

    def listens(self) -> bool | None:
        """Whether a process of the group listens on the port; None: the system does not tell."""
        places = self._listening()
        return None if places is None else self.port in {port for _, port in places}

    def open_ports(self) -> list[int]:
        """Ports of the group that other machines may reach, as far as the system tells."""
        return sorted({port for host, port in self._listening() or () if not is_loopback(host)})

    def _listening(self) -> set[tuple[str, int]] | None:
        """Addresses and ports on which the group listens; None: the system does not tell."""
        found = set()
        for process in self.members():
            try:
                connections = process.net_connections(kind="tcp")
            except psutil.NoSuchProcess:
                continue
            except (psutil.Error, OSError):
                return None
            found |= {tuple(c.laddr) for c in connections if c.status == psutil.CONN_LISTEN}
        return found

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the leader's end; its exit status, or None if it still runs."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop the whole group and verify it; a group that has ended already is fine.

        Raises:
            ServerError: a process is left, or something still answers on the port.
        """
        stop_group(self.pgid, timeout_s, self._popen)
        # A killed leader may be gone while a thread of it still holds the socket.
        deadline = time.monotonic() + PORT_CLOSES_S
        while self.port is not None and port_open(self.port):
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            raise ServerError(
                f"port {self.port} still answers after the stop",
                "nothing listening on it",
                "find who listens (ss -ltnp) and stop it; another server would be measured",
            )
