"""A cell's telemetry in a few numbers: columns of the cells, NaN where nothing was recorded."""

from __future__ import annotations

import numpy as np

from heavyweight.stats.requests import Requests
from heavyweight.stats.telemetry import Recorded, Series

TELEMETRY_CELL_COLUMNS = (
    "server_rss_peak_bytes", "server_cpu_cores_mean", "server_threads_max",
    "kv_used_peak_fraction", "gpu_memory_peak_bytes", "gpu_util_mean", "gpu_power_mean_w",
    "energy_j_per_token",
)  # fmt: skip
"""Peaks are over the whole recording, means over the steady window. Processes are added up, and so
are GPUs (their utilisation is a mean, from 0 to 1)."""


def telemetry_columns(recorded: Recorded | None, requests: Requests) -> dict[str, float]:
    """The columns of one cell.

    Args:
        recorded: its telemetry; None: none was recorded.
        requests: its requests, for the tokens that the energy was spent on.
    """
    told = dict.fromkeys(TELEMETRY_CELL_COLUMNS, float("nan"))
    if recorded is None:
        return told
    window = recorded.window
    cpu = recorded.get("machine", "server_cpu_s")
    power_w, tokens_per_s = _power_w(recorded), requests.tokens_per_s
    return told | {
        "server_rss_peak_bytes": _peak(recorded.summed("process", "rss_bytes")),
        "server_cpu_cores_mean": float("nan") if cpu is None else cpu.slope(*window),
        "server_threads_max": _peak(recorded.summed("process", "threads")),
        "kv_used_peak_fraction": _peak(recorded.get("server", "kv_used_fraction")),
        "gpu_memory_peak_bytes": _peak(recorded.summed("gpu", "memory_used_bytes")),
        "gpu_util_mean": _mean_of(recorded, "utilisation_percent") / 100,
        "gpu_power_mean_w": power_w,
        "energy_j_per_token": power_w / tokens_per_s if tokens_per_s else float("nan"),
    }


def _peak(series: Series | None) -> float:
    return float("nan") if series is None or not len(series) else float(series.values.max())


def _mean_of(recorded: Recorded, quantity: str) -> float:
    """Mean over GPUs of the mean over the window."""
    means = [
        float(inside.values.mean())
        for series in recorded.each("gpu", quantity).values()
        if len(inside := series.within(*recorded.window))
    ]
    return float(np.mean(means)) if means else float("nan")


def _power_w(recorded: Recorded) -> float:
    """Power of all GPUs over the window, by their energy counters, else by the samples of power."""
    counters, powers = recorded.each("gpu", "energy_j"), recorded.each("gpu", "power_w")
    total = 0.0
    for name in {*counters, *powers}:
        if name in counters:
            mean_w = counters[name].slope(*recorded.window)
        else:
            inside = powers[name].within(*recorded.window)
            mean_w = float(inside.values.mean()) if len(inside) else float("nan")
        total += mean_w
    return total if counters or powers else float("nan")
