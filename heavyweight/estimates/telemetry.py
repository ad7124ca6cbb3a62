"""A cell's telemetry in a few numbers: columns of the cells, NaN where nothing was recorded."""

from __future__ import annotations

import numpy as np

from heavyweight.stats.requests import Requests
from heavyweight.stats.telemetry import Recorded, Series

TELEMETRY_CELL_COLUMNS = (
    "server_rss_peak_bytes", "server_cpu_cores_mean", "server_threads_max",
    "kv_used_peak_fraction", "gpu_memory_peak_bytes", "gpu_util_mean", "gpu_util_least",
    "gpu_power_mean_w", "energy_j_per_token",
)  # fmt: skip
"""Peaks are over the whole recording, means over the steady window. Processes are added up, and so
are GPUs (of their utilisations, from 0 to 1, mean and least)."""


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
    busy = _means(recorded, "utilisation_percent")
    power_w, tokens_per_s = _power_w(recorded), requests.tokens_per_s
    return told | {
        "server_rss_peak_bytes": _peak(recorded.summed("process", "rss_bytes")),
        "server_cpu_cores_mean": float("nan") if cpu is None else cpu.slope(*window),
        "server_threads_max": _peak(recorded.summed("process", "threads")),
        "kv_used_peak_fraction": _peak(recorded.get("server", "kv_used_fraction")),
        "gpu_memory_peak_bytes": _peak(recorded.summed("gpu", "memory_used_bytes")),
        "gpu_util_mean": float(np.mean(busy)) / 100 if busy else float("nan"),
        "gpu_util_least": min(busy) / 100 if busy else float("nan"),
        "gpu_power_mean_w": power_w,
        "energy_j_per_token": power_w / tokens_per_s if tokens_per_s else float("nan"),
    }


def _peak(series: Series | None) -> float:
    return float("nan") if series is None or not len(series) else float(series.values.max())


def _means(recorded: Recorded, quantity: str) -> list[float]:
    """Of each GPU, the mean over the window."""
    return [
        float(inside.values.mean())
        for series in recorded.each("gpu", quantity).values()
        if len(inside := series.within(*recorded.window))
    ]


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
