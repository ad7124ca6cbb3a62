"""Telemetry whose truth is known, beside a cell of a synthetic run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from heavyweight.recordings import write_telemetry
from heavyweight.records import TELEMETRY_SCHEMA, Cell, Telemetry
from heavyweight.stats.telemetry import Recorded, Series
from heavyweight.store import RunFolder

Key = tuple[str, str, str]
"""Source, quantity, name."""
Curve = Callable[[np.ndarray], np.ndarray | float]
"""Seconds from the cell's origin -> values."""

QUIET: dict[Key, Curve] = {
    ("machine", "busy_cpu_s", ""): lambda t: 1.75 * t,
    ("machine", "server_cpu_s", ""): lambda t: 1.5 * t,
    ("machine", "study_cpu_s", ""): lambda t: 0.2 * t,
    ("machine", "other_cpu_s", ""): lambda t: 0.05 * t,
    ("machine", "swap_in_bytes", ""): lambda t: 0.0,
    ("machine", "swap_out_bytes", ""): lambda t: 0.0,
    ("process", "cpu_s", "a"): lambda t: 1.0 * t,
    ("process", "rss_bytes", "a"): lambda t: 1e9 + 0.0 * t,
    ("process", "rss_bytes", "b"): lambda t: np.where(t < 1, 1e8, 5e8),
    ("process", "threads", "a"): lambda t: 7.0,
}
GPU: dict[Key, Curve] = {
    ("gpu", "utilisation_percent", "0"): lambda t: 80.0,
    ("gpu", "power_w", "0"): lambda t: 290.0,
    ("gpu", "energy_j", "0"): lambda t: 300.0 * t,
    ("gpu", "memory_used_bytes", "0"): lambda t: 40e9,
    ("gpu", "memory_used_bytes", "0.0"): lambda t: 5e9,
    ("gpu", "clock_reasons", "0"): lambda t: np.where(t < 0, 1, 4),
}
VLLM: dict[Key, Curve] = {
    ("server", "requests_running", ""): lambda t: 8.0,
    ("server", "requests_waiting", ""): lambda t: 2.0,
    ("server", "kv_used_fraction", ""): lambda t: np.clip(t / 10, 0, 0.4),
}


def record(cell: Cell, **changes: object) -> Telemetry:
    """How it was recorded."""
    known = {
        "cell_id": cell.cell_id, "hz": 5, "server_hz": 1, "samples": 1, "elapsed_s": 1,
        "cpu_s": 0.01,
    }  # fmt: skip
    return Telemetry(**(known | changes))


def table(curves: Mapping[Key, Curve], from_s: float, to_s: float, hz: float = 5) -> pa.Table:
    """Curves as rows, sampled at even times."""
    t = np.arange(from_s, to_s, 1 / hz)
    rows = [
        {"at_ns": round(at * 1e9), "source": source, "name": name, "quantity": quantity,
         "value": float(value)}
        for (source, quantity, name), curve in curves.items()
        for at, value in zip(t, np.broadcast_to(curve(t), t.shape), strict=True)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TELEMETRY_SCHEMA)


def recorded(curves: Mapping[Key, Curve], cell: Cell, to_s: float = 60, hz: float = 5) -> Recorded:
    """The same, read."""
    t = np.arange(-1, to_s, 1 / hz)
    return Recorded(
        cell, record(cell),
        {key: Series(t * 1e9, np.broadcast_to(curve(t), t.shape).astype(float))
         for key, curve in curves.items()},
    )  # fmt: skip


def write_all(run: RunFolder, curves: Mapping[Key, Curve]) -> None:
    """Write the same telemetry beside every cell of a run."""
    for session in run.sessions():
        for file in session.cells():
            write_beside(file.path, file.cell, curves)


def write_beside(path: Path, cell: Cell, curves: Mapping[Key, Curve]) -> Path:
    """Write telemetry beside a cell, from a second before its origin to one after its window."""
    return write_telemetry(path, record(cell), table(curves, -1, cell.window_end_ns / 1e9 + 1))
