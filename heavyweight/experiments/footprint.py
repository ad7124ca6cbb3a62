"""How much memory a server's processes take, as Linux counts it, and how much of the GPUs.

Three counts of the same pages (proc(5)):

- resident (RSS): pages in memory; a page that two processes share counts for each of them.
- proportional (PSS): a page that n processes share counts 1/n for each, so that a sum over
  processes counts nothing twice. It is what two servers are compared by.
- private (USS): pages that nobody else has, which a stop would give back.

PSS and private come from ``/proc/PID/smaps_rollup``; resident and its three parts (anonymous, of
files, shared) from ``/proc/PID/status``. Where there is no /proc, psutil's RSS is all there is.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import psutil

from heavyweight import telemetry
from heavyweight.telemetry.nvml import Gpus

SAMPLES_PER_S = 2.0  # a look at vLLM takes 25 to 60 ms of CPU: its page tables are walked
PROC = Path("/proc")
_KIB = re.compile(r"^(\w+):\s+(\d+) kB$", re.M)
_THREADS = re.compile(r"^Threads:\s+(\d+)$", re.M)
_STATUS = {
    "rss_bytes": "VmRSS", "anonymous_bytes": "RssAnon", "file_bytes": "RssFile",
    "shmem_bytes": "RssShmem", "highest_rss_bytes": "VmHWM",
}  # fmt: skip


@dataclass(frozen=True)
class Footprint:
    """What the processes of one server take together; None: this system does not tell.

    Args:
        processes: how many there are.
        threads: of all of them.
        rss_bytes: resident; pages that they share count for each.
        pss_bytes: proportional; nothing counts twice.
        private_bytes: of pages that nobody else has.
        anonymous_bytes: the part of rss_bytes that is backed by no file: heap, weights that were
            read, KV cache.
        file_bytes: the part that is backed by files: programs, libraries, mapped weights.
        shmem_bytes: the part that is shared memory.
        highest_rss_bytes: sum of each process's own highest RSS (VmHWM), as the kernel keeps it;
            at least the highest of the sum.
        vram_bytes: of all GPUs, above what was used before the start; None: there is none, or it
            did not answer.
        on_gpu: whether there are GPUs that told before the start what was used of them.
    """

    processes: int
    threads: int | None
    rss_bytes: int
    pss_bytes: int | None
    private_bytes: int | None
    anonymous_bytes: int | None
    file_bytes: int | None
    shmem_bytes: int | None
    highest_rss_bytes: int | None
    vram_bytes: int | None = None
    on_gpu: bool = False

    @property
    def taken_bytes(self) -> int | None:
        """The count that is compared: of the GPUs if there are any, else PSS, else RSS.

        None where there are GPUs that did not tell: another count is not put in its place.
        """
        if self.on_gpu:
            return self.vram_bytes
        return self.rss_bytes if self.pss_bytes is None else self.pss_bytes

    @classmethod
    def of(cls, pgid: int, vram_before_bytes: int | None = None) -> Self:
        """Look at a process group now.

        Args:
            pgid: of the server.
            vram_before_bytes: used on the GPUs before it was started; None: there are none.
        """
        seen = [one for one in map(_of_process, telemetry.process_group(pgid)) if one]

        def summed(name: str) -> int | None:
            return sum(one[name] for one in seen) if all(name in one for one in seen) else None

        vram = None if vram_before_bytes is None else vram_used_bytes()
        return cls(
            processes=len(seen),
            threads=summed("threads"),
            rss_bytes=summed("rss_bytes") or 0,
            pss_bytes=summed("pss_bytes"),
            private_bytes=summed("private_bytes"),
            anonymous_bytes=summed("anonymous_bytes"),
            file_bytes=summed("file_bytes"),
            shmem_bytes=summed("shmem_bytes"),
            highest_rss_bytes=summed("highest_rss_bytes"),
            vram_bytes=None if vram is None else max(0, vram - (vram_before_bytes or 0)),
            on_gpu=vram_before_bytes is not None,
        )

    def highest(self, other: Self) -> Self:
        """Of each count the higher one: the two need not have been at one moment."""

        def higher(name: str) -> int | None:
            known = [n for n in (getattr(self, name), getattr(other, name)) if n is not None]
            return max(known, default=None)

        both: dict[str, Any] = {field.name: higher(field.name) for field in fields(self)}
        return replace(self, **both)


def _of_process(process: psutil.Process) -> dict[str, int] | None:
    """The counts of one process; None: it has ended."""
    folder = PROC / str(process.pid)
    try:
        status = (folder / "status").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        with suppress(psutil.Error):
            return {"rss_bytes": process.memory_info().rss}
        return None
    except OSError:
        return None
    told = {name: int(kib) * 1024 for name, kib in _KIB.findall(status)}
    found = {name: told[field] for name, field in _STATUS.items() if field in told}
    if "rss_bytes" not in found:
        return None  # it is ending, and has no memory any more
    if threads := _THREADS.search(status):
        found["threads"] = int(threads[1])
    with suppress(OSError):  # another user's, or a kernel before 4.14
        rollup = (folder / "smaps_rollup").read_text(encoding="utf-8")
        told = {name: int(kib) * 1024 for name, kib in _KIB.findall(rollup)}
        if "Pss" in told:
            found["pss_bytes"] = told["Pss"]
            found["private_bytes"] = told["Private_Clean"] + told["Private_Dirty"]
            found["rss_bytes"] = told["Rss"]  # exact; that of status is summed up now and then
    return found


def forget_highest(pgid: int) -> None:
    """Let the kernel count each process's highest RSS anew (proc(5), clear_refs), if it lets us."""
    for process in telemetry.process_group(pgid):
        with suppress(OSError):
            (PROC / str(process.pid) / "clear_refs").write_text("5", encoding="ascii")


class Watch:
    """The highest of each count while inside, sampled in a thread of its own.

    The counts are sampled, so that a peak between two samples is missed; ``highest_rss_bytes`` is
    the kernel's own and misses none.

    Args:
        pgid: process group of the server.
        vram_before_bytes: as of :meth:`Footprint.of`.

    Attributes:
        peak: known once it was left.
        samples: how many there were.
        cost_s: CPU time that they took.
    """

    peak: Footprint

    def __init__(self, pgid: int, vram_before_bytes: int | None = None) -> None:
        self._pgid, self._vram_before_bytes = pgid, vram_before_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples, self.cost_s = 0, 0.0

    def __enter__(self) -> Self:
        forget_highest(self._pgid)
        self.peak = Footprint.of(self._pgid, self._vram_before_bytes)
        self.samples = 1
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        ended = False
        while not ended:
            ended = self._over.wait(1 / SAMPLES_PER_S)  # one more look at the end
            before_s = time.thread_time()
            now = Footprint.of(self._pgid, self._vram_before_bytes)
            if now.processes:  # a server that died leaves the peak of its life
                self.peak = self.peak.highest(now)
            self.samples += 1
            self.cost_s += time.thread_time() - before_s


@functools.cache
def _gpus() -> Gpus:
    """The GPUs that a server may use; opened once, for the life of the kernel."""
    return Gpus.of_environment()


def vram_used_bytes() -> int | None:
    """Memory used on the GPUs, by whomever; None: there is none, or it does not tell.

    An instance of a GPU (MIG), "0.1", is a part of "0" and counts where that does not tell.
    """
    told = _gpus().sample()
    used = {name: value for name, quantity, value in told if quantity == "memory_used_bytes"}
    whole = [
        value
        for name, value in used.items()
        if "." not in name or name.partition(".")[0] not in used
    ]
    return int(sum(whole)) if whole else None
