"""What ran on the machine while a cell was measured: two snapshots and their difference."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from heavyweight.records import MachineLoad
from heavyweight.telemetry.processes import cpu_s, process_group, rss_bytes


def _study_cpu_s(client_pid: int) -> float:
    """CPU time of the notebook's kernel and the command above it, in seconds.

    They are the ancestors of the load generator that run this Python; a shell, a terminal or an
    editor further up is somebody else's load.
    """
    ours = Path(sys.executable).resolve()
    total = 0.0
    try:
        ancestors = psutil.Process(client_pid).parents()
    except psutil.Error:
        return total
    for process in ancestors:
        try:
            if Path(process.exe()).resolve() == ours:
                t = process.cpu_times()
                total += t.user + t.system
        except psutil.Error:
            continue
    return total


def _clocks_ns() -> tuple[int, int | None]:
    """The wall clock, and the clock that also counts while the machine sleeps, in ns.

    CLOCK_MONOTONIC, by which all stamps are, stands still while a Linux machine sleeps.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time_ns(), None if boottime is None else time.clock_gettime_ns(boottime)


@dataclass(frozen=True)
class Snapshot:
    """Counters of the machine and of the study's processes at one moment."""

    monotonic_ns: int
    busy_s: float
    steal_s: float
    swapped_bytes: int
    server_cpu_s: float | None
    server_rss_bytes: int | None
    client_cpu_s: float
    study_cpu_s: float
    client_rss_bytes: int | None = None
    wall_ns: int | None = None
    boottime_ns: int | None = None

    @classmethod
    def take(cls, server_pgid: int | None, client_pid: int) -> Snapshot:
        """Read all counters; about a millisecond, so not while a stamp is due.

        Args:
            server_pgid: process group of the server; None where the server is not ours.
            client_pid: the load generator.
        """
        machine = psutil.cpu_times()
        swap = psutil.swap_memory()
        group = None if server_pgid is None else process_group(server_pgid)
        try:
            client = psutil.Process(client_pid)
        except psutil.NoSuchProcess:
            clients = []
        else:
            clients = [client]
        now_ns = time.perf_counter_ns()
        wall_ns, boottime_ns = _clocks_ns()
        return cls(
            monotonic_ns=now_ns,
            wall_ns=wall_ns,
            boottime_ns=boottime_ns,
            # The guest times are part of user and nice already (proc(5)).
            busy_s=sum(
                getattr(machine, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")
            ),
            steal_s=getattr(machine, "steal", 0.0),
            swapped_bytes=swap.sin + swap.sout,
            server_cpu_s=None if group is None else cpu_s(group),
            server_rss_bytes=None if group is None else rss_bytes(group),
            client_cpu_s=cpu_s(clients),
            study_cpu_s=_study_cpu_s(client_pid),
            client_rss_bytes=rss_bytes(clients) or None,
        )


def between(first: Snapshot, last: Snapshot) -> MachineLoad:
    """What the machine did from one snapshot to a later one.

    The kernel counts in ticks of 10 ms, and the parts are read one after the other: a remainder
    that comes out below zero is rounding and is given as zero.

    Raises:
        ValueError: the snapshots are in the wrong order or belong to different set-ups.
    """
    if last.monotonic_ns <= first.monotonic_ns:
        raise ValueError("the last snapshot is not later than the first")
    if (first.server_cpu_s is None) != (last.server_cpu_s is None):
        raise ValueError("one snapshot knows the server's processes and the other does not")
    server = None
    if first.server_cpu_s is not None and last.server_cpu_s is not None:
        server = max(0.0, last.server_cpu_s - first.server_cpu_s)
    client = max(0.0, last.client_cpu_s - first.client_cpu_s)
    study = max(0.0, last.study_cpu_s - first.study_cpu_s)
    other = last.busy_s - first.busy_s - (server or 0.0) - client - study
    passed_ns = last.monotonic_ns - first.monotonic_ns
    suspended_ns = _more(first.boottime_ns, last.boottime_ns, passed_ns)
    set_ns = _more(first.wall_ns, last.wall_ns, passed_ns + (suspended_ns or 0))
    return MachineLoad(
        elapsed_s=passed_ns / 1e9,
        suspended_s=None if suspended_ns is None else round(suspended_ns / 1e9, 3),
        clock_set_s=None if set_ns is None else round(set_ns / 1e9, 3),
        server_cpu_s=server,
        client_cpu_s=client,
        other_cpu_s=max(0.0, other),
        steal_s=max(0.0, last.steal_s - first.steal_s),
        swapped_bytes=max(0, last.swapped_bytes - first.swapped_bytes),
        server_rss_bytes=last.server_rss_bytes,
        client_rss_bytes=last.client_rss_bytes,
    )


def _more(first_ns: int | None, last_ns: int | None, passed_ns: int) -> int | None:
    """By how much another clock went further than the time that passed."""
    return None if first_ns is None or last_ns is None else last_ns - first_ns - passed_ns
