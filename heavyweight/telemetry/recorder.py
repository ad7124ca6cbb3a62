"""The recorder: some samples per second while a cell runs, taken in the notebook's kernel.

The kernel only waits meanwhile: the load generator is a process of its own, and no stamp of a
request is taken in this one. The server itself is asked by a thread of its own and less often,
since a question costs the server, and a busy one is slow to answer.

Nothing that goes wrong here may cost a cell: it becomes a note, told once, and the rest goes on.
"""

from __future__ import annotations

import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import pyarrow as pa

from heavyweight.errors import StudyError
from heavyweight.recordings import write_telemetry
from heavyweight.records import TELEMETRY_SCHEMA, Telemetry, measured
from heavyweight.store import CellFile
from heavyweight.telemetry.machine import MachineCounters
from heavyweight.telemetry.nvml import Gpus
from heavyweight.telemetry.processes import Census

HZ = 5.0
SERVER_HZ = 1.0
LOOK_HZ = 1.0  # for processes that were started meanwhile
PATIENCE_S = 5.0  # for a thread to end; a driver that hangs does not hang the study

Told = list[tuple[str, str, float]]
_told_already: set[str] = set()


class Watchable(Protocol):
    """A server as the recorder sees it: :class:`heavyweight.servers.base.Server`."""

    @property
    def pgid(self) -> int | None:
        """Its process group; None where it is not ours."""

    def metrics(self) -> dict[str, float]:
        """What it tells of itself; quick, and empty where it tells nothing."""


class Recorder:
    """Records while inside; :meth:`write` puts it beside the cell.

    Args:
        server_pgid: process group of the server; None where it is not ours.
        ask: what the server tells of itself; None: it is not asked.
        hz: samples per second.
        server_hz: how often the server is asked, per second.
        gpus: those that are watched; by default those that the server may use.

    Attributes:
        notes: what could not be recorded, in words.
        samples: taken so far.
        missed: samples that were due while another was still being taken.
        cpu_s: CPU time of the recording so far, in seconds.
    """

    def __init__(
        self,
        server_pgid: int | None,
        ask: Callable[[], dict[str, float]] | None = None,
        *,
        hz: float = HZ,
        server_hz: float = SERVER_HZ,
        gpus: Callable[[], Gpus] = Gpus.of_environment,
    ) -> None:
        self._pgid, self._ask, self._open_gpus = server_pgid, ask, gpus
        self.hz, self.server_hz = hz, server_hz
        self.notes: list[str] = []
        self.samples = self.missed = 0
        self._began_ns = self._ended_ns = 0
        self._cpu_s: dict[str, float] = {}
        self._series: dict[tuple[str, str, str], tuple[array[int], array[float]]] = {}
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    @classmethod
    def of(cls, server: Watchable) -> Self:
        """The recorder of a server."""
        return cls(server.pgid, server.metrics)

    @property
    def cpu_s(self) -> float:
        """CPU time of the recording so far, in seconds."""
        return sum(self._cpu_s.values())

    def __enter__(self) -> Self:
        self._began_ns = time.perf_counter_ns()
        jobs = [(self._watch, "watch")] + ([(self._question, "ask")] if self._ask else [])
        for job, name in jobs:
            thread = threading.Thread(target=job, name=f"telemetry {name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the recording; safe to call twice."""
        if self._over.is_set():
            return
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            if thread.is_alive():
                self.note(f"the {thread.name} did not end; what it had recorded is kept")
        self._ended_ns = time.perf_counter_ns()

    def note(self, text: str) -> None:
        """Keep what could not be recorded, and tell it: once a kernel, not once a cell."""
        if text not in self.notes:
            self.notes.append(text)
        if text not in _told_already:
            _told_already.add(text)
            print(f"telemetry: {text}", file=sys.stderr, flush=True)

    def write(self, cell_path: Path) -> Path | None:
        """Write what was recorded beside the cell; ends the recording.

        Returns:
            The file; None if it could not be written, which was told.
        """
        self.stop()
        try:
            cell = CellFile(cell_path).cell
            record = Telemetry(
                cell_id=cell.cell_id,
                hz=self.hz,
                server_hz=self.server_hz if self._ask else 0.0,
                samples=self.samples,
                missed=self.missed,
                elapsed_s=(self._ended_ns - self._began_ns) / 1e9,
                cpu_s=self.cpu_s,
                notes=list(self.notes),
            )
            origin_ns = measured(cell.origin_monotonic_ns)
            return write_telemetry(cell_path, record, self.table(origin_ns))
        except (StudyError, OSError, pa.ArrowException) as error:
            self.note(f"the telemetry of {cell_path.name} was not written: {error}")
            return None

    def table(self, origin_ns: int) -> pa.Table:
        """What was recorded, as rows of :data:`heavyweight.records.TELEMETRY_SCHEMA`.

        Args:
            origin_ns: the cell's origin on CLOCK_MONOTONIC, from which the stamps are counted.
        """
        tables = [TELEMETRY_SCHEMA.empty_table()]
        for words, (stamps, values) in sorted(self._series.items()):
            n = min(len(stamps), len(values))  # a thread that hangs may be between the two
            columns = [pa.array(np.array(stamps[:n], np.int64) - origin_ns)]
            for word in words:
                index = pa.array(np.zeros(n, np.int32))
                columns.append(pa.DictionaryArray.from_arrays(index, [word]))
            columns.append(pa.array(np.array(values[:n], np.float64)))
            tables.append(pa.Table.from_arrays(columns, schema=TELEMETRY_SCHEMA))
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()

    def _add(self, at_ns: int, source: str, told: Told) -> None:
        for name, quantity, value in told:
            key = (source, name, quantity)
            if key not in self._series:
                self._series[key] = array("q"), array("d")
            stamps, values = self._series[key]
            stamps.append(at_ns)
            values.append(value)

    def _watch(self) -> None:
        """The samples of processes, machine and GPUs."""
        gpus: Gpus | None = None
        try:
            census, counters = Census(self._pgid), MachineCounters()
            gpus = self._open_gpus()
            every = max(1, round(self.hz / LOOK_HZ))
            self._repeat(self.hz, lambda number: self._sample(
                census, counters, gpus, number % every == 0))  # fmt: skip
        except Exception as error:
            self.note(f"the machine is not watched any more: {type(error).__name__}: {error}")
        finally:
            if gpus is not None:
                gpus.close()

    def _sample(
        self, census: Census, counters: MachineCounters, gpus: Gpus | None, look: bool
    ) -> None:
        """One sample; ``look``: also for what is needed less often."""
        at_ns = time.perf_counter_ns()
        if look:
            census.look()
        self._add(at_ns, "process", census.server.sample())
        census.study.sample(details=False)
        server_s = None if self._pgid is None else census.server.clock.total_s
        told = counters.sample(server_s, census.study.clock.total_s, look)
        self._add(at_ns, "machine", [("", *one) for one in told])
        if gpus is not None:
            self._add(at_ns, "gpu", gpus.sample())
            for text in gpus.notes:
                self.note(text)
        self.samples += 1

    def _question(self) -> None:
        """What the server tells of itself."""

        def ask(_: int) -> None:
            assert self._ask is not None
            at_ns = time.perf_counter_ns()
            self._add(at_ns, "server", [("", *one) for one in sorted(self._ask().items())])

        try:
            self._repeat(self.server_hz, ask, counted=False)
        except Exception as error:
            self.note(f"the server is not asked any more: {type(error).__name__}: {error}")

    def _repeat(self, hz: float, job: Callable[[int], None], counted: bool = True) -> None:
        """Do a job at even times until it is over; what is late is left out, not caught up with."""
        begin_s, number, name = time.perf_counter(), 0, threading.current_thread().name
        while not self._over.is_set():
            job(number)
            self._cpu_s[name] = time.thread_time()
            due = int((time.perf_counter() - begin_s) * hz) + 1
            if counted:
                self.missed += due - number - 1
            number = due
            self._over.wait(max(0.0, begin_s + number / hz - time.perf_counter()))
