"""Waking at absolute times: in order, all of them, never early."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from heavyweight.load import pacing
from heavyweight.load.pacing import Pacer

Run = Callable[[Coroutine[Any, Any, Any]], Any]
MS = 1_000_000


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run in either loop."""
    return uvloop.run if request.param == "uvloop" else asyncio.run


@pytest.fixture(params=["timer", "spin", "loop's timers"])
def spin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each way to wait."""

    def none(self: object) -> None:
        raise OSError("no timerfd here")

    if request.param == "loop's timers":
        monkeypatch.setattr(pacing._Timer, "__init__", none)
    return request.param == "spin"


def test_all_wake_in_the_order_of_their_times_and_none_early(run: Run, spin: bool) -> None:
    async def wake() -> list[tuple[int, int]]:
        woken: list[tuple[int, int]] = []
        draw = random.Random(1)
        after = [draw.randrange(40) * MS for _ in range(20)]  # some of them alike
        after += [draw.randrange(40 * MS) for _ in range(180)]

        async def one(due_ns: int) -> None:
            assert await pacer.until(due_ns)
            woken.append((due_ns, time.perf_counter_ns()))

        with Pacer(spin) as pacer:
            gc.collect()  # here it takes 0.1 s; in the loop it would let times pass
            begin = time.perf_counter_ns() + 20 * MS
            due = [begin + more for more in after]
            await asyncio.gather(*map(one, random.Random(2).sample(due, len(due))))
        assert sorted(due) == [due_ns for due_ns, _ in woken]
        return woken

    assert all(now_ns >= due_ns for due_ns, now_ns in run(wake()))


def test_who_comes_late_does_not_overtake_those_that_are_due_before(run: Run, spin: bool) -> None:
    async def both_late() -> list[str]:
        went_on = []

        async def one(name: str, due_ns: int) -> None:
            await pacer.until(due_ns)
            went_on.append(name)

        with Pacer(spin) as pacer:
            begin = time.perf_counter_ns()
            first = asyncio.create_task(one("first", begin + 20 * MS))
            await asyncio.sleep(0)  # it waits
            time.sleep(0.05)  # the loop stands still, and both times pass
            await asyncio.gather(one("second", begin + 21 * MS), first)
        return went_on

    assert run(both_late()) == ["first", "second"]


def test_who_was_woken_and_cancelled_holds_nobody_up(run: Run, spin: bool) -> None:
    async def cancelled() -> None:
        with Pacer(spin) as pacer:
            waiting = asyncio.create_task(pacer.until(time.perf_counter_ns() + 5 * MS))
            await asyncio.sleep(0)
            time.sleep(0.01)
            pacer._look()  # wakes it
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            late = pacer.until(time.perf_counter_ns())
            with pytest.raises(StopIteration):  # at once
                late.send(None)

    run(cancelled())


def test_a_time_that_has_passed_is_not_waited_for(run: Run, spin: bool) -> None:
    async def at_once() -> None:
        with Pacer(spin) as pacer:
            waiting = pacer.until(time.perf_counter_ns())
            with pytest.raises(StopIteration) as stop:  # not one turn of the loop
                waiting.send(None)
            assert stop.value.value is True

    run(at_once())


def test_a_release_wakes_everybody(run: Run, spin: bool) -> None:
    async def release() -> list[bool]:
        with Pacer(spin) as pacer:
            far = time.perf_counter_ns() + 3600 * 10**9
            waiting = [asyncio.ensure_future(pacer.until(far + i)) for i in range(3)]
            await asyncio.sleep(0)
            pacer.release()
            return [*(await asyncio.gather(*waiting)), await pacer.until(far)]

    assert run(release()) == [False] * 4


def test_a_waiter_that_is_cancelled_disturbs_no_other(run: Run, spin: bool) -> None:
    async def cancel() -> bool:
        with Pacer(spin) as pacer:
            now = time.perf_counter_ns()
            first, second = (asyncio.ensure_future(pacer.until(now + i * MS)) for i in (2, 4))
            await asyncio.sleep(0)
            first.cancel()
            return await second

    assert run(cancel())


def test_an_earlier_time_overtakes_a_later_one(run: Run, spin: bool) -> None:
    async def overtake() -> bool:
        with Pacer(spin) as pacer:
            far = asyncio.ensure_future(pacer.until(time.perf_counter_ns() + 3600 * 10**9))
            await asyncio.sleep(0)
            await pacer.until(time.perf_counter_ns() + MS)
            return far.done()

    assert run(overtake()) is False


def test_sockets_are_read_while_it_spins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "SPIN_NS", 3600 * 10**9)  # all of the pause

    async def reads() -> bool:
        here, there = socket.socketpair()
        read_ns: list[int] = []
        loop = asyncio.get_running_loop()
        with here, there, Pacer(spin=True) as pacer:
            loop.add_reader(here, lambda: read_ns.append(time.perf_counter_ns()) or here.recv(1))
            due_ns = time.perf_counter_ns() + 200 * MS
            waiting = asyncio.ensure_future(pacer.until(due_ns))
            await asyncio.sleep(0)
            there.send(b"x")
            await waiting
            loop.remove_reader(here)
        return bool(read_ns) and read_ns[0] < due_ns

    assert run(reads())


def test_nothing_is_left_open(run: Run) -> None:
    async def use() -> int:
        before = len(os.listdir("/proc/self/fd"))
        with Pacer() as pacer:
            await pacer.until(time.perf_counter_ns() + MS)
        return len(os.listdir("/proc/self/fd")) - before

    assert run(use()) == 0


def test_how_late_it_is_beside_the_loops_own_sleep(capsys: pytest.CaptureFixture[str]) -> None:
    async def late(pacer: Pacer | None) -> float:
        """Median lateness in us of pauses of odd lengths."""
        found = []
        for i in range(40):
            due_ns = time.perf_counter_ns() + 2 * MS + i * 37_000
            if pacer is None:
                await asyncio.sleep((due_ns - time.perf_counter_ns()) / 1e9)
            else:
                await pacer.until(due_ns)
            found.append(abs(time.perf_counter_ns() - due_ns) / 1e3)
        return statistics.median(found)

    async def both() -> tuple[float, float]:
        with Pacer() as pacer:
            return await late(pacer), await late(None)

    ours, plain = uvloop.run(both())
    with capsys.disabled():
        print(
            f"\nlateness, uvloop: asyncio.sleep is {plain / ours:.1f} times off as much as we are"
        )
    assert ours > 0
