"""One load by several load generators, each a process beside a worker of Dask.

The parts start at one moment of one clock: the clocks of other machines are compared before and
after. Where a worker dies, or begins late, nothing is merged.
"""

from __future__ import annotations

import io
import math
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from heavyweight import store
from heavyweight.arrivals import read_trace, schedule
from heavyweight.errors import BadInput, Stopped, StudyError
from heavyweight.load.address import is_loopback
from heavyweight.load.open import STOCK
from heavyweight.load.spec import LoadSpec
from heavyweight.loadtest import clocks, worker
from heavyweight.loadtest.clocks import Reading
from heavyweight.loadtest.crew import Crew
from heavyweight.loadtest.merge import Part, merge
from heavyweight.records import Cell

OnProgress = Callable[[dict[str, Any]], None]

CLOCKS_APART_NS = 1_000_000  # beyond this, latencies of the parts cannot be merged
LEAD_S = 0.5  # from here to the origin, besides twice what it takes to start
LEAD_OF_A_REQUEST_S = 2e-4  # to make one ready
MORE = 1.25  # that each part measures, since the windows of the parts only overlap
PHASES = ("wait", "ramp", "warm-up", "measure", "drain", "write")


def measure(crew: Crew, spec: LoadSpec, on_progress: OnProgress | None = None) -> Path:
    """Measure one cell with all workers, and write it as one.

    Args:
        crew: the workers.
        spec: the whole load; each worker makes its part.
        on_progress: as of :func:`heavyweight.load.measure`, summed over the parts.

    Returns:
        The cell's file.

    Raises:
        StudyError: clocks that cannot be compared well enough, a worker that died or was late, or
            a part that failed; nothing is written.
        Stopped: the user asked to stop; nothing is written.
    """
    addresses = crew.addresses[: spec.users or None]
    names = {crew.clock_names[address] for address in addresses}
    if names != {clocks.clock_name()} and is_loopback(urlsplit(spec.base_url).hostname or ""):
        raise BadInput(
            f"{spec.base_url} is another server on each of the workers' machines",
            "an address that means the same on all machines",
            "name the server's machine, and say --allow-remote",
        )
    try:
        before = _readings(crew, addresses)
        if (apart_ns := clocks.furthest_apart_ns(before)) > CLOCKS_APART_NS:
            raise StudyError(
                f"the workers' clocks are known to {apart_ns / 1e6:.2g} ms only",
                f"{CLOCKS_APART_NS / 1e6:g} ms",
                "use workers that are nearer, or of this machine: --fleet local:N",
            )
        parts = _parts(crew, spec, dict(zip(addresses, before, strict=True)), on_progress)
        after = _readings(crew, addresses)
    except KeyboardInterrupt as interrupt:
        raise Stopped("the cell was stopped; what was measured is discarded") from interrupt
    readings = [clocks.between(*pair) for pair in zip(before, after, strict=True)]
    for part, reading in zip(parts, readings, strict=True):
        part.offset_ns = reading.offset_ns
    error_ns = clocks.furthest_apart_ns(readings) if len(names) > 1 else None
    return store.write_cell(spec.out_dir, *merge(parts, error_ns))


def _readings(crew: Crew, addresses: list[str]) -> list[Reading]:
    """The workers' clocks, less this one; a clock that several share is asked once."""
    found = {clocks.clock_name(): clocks.SAME}
    for address in addresses:
        name = crew.clock_names[address]
        if name not in found:
            token = clocks.new_token()
            host, port = crew.ask(address, worker.open_clock, token)
            found[name] = clocks.read_clock(host, port, token)
    return [found[crew.clock_names[address]] for address in addresses]


def _parts(
    crew: Crew, spec: LoadSpec, readings: dict[str, Reading], on_progress: OnProgress | None
) -> list[Part]:
    """Let each worker make its part, from one moment on."""
    topic = f"heavyweight-{uuid.uuid4().hex}"
    trace = spec.arrivals.trace.read_bytes() if spec.arrivals and spec.arrivals.trace else None
    here = clocks.clock_name()
    lead_s = LEAD_S + 2 * crew.start_s + LEAD_OF_A_REQUEST_S * _made_ready(spec)
    origin_ns = time.perf_counter_ns() + int(lead_s * 1e9)
    jobs = []
    for number, (address, reading) in enumerate(readings.items()):
        part = spec.model_copy(
            update={
                "part": number,
                "parts": len(readings),
                "min_requests": math.ceil(MORE * spec.min_requests),
                "min_waves": MORE * spec.min_waves,
                "min_seconds": MORE * spec.min_seconds,
                "start_at_ns": origin_ns + reading.offset_ns,
                "progress_path": None,
                "stop_path": None,
                "server_pgid": spec.server_pgid if crew.clock_names[address] == here else None,
            }
        )
        key = f"{topic}-{number}"
        jobs.append((address, key, worker.make_part, (part.model_dump_json(), trace, key, topic)))
    states: dict[int, dict[str, Any]] = {}

    def tell() -> None:
        if on_progress is not None and states:
            on_progress(_sum(list(states.values())))

    with crew.listening(topic, lambda state: states.update({state["part"]: state})):
        answers = crew.work(jobs, tell)
    parts = []
    for address, answer in zip(readings, answers, strict=True):
        table = pq.read_table(io.BytesIO(answer["file"]))
        cell = Cell.model_validate_json(table.schema.metadata[store.METADATA_KEY])
        name = crew.clock_names[address]
        parts.append(Part(cell, table.replace_schema_metadata(None), 0, name, answer["cpu_s"]))
    return parts


def _made_ready(spec: LoadSpec) -> int:
    """Requests that are made ready before the origin, at most."""
    if spec.arrivals is None:
        return 2 * spec.users + 64
    trace = None if spec.arrivals.trace is None else read_trace(spec.arrivals.trace)
    return min(len(schedule(spec.arrivals, spec.seed, spec.block, trace)), STOCK)


def _sum(states: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the whole load is: the phase is that of the part that is furthest behind."""
    phases = [state["phase"] for state in states]
    open_too = [name for name in ("due", "late") if any(name in state for state in states)]
    return {
        "phase": min(phases, key=lambda p: PHASES.index(p) if p in PHASES else -1),
        "elapsed_s": max(state["elapsed_s"] for state in states),
        **{
            name: sum(state.get(name) or 0 for state in states)
            for name in ("done", "errors", "in_flight", "live_tok_s", *open_too)
        },
    }
