"""The process that measures one cell: uvloop, no collector, nothing parsed until the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import platform
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa

from heavyweight import store, telemetry
from heavyweight.arrivals import Schedule, read_trace, schedule
from heavyweight.errors import Stopped
from heavyweight.load import limits, rows
from heavyweight.load.client import Client
from heavyweight.load.closed import ClosedLoop
from heavyweight.load.idle import idle
from heavyweight.load.loop import Loop
from heavyweight.load.open import OpenLoop
from heavyweight.load.spec import LoadSpec
from heavyweight.records import Cell, MachineLoad

TICK_S = 0.25
THREAD_TURN_S = 0.0005  # Python's own is 5 ms
RATE_S = 3.0  # the live rate is a mean over this long


def run(coroutine: Callable[[], Awaitable[Path]]) -> Path:
    """Run in uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(coroutine())  # type: ignore[arg-type]
    return uvloop.run(coroutine())  # type: ignore[arg-type]


def _loop_name() -> str:
    module = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    return f"{module} {sys.modules[module].__version__}" if module == "uvloop" else module


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection while streams are live: a full one takes milliseconds."""
    gc.collect()
    gc.freeze()
    gc.disable()
    # The one other thread looks at the machine: it must let go of the interpreter at once.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(THREAD_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.enable()
        gc.unfreeze()


class Observer:
    """Two looks at the machine, at the edges of the window, without holding up the loop."""

    def __init__(self, server_pgid: int | None) -> None:
        self._pgid = server_pgid
        self._looks: list[asyncio.Future[telemetry.Snapshot]] = []

    def look(self) -> asyncio.Future[telemetry.Snapshot]:
        """Take a snapshot in a thread."""
        loop = asyncio.get_running_loop()
        self._looks.append(
            loop.run_in_executor(None, telemetry.Snapshot.take, self._pgid, os.getpid())
        )
        return self._looks[-1]

    async def load(self) -> MachineLoad:
        """What the machine did between the last two snapshots."""
        while len(self._looks) < 2:
            await self.look()
        first, last = await asyncio.gather(*self._looks[-2:])
        return telemetry.between(first, last)


class Reporter:
    """Progress as one small JSON file, replaced as a whole."""

    def __init__(self, path: Path | None, loop: Loop) -> None:
        self._path, self._loop = path, loop
        self._history: deque[tuple[float, int]] = deque()

    def report(self) -> None:
        """Write where the cell is; a courtesy: a full disk shows elsewhere."""
        if self._path is None:
            return
        loop, now_s = self._loop, time.perf_counter()
        events = loop.events
        self._history.append((now_s, events))
        while now_s - self._history[0][0] > RATE_S:
            self._history.popleft()
        then_s, before = self._history[0]
        state = {
            "phase": loop.phase,
            "done": len(loop.done),
            "errors": loop.errors,
            "in_flight": loop.in_flight,
            "live_tok_s": (events - before) / (now_s - then_s) if now_s > then_s else 0.0,
            "elapsed_s": (time.perf_counter_ns() - loop.origin_ns) / 1e9 if loop.origin_ns else 0,
            **loop.progress(),
        }
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(state), encoding="utf-8")
            temporary.replace(self._path)


async def _tick(spec: LoadSpec, loop: Loop, reporter: Reporter) -> None:
    """A few times a second: time-outs, progress, and whether to stop."""
    given = spec.timeouts
    period_s = min(TICK_S, given.first_s / 4, given.gap_s / 4, given.total_s / 4)
    reported_s = 0.0
    while True:
        await asyncio.sleep(period_s)
        loop.check_memory(await loop.client.watch_in_turns())
        if time.perf_counter() - reported_s >= TICK_S:
            reported_s = time.perf_counter()
            reporter.report()
            asked = spec.stop_path is not None and spec.stop_path.exists()
            if asked or (spec.parent_pid is not None and os.getppid() != spec.parent_pid):
                raise Stopped("the cell was stopped; what was measured of it is discarded")


async def _until_stopped(spec: LoadSpec, loop: Loop, reporter: Reporter) -> None:
    """Run the cell.

    Raises:
        Stopped: by a signal, by the stop file, or since the parent process is gone.
    """
    running = asyncio.create_task(loop.run())
    ticking = asyncio.create_task(_tick(spec, loop, reporter))
    events = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        events.add_signal_handler(number, running.cancel)
    try:
        await asyncio.wait({running, ticking}, return_when=asyncio.FIRST_COMPLETED)
        if ticking.done():
            ticking.result()
        if running.cancelled():
            raise Stopped("the cell was stopped; what was measured of it is discarded")
        running.result()
    finally:
        for task in (running, ticking):
            task.cancel()
        await asyncio.gather(running, ticking, return_exceptions=True)


async def measure_cell(spec: LoadSpec) -> Path:
    """Measure one cell and write it.

    Returns:
        The parquet file.

    Raises:
        Stopped: nothing was written.
        BadInput: the load cannot be made: its trace, its cores, or what it takes of memory.
        StoreError: the cell exists already, or cannot be written.
    """
    limits.bind(spec)
    limits.raise_open_files()
    planned = _schedule(spec)
    client = Client(
        spec.base_url,
        spec.api,
        spec.model,
        spec.extra_body,
        spec.headers,
        spec.timeouts,
        spec.allow_remote,
    )
    observer = Observer(spec.server_pgid)
    try:
        bound = limits.bound_bytes(spec)
        loop: Loop
        if planned is None:
            loop = ClosedLoop(spec, client, observer.look, bound)
        else:
            loop = OpenLoop(spec, client, observer.look, bound, planned)
        limits.check_memory(loop.least_requests, _mean_length(spec, planned), bound)
        reporter = Reporter(spec.progress_path, loop)
        with _undisturbed():
            await observer.look()
            now_utc, now_ns = datetime.now(UTC), time.perf_counter_ns()
            await _until_stopped(spec, loop, reporter)
    finally:
        await client.close()
    idle_after = await idle(spec.cell["server"], spec.base_url)
    loop.phase = "write"
    reporter.report()
    origin_utc = now_utc + timedelta(microseconds=(loop.origin_ns - now_ns) / 1000)
    known = spec.known()
    if planned is not None and known["rate_per_s"] is None:
        known["rate_per_s"] = planned.mean_rate_per_s
    cell = Cell(
        **known,
        origin_monotonic_ns=loop.origin_ns,
        origin_utc=origin_utc.isoformat(timespec="milliseconds"),
        window_start_ns=loop.window.start_ns - loop.origin_ns,
        window_end_ns=loop.window.end_ns - loop.origin_ns,
        ended=loop.ended,
        idle_after=idle_after,
        machine_load=await observer.load(),
        client=_client(loop),
    )
    return store.write_cell(spec.out_dir, cell, _table(loop))


def _schedule(spec: LoadSpec) -> Schedule | None:
    """When the requests are due; None: a closed loop.

    Raises:
        BadInput: there is no such schedule.
    """
    arrivals = spec.arrivals
    if arrivals is None:
        return None
    trace = None if arrivals.trace is None else read_trace(arrivals.trace)
    return schedule(arrivals, spec.seed, spec.block, trace)


def _mean_length(spec: LoadSpec, planned: Schedule | None) -> int:
    """Output tokens of a request, on average."""
    if planned is None or planned.output_tokens is None:
        return spec.output_tokens
    return int(planned.output_tokens.mean())


def _table(loop: Loop) -> pa.Table:
    """The rows; a trace may ask another length of each request."""
    spec = loop.spec
    return rows.table(loop.done, loop.origin_ns, spec.start_id, spec.output_tokens, loop.asked)


def _client(loop: Loop) -> dict[str, Any]:
    """How this process ran."""
    cores = getattr(os, "sched_getaffinity", lambda _: set(range(os.cpu_count() or 1)))(0)
    bound = loop.spec.cores is not None
    return {
        "loop": _loop_name(),
        "aiohttp": aiohttp.__version__,
        "python": platform.python_version(),
        "collector": "frozen and disabled",
        "affinity": ",".join(map(str, sorted(cores))),
        "cores": "its own" if bound else "not bound",
        "pacing": loop.pacing,
        "spin": "yes" if loop.spec.spin else "no",
        "stamps": "data_received, perf_counter_ns, one a read",
    }
