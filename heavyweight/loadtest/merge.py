"""The parts of one load, each measured by a load generator of its own -> one cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from heavyweight.errors import StudyError
from heavyweight.records import REQUEST_SCHEMA, Cell, MachineLoad, measured

_WORST_LAST: tuple[Literal["complete", "cap", "errors", "memory"], ...] = (
    "complete", "cap", "errors", "memory",
)  # fmt: skip
assert set(_WORST_LAST) == set(get_args(Cell.model_fields["ended"].annotation))
_STAMPS = tuple(
    field.name
    for field in REQUEST_SCHEMA
    if field.name.endswith("_ns") and field.type == pa.int64()
)
_SHARED = ("loop", "api", "users", "arrivals", "rate_per_s", "seed", "block", "output_tokens")


@dataclass
class Part:
    """What one load generator measured.

    Args:
        cell: of the part.
        table: its rows.
        offset_ns: its clock less the common one.
        machine: which machine, as known to the clocks.
        worker_cpu_s: CPU time of the worker that waited for it, in seconds.
    """

    cell: Cell
    table: pa.Table
    offset_ns: int = 0
    machine: str = ""
    worker_cpu_s: float = 0.0


def merge(parts: Sequence[Part], clock_error_ns: int | None = None) -> tuple[Cell, pa.Table]:
    """One cell of all parts, on the common clock, from the earliest origin.

    The window is the time in which all parts were in theirs. In an open loop that is the
    schedule's, which is the same for all.

    Args:
        parts: in their order.
        clock_error_ns: how far their clocks may be apart; None: one clock.

    Raises:
        StudyError: the parts are not those of one load, or a request is in two of them.
    """
    cells = [part.cell for part in parts]
    for name in ("cell_id", *_SHARED):
        if len({getattr(cell, name) for cell in cells}) != 1:
            raise StudyError(f"the parts differ in {name}", "parts of one load")
    origins = [measured(part.cell.origin_monotonic_ns) - part.offset_ns for part in parts]
    origin = min(origins)
    shifts = [one - origin for one in origins]
    table = pa.concat_tables(
        [_shifted(part.table, shift) for part, shift in zip(parts, shifts, strict=True)]
    )
    ids = table["request_id"]
    if len(ids) and pc.count_distinct(ids).as_py() != len(ids):
        raise StudyError("a request is in two parts", "each request in one part")
    start = max(c.window_start_ns + s for c, s in zip(cells, shifts, strict=True))
    end = min(c.window_end_ns + s for c, s in zip(cells, shifts, strict=True))
    idle = [cell.idle_after for cell in cells if cell.idle_after is not None]
    cell = cells[origins.index(origin)].model_copy(
        update={
            "parts": len(parts),
            "clock_error_ns": clock_error_ns,
            "origin_monotonic_ns": origin,
            "window_start_ns": start,
            "window_end_ns": max(start, end),
            "ended": max((one.ended for one in cells), key=_WORST_LAST.index),
            "idle_after": all(idle) if idle else None,
            "machine_load": machine_load(parts),
            "client": _client(cells),
        }
    )
    return cell, table.sort_by("due_ns").combine_chunks()


def _shifted(table: pa.Table, shift_ns: int) -> pa.Table:
    """Rows whose stamps count from an origin that is earlier by ``shift_ns``."""
    if not shift_ns:
        return table
    for name in _STAMPS:
        column = pc.add_checked(table[name], pa.scalar(shift_ns, pa.int64()))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    stamps = table["chunk_ns"].combine_chunks()
    moved = pa.ListArray.from_arrays(
        stamps.offsets, pc.add_checked(stamps.values, pa.scalar(shift_ns, pa.int64()))
    )
    table = table.set_column(table.schema.get_field_index("chunk_ns"), "chunk_ns", moved)
    return table.cast(REQUEST_SCHEMA)


def machine_load(parts: Sequence[Part]) -> MachineLoad:
    """What all machines did; CPU times are scaled to the longest observation.

    On one machine each part saw the other parts as other processes: their CPU, and that of their
    workers, is taken off. Of several machines, the busiest counts. The longest sleep counts, and
    the farthest that a clock was set, forward or back.
    """
    loads = [measured(part.cell.machine_load) for part in parts]
    elapsed_s = max(load.elapsed_s for load in loads)

    def scaled(value: float, load: MachineLoad) -> float:
        return value * elapsed_s / load.elapsed_s if load.elapsed_s > 0 else 0.0

    others: dict[str, list[float]] = {}
    for part, load in zip(parts, loads, strict=True):
        ours = sum(
            scaled(seen.client_cpu_s + one.worker_cpu_s, seen)
            for one, seen in zip(parts, loads, strict=True)
            if one is not part and one.machine == part.machine
        )
        others.setdefault(part.machine, []).append(scaled(load.other_cpu_s, load) - ours)
    server_rss = _known([load.server_rss_bytes for load in loads])
    client_rss = _known([load.client_rss_bytes for load in loads])
    return MachineLoad(
        elapsed_s=elapsed_s,
        server_cpu_s=max(_known([load.server_cpu_s for load in loads]), default=None),
        client_cpu_s=sum(scaled(load.client_cpu_s, load) for load in loads),
        other_cpu_s=max(0.0, *(sum(values) / len(values) for values in others.values())),
        steal_s=max(scaled(load.steal_s, load) for load in loads),
        swapped_bytes=max(load.swapped_bytes for load in loads),
        server_rss_bytes=None if not server_rss else int(max(server_rss)),
        client_rss_bytes=None if not client_rss else int(sum(client_rss)),
        suspended_s=max(_known([load.suspended_s for load in loads]), default=None),
        clock_set_s=max(_known([load.clock_set_s for load in loads]), key=abs, default=None),
    )


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _client(cells: Sequence[Cell]) -> dict[str, str]:
    """How the load generators ran; what differs is told of each."""
    told = {}
    for name in dict.fromkeys(name for cell in cells for name in cell.client):
        values = dict.fromkeys(cell.client.get(name, "-") for cell in cells)
        told[name] = "; ".join(values)
    return told
