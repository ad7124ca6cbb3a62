"""The machine's own counters while a cell runs: CPU time by whom, steal, swap, memory, heat."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

CPUS = Path("/sys/devices/system/cpu")


def busy_s(times: object) -> float:
    """CPU time in use; the guests' times are part of user and nice already (proc(5))."""
    names = ("user", "nice", "system", "irq", "softirq")
    return float(sum(getattr(times, name, 0.0) for name in names))


def throttled(folder: Path = CPUS) -> int | None:
    """How often heat lowered the clock of a core or a package; None: the system does not tell.

    Source: Linux, Documentation/ABI/testing/sysfs-devices-system-cpu, thermal_throttle.
    """
    counts = []
    for file in folder.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        with suppress(OSError, ValueError):
            counts.append(int(file.read_text()))
    return sum(counts) if counts else None


class MachineCounters:
    """Counters since the first sample, which is zero."""

    def __init__(self) -> None:
        self._first: dict[str, float] | None = None
        self._heat = throttled() is not None

    def sample(
        self, server_s: float | None, study_s: float, look: bool
    ) -> list[tuple[str, float]]:  # fmt: skip
        """Quantity and value.

        Args:
            server_s: CPU time of the server so far; None: it is not ours.
            study_s: that of the study itself.
            look: whether the sensors are asked too, which takes longer.
        """
        times, swap = psutil.cpu_times(), psutil.swap_memory()
        counters = {
            "busy_cpu_s": busy_s(times),
            "study_cpu_s": study_s,
            "steal_s": float(getattr(times, "steal", 0.0)),
            "swap_in_bytes": float(swap.sin),
            "swap_out_bytes": float(swap.sout),
        }
        if server_s is not None:
            counters["server_cpu_s"] = server_s
        if look and self._heat:
            counters["throttled"] = float(throttled() or 0)
        if self._first is None:
            self._first = counters
        since = {name: value - self._first[name] for name, value in counters.items()}
        since["other_cpu_s"] = (
            since["busy_cpu_s"] - since.get("server_cpu_s", 0.0) - since["study_cpu_s"]
        )
        return [*since.items(), ("available_bytes", float(psutil.virtual_memory().available))]
