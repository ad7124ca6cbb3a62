"""The processes of a server and of the study: who they are, and what each of them uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def process_group(pgid: int) -> list[psutil.Process]:
    """The living processes of a server: the leader of a session, and all that it started in it.

    A process that moved to another group inside the session is found as well; zombies do not count.
    """
    members = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) != pgid and os.getsid(pid) != pgid:
                continue
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue  # it ended between two calls, or is not ours to look at
    return members


def cpu_s(processes: list[psutil.Process]) -> float:
    """CPU time used so far by the processes and by their children that ended, in seconds.

    A child that ended is counted by the parent that waited for it, so that the sum over a process
    group does not fall when a worker ends.
    """
    total = 0.0
    for process in processes:
        try:
            t = process.cpu_times()
        except psutil.Error:
            continue
        total += t.user + t.system
        total += getattr(t, "children_user", 0.0) + getattr(t, "children_system", 0.0)
    return total


def rss_bytes(processes: list[psutil.Process]) -> int:
    """Resident memory of the processes, in bytes; pages that two of them share count twice."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def role(words: list[str], name: str) -> str:
    """What a process is, by its command line, without any path.

    Args:
        words: its command line.
        name: its name as the kernel has it; what is not known is called so.
    """
    line, program = " ".join(words), Path(words[0]).name if words else name
    for said, told in _ROLES:
        if said in line or said in name:
            return told
    if program.startswith("ollama") and len(words) > 1:
        return f"ollama {words[1].lstrip('-')}"  # serve, runner
    return (program.partition(" ")[0] or name or "process")[:32]


_ROLES = (
    ("vllm.entrypoints", "vllm api"),
    ("VLLM::EngineCore", "vllm engine"),
    ("VLLM::Worker", "vllm worker"),
    ("VLLM::", "vllm process"),
    ("heavyweight.emulator", "emulator"),
    ("resource_tracker", "resource tracker"),
    ("multiprocessing.spawn", "python worker"),
    ("multiprocessing.fork", "python worker"),
)


class CpuClock:
    """CPU time of a set of processes that come and go, in seconds since the first look.

    The CPU time of a process that ended moves to the parent that waited for it. It was counted
    already while the process lived, so only what is new in the parents' sums is added.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self._last: dict[tuple[int, float], tuple[float, float]] | None = None
        self._unpaid_s = 0.0

    def update(self, now: dict[tuple[int, float], tuple[float, float]]) -> float:
        """Count on; the new total.

        Args:
            now: pid and time of birth: own CPU time, and that of children that were waited for.
        """
        last = now if self._last is None else self._last
        own_s = waited_s = 0.0
        for key, (own, waited) in now.items():
            before = last.get(key, (0.0, 0.0))  # born since: all that it used is new
            own_s += max(0.0, own - before[0])
            waited_s += max(0.0, waited - before[1])
        ended_s = sum(sum(times) for key, times in last.items() if key not in now)
        # The parent may have been read a moment before it heard of the end: one look's grace.
        self.total_s += own_s + max(0.0, waited_s - ended_s - self._unpaid_s)
        self._unpaid_s = max(0.0, ended_s - waited_s)
        self._last = now
        return self.total_s


class Watched:
    """Processes that are looked at again and again; their psutil objects are kept.

    Attributes:
        clock: CPU time of all of them.
    """

    def __init__(self) -> None:
        self.clock = CpuClock()
        self._names: dict[psutil.Process, str] = {}

    def add(self, process: psutil.Process) -> None:
        """Look at one more."""
        with suppress(psutil.Error):
            told = role(process.cmdline(), process.name())
            taken = set(self._names.values())
            number = next(n for n in range(1, len(taken) + 2) if _numbered(told, n) not in taken)
            self._names[process] = _numbered(told, number)

    def __len__(self) -> int:
        return len(self._names)

    def sample(self, details: bool = True) -> list[tuple[str, str, float]]:
        """Name, quantity and value of each process that lives; the clock goes on.

        Args:
            details: whether memory and threads are asked for; without, nothing is told.
        """
        told: list[tuple[str, str, float]] = []
        now = {}
        for process, name in list(self._names.items()):
            try:
                with process.oneshot():
                    times, born_s = process.cpu_times(), process.create_time()
                    lives = process.status() != psutil.STATUS_ZOMBIE
                    if details and lives:
                        told.append((name, "rss_bytes", float(process.memory_info().rss)))
                        told.append((name, "threads", float(process.num_threads())))
            except psutil.Error:
                del self._names[process]  # it ended
                continue
            own_s = times.user + times.system
            children = getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0)
            now[process.pid, born_s] = own_s, sum(children)
            if details and lives:
                told.append((name, "cpu_s", own_s))
        self.clock.update(now)
        return told


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"


class Census:
    """Who on this machine is the server and who is the study; strangers are looked at once.

    Args:
        server_pgid: process group of the server; None where it is not ours.

    Attributes:
        server: the server's processes.
        study: this process, the commands above it that run this Python, and all that it starts
            but the server: the load generator.
    """

    def __init__(self, server_pgid: int | None) -> None:
        self.server, self.study = Watched(), Watched()
        self._pgid, self._me = server_pgid, os.getpid()
        self._seen: set[int] = set()
        me = psutil.Process()
        ours = Path(sys.executable).resolve()
        for process in (me, *me.parents()):
            with suppress(psutil.Error, OSError):
                if process.pid == self._me or Path(process.exe()).resolve() == ours:
                    self.study.add(process)
                    self._seen.add(process.pid)
        self.look()

    def look(self) -> None:
        """Find the processes that were started since the last look."""
        pids = set(psutil.pids())
        for pid in sorted(pids - self._seen):
            with suppress(ProcessLookupError, PermissionError, psutil.Error):
                if self._is_servers(pid):
                    self.server.add(psutil.Process(pid))
                elif self._is_below(psutil.Process(pid).parents()):
                    self.study.add(psutil.Process(pid))
        self._seen = pids

    def _is_servers(self, pid: int) -> bool:
        return self._pgid is not None and self._pgid in (os.getpgid(pid), os.getsid(pid))

    def _is_below(self, ancestors: Iterable[psutil.Process]) -> bool:
        return any(process.pid == self._me for process in ancestors)
