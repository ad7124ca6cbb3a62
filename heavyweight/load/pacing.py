"""Waking at absolute times: never early, and late by far less than a millisecond.

uvloop's and asyncio's own timers count in milliseconds and from now on. Here the kernel's timer is
set to the absolute time of the next wake-up (timerfd_create(2), CLOCK_MONOTONIC, which is the clock
of ``time.perf_counter_ns``) and is one more file that the loop watches. Where there is no timerfd
the loop's own timers are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import os
import sys
import time
from itertools import count
from typing import Self

SPIN_NS = 300_000  # the last part of a pause that is waited for actively, if at all
ABSOLUTE = 1  # TFD_TIMER_ABSTIME


class _Itimerspec(ctypes.Structure):
    """struct itimerspec: the interval, then the first expiry."""

    _fields_ = (
        ("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long), ("value_ns", ctypes.c_long),
    )  # fmt: skip


class _Timer:
    """A timer of the kernel that makes a file readable at an absolute time.

    Raises:
        OSError: there is none on this system.
    """

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("timerfd is Linux's")
        self.fd: int
        if sys.version_info >= (3, 13):
            self.fd = os.timerfd_create(
                time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC
            )
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._spec = _Itimerspec()
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are the same numbers
        try:
            self.fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, flags)
        except AttributeError as error:
            raise OSError("the C library has no timerfd") from error
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at_ns: int) -> None:
        """Expire once, at that time; at once if it has passed."""
        if sys.version_info >= (3, 13):
            os.timerfd_settime_ns(self.fd, flags=ABSOLUTE, initial=at_ns)
            return
        self._spec.value_s, self._spec.value_ns = divmod(at_ns, 10**9)
        if self._libc.timerfd_settime(self.fd, ABSOLUTE, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """Take the expiry, so that the file is not readable any more."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)


class Pacer:
    """Wakes waiters at absolute times of ``time.perf_counter_ns``, in the order of these times.

    Args:
        spin: wait actively for the last part of each pause. The loop reads its sockets between two
            looks at the clock, but the core is never idle then: only where nobody shares it.
    """

    def __init__(self, spin: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._early_ns = SPIN_NS if spin else 0
        self._waiting: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._number = count()
        self._woken = 0  # waiters that were woken and did not go on yet
        self._spinning = self._released = False
        self._armed_ns = 0
        self._timer: _Timer | None = None
        self._handle: asyncio.TimerHandle | None = None
        with contextlib.suppress(OSError):
            self._timer = _Timer()
            self._loop.add_reader(self._timer.fd, self._expired)

    @property
    def kind(self) -> str:
        """How it waits."""
        timer = "timerfd" if self._timer else "the loop's timers"
        return f"{timer}, the last {SPIN_NS // 1000} us spinning" if self._early_ns else timer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._loop.remove_reader(self._timer.fd)
            os.close(self._timer.fd)
            self._timer = None

    async def until(self, due_ns: int) -> bool:
        """Wait until a time; return at once, without a turn of the loop, if it has passed.

        Who comes when its time has passed does not overtake those whose time was earlier and who
        are still to be woken, or were woken and did not have their turn yet.

        Returns:
            False: the pacer was released before.
        """
        if self._released:
            return False
        overtakes = self._woken or (self._waiting and self._waiting[0][0] < due_ns)
        if due_ns <= time.perf_counter_ns() and not overtakes:
            return True
        waiter = self._loop.create_future()
        heapq.heappush(self._waiting, (due_ns, next(self._number), waiter))
        self._arm()
        try:
            return bool(await waiter)
        finally:  # also where its task is cancelled between the two
            if waiter.done() and not waiter.cancelled():
                self._woken -= waiter.result()

    def release(self) -> None:
        """Wake all waiters now; nobody waits any more."""
        self._released = True
        for _, _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(False)
        self._waiting.clear()

    def _expired(self) -> None:
        if self._timer is not None:
            self._timer.clear()
        self._armed_ns = 0
        self._look()

    def _look(self) -> None:
        """Wake all that are due."""
        self._spinning = False
        while self._waiting and self._waiting[0][0] <= time.perf_counter_ns():
            waiter = heapq.heappop(self._waiting)[2]
            if not waiter.done():
                waiter.set_result(True)
                self._woken += 1
        self._arm()

    def _arm(self) -> None:
        """See to it that :meth:`_look` is called when the next one is due, or soon before."""
        if not self._waiting or self._spinning:
            return
        wake_ns = self._waiting[0][0] - self._early_ns
        if self._early_ns and wake_ns <= time.perf_counter_ns():
            self._spinning = True
            self._loop.call_soon(self._look)
        elif wake_ns != self._armed_ns:
            self._armed_ns = wake_ns
            if self._timer is not None:
                self._timer.set(wake_ns)
                return
            if self._handle is not None:
                self._handle.cancel()
            left_s = max(0.0, (wake_ns - time.perf_counter_ns()) / 1e9)
            self._handle = self._loop.call_later(left_s, self._expired)
