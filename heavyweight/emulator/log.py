"""The server's own log, written when it delays nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

_QUIET_NS = 2_000_000  # a line is written where nothing is due for so long
_WAIT_S = 0.002  # before another look
_OLDEST_NS = 200_000_000  # a line waits no longer, even where something is always due


class Log:
    """JSON lines, one a request, on CLOCK_MONOTONIC."""

    def __init__(self, path: Path, next_ns: Callable[[], int | None]) -> None:
        """Append to a file; ``next_ns`` tells when the next write is due."""
        self._file = path.open("a", encoding="utf-8")
        self._next_ns = next_ns
        self._waiting: deque[dict[str, Any]] = deque()
        self._handle: asyncio.Handle | None = None

    def add(self, line: dict[str, Any]) -> None:
        """Take a request's line, with ``ended_ns`` in it."""
        self._waiting.append(line)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._handle = None
        oldest_ns = time.perf_counter_ns() - _OLDEST_NS
        forced = 1 + len(self._waiting) // 32
        while self._waiting:
            due_ns = self._next_ns()
            if due_ns is not None and due_ns - time.perf_counter_ns() < _QUIET_NS:
                if self._waiting[0]["ended_ns"] > oldest_ns or not forced:
                    loop = asyncio.get_running_loop()
                    self._handle = loop.call_later(_WAIT_S, self._look)
                    break
                forced -= 1
            self._write()
        self._file.flush()

    def _write(self) -> None:
        self._file.write(json.dumps(self._waiting.popleft()) + "\n")

    def close(self) -> None:
        """Write what is left."""
        if self._handle:
            self._handle.cancel()
        while self._waiting:
            self._write()
        self._file.close()
