"""Thin panels below a timeline's requests: what server, machine and GPU did meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from heavyweight.figures.canvas import GREY, INK
from heavyweight.records import Cell
from heavyweight.stats.telemetry import Recorded, Series
from heavyweight.tables import number

STRIP_IN = 0.72
NOTE = (
    "Below the requests, where it was recorded: CPU of the server's processes and of everything "
    "that is not the study's, in cores, with the server's resident memory at the right; requests "
    "at work and waiting as the server counts them; the GPU's utilisation and power."
)
GB = 1e9
SHARED = ("cores", "GB", "W", "requests")


class Drawn(Protocol):
    """One cell of a timeline, as a strip needs it."""

    @property
    def cell(self) -> Cell:
        """What was measured."""

    @property
    def recorded(self) -> Recorded | None:
        """Its telemetry."""


Strip = Callable[[Axes, Drawn, Any], None]


def strips_of(recorded: Recorded | None) -> list[Strip]:
    """The strips that a cell's telemetry fills; none where nothing was recorded."""
    if recorded is None:
        return []
    found: list[Strip] = []
    if recorded.get("machine", "other_cpu_s") is not None:
        found.append(_machine)
    if recorded.get("server", "requests_running") is not None:
        found.append(_queue)
    if recorded.each("gpu", "utilisation_percent") or recorded.each("gpu", "power_w"):
        found.append(_gpu)
    return found


def used(recorded: Recorded | None) -> str:
    """The server's mean use of the processor in words; empty where it is not known."""
    cpu = None if recorded is None else recorded.get("machine", "server_cpu_s")
    if recorded is None or cpu is None:
        return ""
    return f"{number(cpu.slope(*recorded.window))} cores"


def same_scales(panels: Iterable[Axes]) -> None:
    """Give all strips that show the same the same scale, so that arms can be compared by eye."""
    alike: dict[str, list[Axes]] = {}
    for axes in panels:
        if axes.get_ylabel() in SHARED:
            alike.setdefault(axes.get_ylabel(), []).append(axes)
    for group in alike.values():
        top = max(axes.get_ylim()[1] for axes in group)
        for axes in group:
            axes.set_ylim(0, top)


def _machine(axes: Axes, drawn: Drawn, color: Any) -> None:
    """CPU of the server and of others, and the server's memory."""
    recorded = _known(drawn)
    lines, words = [], []
    other = recorded.get("machine", "other_cpu_s")
    most = 0.0
    if other is not None:
        at_s, cores = _seconds(other.slopes(), drawn)
        cores = np.maximum(cores, 0.0)
        axes.fill_between(at_s, cores, step="mid", color=GREY, alpha=0.35, linewidth=0)
        lines.append(Line2D([], [], color=GREY, alpha=0.35, linewidth=5))
        words.append("other programs")
        most = _top(axes, at_s, cores)
    server = recorded.get("machine", "server_cpu_s")
    if server is not None:
        at_s, cores = _seconds(server.slopes(), drawn)
        lines.insert(0, *axes.step(at_s, cores, where="mid", color=color, linewidth=1.3))
        words.insert(0, "server")
        most = max(most, _top(axes, at_s, cores))
    axes.set_ylim(0, 1.15 * most or 1.0)
    memory = recorded.summed("process", "rss_bytes")
    if memory is not None:
        right = _right(axes, "GB")
        at_s, size = _seconds(memory, drawn)
        lines += right.plot(at_s, size / GB, color=INK, linestyle=":", linewidth=1.2)
        words.append("memory (right)")
        right.set_ylim(0, 1.15 * float(size.max()) / GB or 1.0)
    _finish(axes, "cores", lines, words)


def _queue(axes: Axes, drawn: Drawn, color: Any) -> None:
    """Requests at work and waiting, as the server counts them."""
    recorded = _known(drawn)
    lines, words, most = [], [], 1.0
    for quantity, told, how in (
        ("requests_running", "at work", {"color": color}),
        ("requests_waiting", "waiting", {"color": GREY, "linestyle": "--"}),
    ):
        series = recorded.get("server", quantity)
        if series is not None:
            at_s, count = _seconds(series, drawn)
            lines += axes.plot(at_s, count, marker=".", markersize=4, linewidth=1.2, **how)
            words.append(told)
            most = max(most, float(count.max()))
    axes.set_ylim(0, 1.15 * most)
    _finish(axes, "requests", lines, words)


def _gpu(axes: Axes, drawn: Drawn, color: Any) -> None:
    """Utilisation (mean) and power (sum) of the GPUs."""
    recorded = _known(drawn)
    lines, words = [], []
    busy, number_of = (
        recorded.summed("gpu", "utilisation_percent"),
        recorded.each("gpu", "utilisation_percent"),
    )
    if busy is not None:
        at_s, percent = _seconds(busy, drawn)
        lines += axes.step(at_s, percent / len(number_of), where="mid", color=color, linewidth=1.3)
        words.append("GPU busy")
    axes.set_ylim(0, 105)
    power = recorded.summed("gpu", "power_w")
    if power is not None:
        right = _right(axes, "W")
        at_s, watts = _seconds(power, drawn)
        lines += right.plot(at_s, watts, color=INK, linestyle=":", linewidth=1.2)
        words.append("power (right)")
        right.set_ylim(0, 1.15 * float(watts.max()) or 1.0)
    _finish(axes, "%", lines, words)


def _known(drawn: Drawn) -> Recorded:
    assert drawn.recorded is not None
    return drawn.recorded


def _seconds(series: Series, drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """Times from the start of the window, and the values."""
    return (series.at_ns - drawn.cell.window_start_ns) / 1e9, series.values


def _top(axes: Axes, at_s: np.ndarray, values: np.ndarray) -> float:
    """The largest value that is seen."""
    low, high = axes.get_xlim()
    seen = values[(at_s >= low) & (at_s <= high)]
    return float(seen.max()) if seen.size else 0.0


def _right(axes: Axes, label: str) -> Axes:
    """A second scale at the right."""
    right = axes.twinx()
    right.grid(visible=False)
    right.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    right.set_ylabel(label, fontsize=8.5)
    right.tick_params(labelsize=8)
    return right


def _finish(axes: Axes, label: str, lines: list[Any], words: list[str]) -> None:
    axes.set_ylabel(label, fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    axes.legend(
        lines, words, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=len(words), fontsize=8,
        borderaxespad=0.1, handlelength=1.4, labelcolor=GREY,
    )  # fmt: skip
