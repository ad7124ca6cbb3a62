"""One cell's telemetry as arrays: series in time, the slopes of counters, the worst seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heavyweight.recordings import Recording
from heavyweight.records import Cell, Telemetry

NS_PER_S = 1e9


@dataclass(frozen=True, eq=False)
class Series:
    """One quantity in time.

    Args:
        at_ns: from the cell's origin, rising.
        values: as many.
    """

    at_ns: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return int(self.at_ns.size)

    def within(self, start_ns: float, end_ns: float) -> Series:
        """The samples between two times, both included."""
        inside = (self.at_ns >= start_ns) & (self.at_ns <= end_ns)
        return Series(self.at_ns[inside], self.values[inside])

    def slopes(self) -> Series:
        """A counter's growth per second from each sample to the next, in the middle of both."""
        middle = (self.at_ns[1:] + self.at_ns[:-1]) / 2
        return Series(middle, np.diff(self.values) / (np.diff(self.at_ns) / NS_PER_S))

    def growth(self, start_ns: float, end_ns: float) -> float:
        """How much a counter grew between two times, linear between samples."""
        if not len(self):
            return 0.0
        first, last = np.interp([start_ns, end_ns], self.at_ns, self.values)
        return float(last - first)

    def slope(self, start_ns: float, end_ns: float) -> float:
        """A counter's mean growth per second between two times; NaN of too few samples."""
        start_ns, end_ns = self._known(start_ns, end_ns)
        if len(self) < 2 or end_ns <= start_ns:
            return float("nan")
        return self.growth(start_ns, end_ns) / ((end_ns - start_ns) / NS_PER_S)

    def largest_slope(self, span_s: float, start_ns: float, end_ns: float) -> float:
        """A counter's largest mean growth per second over any such span between two times.

        Where the time between them is shorter than the span, the mean over it.
        """
        span_ns = span_s * NS_PER_S
        start_ns, end_ns = self._known(start_ns, end_ns)
        if len(self) < 2 or end_ns - start_ns <= span_ns:
            return self.slope(start_ns, end_ns)
        # The largest mean of a piecewise linear counter begins or ends at a sample.
        begins = np.concatenate([self.at_ns, self.at_ns - span_ns, [start_ns]])
        begins = begins[(begins >= start_ns) & (begins + span_ns <= end_ns)]
        ends = np.interp(begins + span_ns, self.at_ns, self.values)
        return float((ends - np.interp(begins, self.at_ns, self.values)).max() / span_s)

    def _known(self, start_ns: float, end_ns: float) -> tuple[float, float]:
        """The part of a time in which there are samples."""
        if not len(self):
            return 0.0, 0.0
        return max(start_ns, self.at_ns[0]), min(end_ns, self.at_ns[-1])


@dataclass(frozen=True, eq=False)
class Recorded:
    """The telemetry of a cell; make it with :meth:`read`.

    Args:
        cell: during which it was recorded.
        record: how it was recorded, and what could not be.
        series: by source, quantity and name.
    """

    cell: Cell
    record: Telemetry
    series: Mapping[tuple[str, str, str], Series]

    @classmethod
    def read(cls, recording: Recording, cell: Cell) -> Recorded:
        """The series of a table of :data:`heavyweight.records.TELEMETRY_SCHEMA`."""
        table = recording.table.unify_dictionaries().combine_chunks()
        if not len(table):
            return cls(cell, recording.record, {})
        at_ns, values = table["at_ns"].to_numpy(), table["value"].to_numpy()
        known: list[list[str]] = []
        codes = np.zeros(len(table), np.int64)
        for word in ("source", "quantity", "name"):
            column = table[word].chunk(0)
            known.append(column.dictionary.to_pylist())
            codes = codes * len(known[-1]) + column.indices.to_numpy()
        steps = np.diff(codes)
        if (
            np.count_nonzero(steps) >= np.unique(codes).size
            or (np.diff(at_ns)[steps == 0] < 0).any()
        ):
            order = np.lexsort((at_ns, codes))  # the recorder writes each series whole
            at_ns, values, codes = at_ns[order], values[order], codes[order]
        at_ns = at_ns.astype(float)
        ends = [*np.flatnonzero(np.diff(codes)) + 1, len(codes)]
        series, start = {}, 0
        for end in ends:
            code, key = int(codes[start]), []
            for names in reversed(known):
                code, place = divmod(code, len(names))
                key.append(names[place])
            source, quantity, name = reversed(key)
            series[source, quantity, name] = Series(at_ns[start:end], values[start:end])
            start = end
        return cls(cell, recording.record, series)

    def get(self, source: str, quantity: str, name: str = "") -> Series | None:
        """One series; None: it was not recorded."""
        return self.series.get((source, quantity, name))

    def each(self, source: str, quantity: str) -> dict[str, Series]:
        """A quantity of all that have it, by name; of GPUs whole ones, no MIG instances."""
        return {
            name: series
            for (whose, what, name), series in self.series.items()
            if whose == source and what == quantity and not (source == "gpu" and "." in name)
        }

    def summed(self, source: str, quantity: str) -> Series | None:
        """The sum over all that have it, at each sample; None: nobody has."""
        found = list(self.each(source, quantity).values())
        if not found:
            return None
        at_ns, place = np.unique(np.concatenate([s.at_ns for s in found]), return_inverse=True)
        values = np.concatenate([s.values for s in found])
        return Series(at_ns, np.bincount(place, weights=values, minlength=at_ns.size))

    @property
    def window(self) -> tuple[float, float]:
        """The cell's steady window, ns."""
        return float(self.cell.window_start_ns), float(self.cell.window_end_ns)
