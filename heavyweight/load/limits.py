"""What the load generator may use of the machine: cores, open files, memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

from heavyweight.errors import BadInput
from heavyweight.load.spec import LoadSpec
from heavyweight.telemetry import process_group

EVENT_BYTES = 300  # one event of a stream in its framing, with the stamp of its read
REQUEST_BYTES = 3000  # the answer's last events, the request's id, its row
SHARE = 0.5  # of what is free: making the table afterwards takes about as much again
_CGROUP = Path("/sys/fs/cgroup")


def bind(spec: LoadSpec) -> None:
    """Bind this process to the cores that were asked for.

    Raises:
        BadInput: they are not there, or a client that waits actively would share one with the
            server.
    """
    if spec.cores is None:
        return
    usable = sorted(psutil.Process().cpu_affinity() or [])
    if missing := sorted(set(spec.cores) - set(usable)):
        raise BadInput(
            f"the client cannot be bound to cores {missing}",
            f"some of {usable}",
            "choose other cores, or none",
        )
    psutil.Process().cpu_affinity(spec.cores)
    if spec.spin and spec.server_pgid is not None:
        shared = set(spec.cores) & _cores_of(spec.server_pgid)
        if shared:
            raise BadInput(
                f"the client would wait actively on cores {sorted(shared)}, which are the server's "
                "as well",
                "cores of its own",
                "choose other cores, or leave spin out",
            )


def _cores_of(pgid: int) -> set[int]:
    """Cores that a server's processes may run on."""
    cores: set[int] = set()
    for process in process_group(pgid):
        with contextlib.suppress(psutil.Error):
            cores.update(process.cpu_affinity())
    return cores


def raise_open_files() -> None:
    """Allow as many open connections as the system lets us: an open loop has no other limit."""
    if os.name == "nt":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_bytes() -> int:
    """Memory that this process may still take; a limit of its container counts."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or no limit
        return free
    return max(0, min(free, limit - used))


def bound_bytes(spec: LoadSpec) -> int:
    """The most that raw answers may take; parts of one load share what is free."""
    return spec.memory_bytes or int(SHARE * free_bytes() / spec.parts)


def needed_bytes(requests: int, output_tokens: int) -> int:
    """What the raw answers of so many requests take, roughly."""
    return requests * (output_tokens * EVENT_BYTES + REQUEST_BYTES)


def check_memory(requests: int, output_tokens: int, bound: int) -> None:
    """Refuse a cell that cannot fit.

    Args:
        requests: that it makes at least.
        output_tokens: asked of each.
        bound: in bytes.

    Raises:
        BadInput: with the numbers.
    """
    needed = needed_bytes(requests, output_tokens)
    if needed > bound:
        raise BadInput(
            f"the answers of {requests} requests of {output_tokens} tokens take about "
            f"{needed / 2**20:.0f} MiB of memory until the cell is written, "
            f"and it may take {bound / 2**20:.0f} MiB",
            "a cell that fits",
            "ask for fewer or shorter requests, split it into more parts, or raise memory_bytes",
        )
