"""A log that is read while it grows: when each of its lines appeared, on the study's clock.

A server's own stamps are whole seconds (vLLM), or of another clock than the requests' (all).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.01  # resolution of the stamps


@dataclass(frozen=True)
class Line:
    """One line of a log.

    Attributes:
        seen_ns: time.perf_counter_ns when it was there.
        text: without its end.
    """

    seen_ns: int
    text: str


class WatchedLog:
    """Stamps the lines of a log while inside.

    Args:
        path: of the log, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[Line] = []
        self._rest = b""
        self._read_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def lines(self) -> list[Line]:
        """What has appeared so far."""
        return list(self._lines)

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            if self._path.stat().st_size <= self._read_bytes:
                return
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                new = file.read()
        except OSError:  # not there yet
            return
        now_ns = time.perf_counter_ns()
        self._read_bytes += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        self._lines += [Line(now_ns, line.decode("utf-8", "replace")) for line in whole]
