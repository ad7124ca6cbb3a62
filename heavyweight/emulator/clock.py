"""One timer for everything that is due, exact to some ten microseconds.

asyncio's own timers wake up to a millisecond late, since its selector counts in milliseconds. Linux
has timers that are files (timerfd), which a loop can watch like a socket.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import os
import sys
import time
from itertools import count
from typing import Protocol

SLICE_NS = 150_000  # of work, after which the loop may read what came meanwhile
_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC if sys.platform == "linux" else 0


class Due(Protocol):
    """What can be due."""

    def turn(self, now_ns: int) -> int | None:
        """Do what is due; returns when it is due again, or None: never."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("ns", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Clock:
    """Calls what is due, in the order of the due times; late wake-ups never add up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, Due]] = []
        self._numbers = count()
        self._armed_ns = 0
        self._running = False
        self._handle: asyncio.TimerHandle | None = None
        self.late_ns = 0  # the latest that anything was begun
        self._fd = self._open()
        if self._fd is not None:
            loop.add_reader(self._fd, self.run)

    def _open(self) -> int | None:
        """A timerfd, where the system has one."""
        if sys.platform != "linux":
            return None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = _Timer()
        fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        return fd if fd >= 0 else None

    @property
    def next_ns(self) -> int | None:
        """When the next thing is due."""
        return self._heap[0][0] if self._heap else None

    def push(self, due_ns: int, what: Due) -> None:
        """Call it at that time."""
        heapq.heappush(self._heap, (due_ns, next(self._numbers), what))
        if not self._running and (not self._armed_ns or due_ns < self._armed_ns):
            self._arm(due_ns)

    def run(self) -> None:
        """Do what is due now, for a slice of time at most."""
        if self._running:
            return
        heap, pop, push, numbers = self._heap, heapq.heappop, heapq.heappush, self._numbers
        now_ns = time.perf_counter_ns()
        end_ns = now_ns + SLICE_NS
        self._running = True
        try:
            while heap and heap[0][0] <= now_ns < end_ns:
                due_ns, _, what = pop(heap)
                self.late_ns = max(self.late_ns, now_ns - due_ns)
                again_ns = what.turn(now_ns)
                if again_ns is not None:
                    push(heap, (again_ns, next(numbers), what))
                now_ns = time.perf_counter_ns()
        finally:
            self._running = False
            self._arm(heap[0][0] if heap else 0)

    def run_if_due(self) -> None:
        """Do what is due in between, where much else keeps the loop from the timer."""
        if self._heap and self._heap[0][0] <= time.perf_counter_ns():
            self.run()

    def _arm(self, due_ns: int) -> None:
        """Set the timer; 0: stop it. A time in the past wakes the loop at once."""
        self._armed_ns = due_ns
        if self._fd is not None:
            value = self._timer.value
            value.seconds, value.ns = divmod(due_ns, 1_000_000_000)
            self._libc.timerfd_settime(
                self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._timer), None
            )
            return
        if self._handle:
            self._handle.cancel()
            self._handle = None
        if due_ns:
            left_s = (due_ns - time.perf_counter_ns()) / 1e9
            self._handle = self._loop.call_later(max(0.0, left_s), self.run)

    def close(self) -> None:
        """Stop the timer."""
        self._heap.clear()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
        elif self._handle:
            self._handle.cancel()
