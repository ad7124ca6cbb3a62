"""How much memory a server's processes hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class MemoryTaken:
    """Memory of a process group at one moment.

    Args:
        rss_bytes: resident; pages that processes share count for each.
        pss_bytes: the same with shared pages divided among those that share them; None: the system
            does not tell.
    """

    rss_bytes: int
    pss_bytes: int | None

    @property
    def bytes(self) -> int:
        """Shared pages divided, where that is known."""
        return self.rss_bytes if self.pss_bytes is None else self.pss_bytes

    @classmethod
    def of(cls, processes: Sequence[psutil.Process]) -> MemoryTaken:
        """Read it; takes some milliseconds a GiB, so not while a stamp is due."""
        rss, pss = 0, 0
        known = True
        for process in processes:
            try:
                rss += process.memory_info().rss
            except psutil.Error:
                continue
            try:
                pss += process.memory_full_info().pss
            except (psutil.Error, AttributeError):  # not Linux, or not ours to look at
                known = False
        return cls(rss, pss if known else None)
