"""The clients that are compared: how each is run on a load, and how its answer is read."""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks import children
from benchmarks.cases import MODEL, PROMPT_TOKENS, Case
from benchmarks.sample import Sample, Stamps, stamps
from heavyweight.load import LoadSpec, measure
from heavyweight.load.spec import Arrivals
from heavyweight.records import measured
from heavyweight.store import CellFile

SEED = 20260525
SLACK_S = 90.0  # to start, to fall behind and to write


class Client(Protocol):
    """A load generator.

    Attributes:
        name: for --client and as a column.
        peer: whether it is another project's or takes part as one: in the peers' rounds only.
    """

    name: str
    peer: bool

    def missing(self) -> str | None:
        """Why it cannot be run; None: it can."""
        ...

    def run(self, case: Case, port: int, folder: Path, core: int) -> Sample | None:
        """Put the load on the server at this port; None: the client has no such load.

        Raises:
            StudyError: it failed.
        """
        ...


@dataclass
class Script:
    """A client script of this folder: ``bare`` or ``plain``."""

    name: str
    module: str
    peer: bool

    def missing(self) -> str | None:
        """Nothing can be."""
        return None

    def run(self, case: Case, port: int, folder: Path, core: int) -> Sample | None:
        """Run it in a process of its own."""
        told, out = folder / "task.json", folder / "out.json"
        told.write_text(json.dumps(case.task(port, str(out))), encoding="utf-8")
        limit_s = SLACK_S + 2 * case.response_s + case.seconds
        children.finish([sys.executable, "-m", self.module, told], folder, core, limit_s)
        return Sample.read(out)


@dataclass
class Heavyweight:
    """This project's client, as ``heavyweight.load.measure`` runs it."""

    name: str = "heavyweight"
    peer: bool = False

    def missing(self) -> str | None:
        """It is here."""
        return None

    def run(self, case: Case, port: int, folder: Path, core: int) -> Sample | None:
        """Measure one cell."""
        return read_cell(measure(cell_spec(case, port, folder, core)))


def cell_spec(case: Case, port: int, folder: Path, core: int) -> LoadSpec:
    """One cell of a case; its window is as long as the other clients go on sending."""
    arrivals = None
    if not case.users:
        arrivals = Arrivals(process=case.arrivals, rate_per_s=case.rate_per_s, seconds=case.seconds)
    return LoadSpec(
        cell={
            "cell_id": uuid.uuid4().hex, "run": "benchmark", "session": case.name,
            "arm": "emulated", "server": "emulated", "model": MODEL, "emulated": True,
        },
        base_url=f"http://127.0.0.1:{port}", model=MODEL, users=case.users, arrivals=arrivals,
        seed=SEED, block=1, output_tokens=case.tokens, prompt_tokens=PROMPT_TOKENS,
        min_requests=max(case.users, 1), min_waves=1, min_seconds=case.seconds,
        cores=[core], spin=True, out_dir=folder,
    )  # fmt: skip


def read_cell(path: Path) -> Sample:
    """The requests of a cell that succeeded, and how much of the CPU its window took."""
    file = CellFile(path)
    cell, table = file.cell, file.requests()
    good = table.filter(table["error"].is_null()).combine_chunks()
    origin_ns = cell.origin_monotonic_ns

    def column(name: str) -> Stamps:
        return stamps(good[name].to_numpy() + origin_ns)

    chunks = good["chunk_ns"].combine_chunks()
    arrived_ns = chunks.flatten().to_numpy()
    lengths = chunks.value_lengths().to_numpy()
    inside = (arrived_ns > cell.window_start_ns) & (arrived_ns <= cell.window_end_ns)
    load = measured(cell.machine_load)
    window_s = (cell.window_end_ns - cell.window_start_ns) / 1e9
    # The look at the machine is about the window, not exactly it.
    cpu_s = load.client_cpu_s * window_s / load.elapsed_s if load.elapsed_s else 0.0
    return Sample(
        sent_ns=column("sent_ns"),
        first_ns=arrived_ns[np.cumsum(lengths) - lengths] + origin_ns,
        end_ns=column("done_ns"),
        tokens=stamps(lengths),
        request_id=good["request_id"].to_pylist(),
        due_ns=column("due_ns"),
        failed=len(table) - len(good),
        events_per_cpu_s=float(inside.sum() / cpu_s) if cpu_s else None,
    )
