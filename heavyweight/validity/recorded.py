"""What the telemetry says of a cell: the worst seconds, memory, heat, and lost GPUs.

A cell without telemetry is judged by the looks at its window's edges alone.
"""

from __future__ import annotations

import numpy as np

from heavyweight.records import CLOCK_REASONS, measured
from heavyweight.stats.telemetry import Recorded
from heavyweight.validity.base import Evidence, Part

SPAN_S = 5.0
# Runs that were planned before these limits do not have them.
SHORT_LIMIT = "other_cpu_cores_5s"
MEMORY_LIMIT = "available_memory_fraction"


def parts(e: Evidence) -> list[Part]:
    """All that the telemetry of a cell says against it, or that it says nothing."""
    if e.recorded is None:
        return []
    limit, least = e.limits.get(SHORT_LIMIT), e.limits.get(MEMORY_LIMIT)
    found = [] if limit is None else _other(e.recorded, limit)
    if least is not None:
        found += _available(e.recorded, least, measured(e.session.machine).memory_bytes)
    return [*found, *_swapped(e.recorded), *_heat(e.recorded), *_clocks(e.recorded)]


def _other(recorded: Recorded, limit: float) -> list[Part]:
    """The worst seconds of another process's load."""
    counter = recorded.get("machine", "other_cpu_s")
    if counter is None:
        return []
    worst = counter.largest_slope(SPAN_S, *recorded.window)
    if np.isnan(worst):
        return []
    worst, window_s = max(worst, 0.0), (recorded.window[1] - recorded.window[0]) / 1e9
    detail = f"at worst {worst:.2f} over {min(SPAN_S, window_s):.0f} s"
    return [Part(worst, limit, "cores", worst <= limit, detail)]


def _available(recorded: Recorded, least: float, memory_bytes: int) -> list[Part]:
    """Memory that was left, from the cell's origin on; told only where it was scarce.

    A server that leaks comes to this before the system ends it or begins to swap.
    """
    series = recorded.get("machine", "available_bytes")
    left = np.array([]) if series is None else series.within(0.0, recorded.window[1]).values
    if not left.size or left.min() >= least * memory_bytes:
        return []
    share = float(left.min()) / memory_bytes
    detail = f"{share:.1%} of the memory were left ({left.min() / 1e6:.0f} MB)"
    return [Part(share, least, "of the memory", False, detail)]


def _swapped(recorded: Recorded) -> list[Part]:
    """Swapping between the cell's origin and the end of its window; told only where it was."""
    end_ns = recorded.window[1]
    swapped = sum(
        series.growth(0.0, end_ns)
        for quantity in ("swap_in_bytes", "swap_out_bytes")
        if (series := recorded.get("machine", quantity)) is not None
    )
    if swapped <= 0:
        return []
    detail = f"{swapped:.0f} bytes swapped since the cell began"
    return [Part(swapped, 0, "bytes", False, detail)]


def _heat(recorded: Recorded) -> list[Part]:
    """The processor's clock; told only where heat lowered it."""
    counter = recorded.get("machine", "throttled")
    times = 0.0 if counter is None else counter.growth(*recorded.window)
    if times <= 0:
        return []
    detail = f"heat lowered the processor's clock {max(times, 1):.0f} times"
    return [Part(times, 0, "times", False, detail)]


def _clocks(recorded: Recorded) -> list[Part]:
    """What held clocks down, and whether a GPU was lost or another process came or left."""
    found = []
    for name, series in sorted(recorded.each("gpu", "lost").items()):
        at_s = series.at_ns[0] / 1e9
        found.append(Part(1, 0, "GPUs", False, f"GPU {name} was lost after {at_s:.0f} s"))
    for name, series in sorted(recorded.each("gpu", "processes").items()):
        count = series.within(*recorded.window).values
        if count.size and np.ptp(count) > 0:
            detail = f"GPU {name}: from {count.min():.0f} to {count.max():.0f} processes computed"
            found.append(Part(float(np.ptp(count)), 0, "processes", False, detail))
    for name, series in sorted(recorded.each("gpu", "clock_reasons").items()):
        bits = series.within(*recorded.window).values.astype(np.int64)
        if not bits.size:
            continue
        disturbed = 0
        for reason in CLOCK_REASONS:
            share = float(np.mean((bits & reason.bit) != 0))
            if share == 0 or reason.words == "idle":
                continue
            detail = f"GPU {name}: clock held down {share:.0%} of the time, {reason.words}"
            found.append(Part(share, 0 if reason.disturbs else None, "of the time",
                              not reason.disturbs, detail))  # fmt: skip
            disturbed += reason.disturbs
        if not disturbed:
            found.append(Part(0, 0, "of the time", True, f"GPU {name}: clocks not throttled"))
    return found
