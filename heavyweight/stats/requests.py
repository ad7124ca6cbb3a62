"""One cell's requests as arrays: latencies in ms, and the tokens that arrived in the window."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa

from heavyweight.records import Cell
from heavyweight.stats.estimate import Estimate, NotEstimable
from heavyweight.stats.percentiles import order_statistic_interval
from heavyweight.stats.steady import effective_sample_size

Quantity = Literal["ttft", "e2e", "itl", "tpot"]
QUANTITIES: tuple[Quantity, ...] = ("ttft", "e2e", "itl", "tpot")
NS_PER_MS, NS_PER_S = 1e6, 1e9


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column of integers as floats, a missing one as NaN: exact for 104 days of ns."""
    column = table[name].cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=float)


@dataclass(frozen=True, eq=False)
class Requests:
    """The requests of a cell in order of completion; make it with :meth:`read`.

    Args:
        cell: what was measured.
        user: which user.
        prompt_id: which prompt.
        start_id: which start of the server.
        due_ns: when it was due; NaN: not told.
        sent_ns: when it was sent; NaN: never.
        done_ns: when it ended or failed; NaN: not told.
        failed: whether it failed.
        error: error class; empty where it succeeded.
        asked: output tokens asked.
        prompt_tokens: as the server counted; NaN: not counted.
        completion_tokens: as the server counted; NaN: not counted.
        chunks: number of chunks with text.
        chunk_ns: arrivals of all chunks, request after request; NaN: any number of chunks that are
            not told.
        table: the rows themselves, in the same order.

    Only of imported data is something not told. Their window is the whole load, so that all
    requests are in it, also those whose end is not told.
    """

    cell: Cell
    user: np.ndarray
    prompt_id: np.ndarray
    start_id: np.ndarray
    due_ns: np.ndarray
    sent_ns: np.ndarray
    done_ns: np.ndarray
    failed: np.ndarray
    error: np.ndarray
    asked: np.ndarray
    prompt_tokens: np.ndarray
    completion_tokens: np.ndarray
    chunks: np.ndarray
    chunk_ns: np.ndarray
    table: pa.Table = field(repr=False)

    @classmethod
    def read(cls, table: pa.Table, cell: Cell) -> Requests:
        """The arrays of a table of :data:`heavyweight.records.REQUEST_SCHEMA`."""
        order = np.argsort(_numbers(table, "done_ns"), kind="stable")
        table = table.take(order).combine_chunks()
        stamps = table["chunk_ns"].combine_chunks()
        return cls(
            cell=cell,
            user=table["user"].to_numpy(),
            prompt_id=table["prompt_id"].to_numpy(),
            start_id=_numbers(table, "start_id"),
            due_ns=_numbers(table, "due_ns"),
            sent_ns=_numbers(table, "sent_ns"),
            done_ns=_numbers(table, "done_ns"),
            failed=table["error"].is_valid().to_numpy(),
            error=table["error"].fill_null("").to_numpy(),
            asked=_numbers(table, "output_tokens_asked"),
            prompt_tokens=_numbers(table, "prompt_tokens"),
            completion_tokens=_numbers(table, "completion_tokens"),
            chunks=stamps.value_lengths().fill_null(0).to_numpy().astype(np.int64),
            chunk_ns=stamps.flatten().to_numpy(zero_copy_only=False).astype(float),
            table=table,
        )

    def __len__(self) -> int:
        return int(self.done_ns.size)

    @property
    def window_s(self) -> float:
        """Length of the steady window; 0 where there is none."""
        return max(self.cell.window_end_ns - self.cell.window_start_ns, 0) / NS_PER_S

    def _inside(self, times_ns: np.ndarray) -> np.ndarray:
        """Which times lie in the steady window: after its start, up to its end."""
        return (self.cell.window_start_ns < times_ns) & (times_ns <= self.cell.window_end_ns)

    @cached_property
    def in_window(self) -> np.ndarray:
        """Which requests are the window's.

        Closed loop: those that finished in it. Open loop: those that were due in it, edges
        included, whenever they finished: counted by their ends, the slowest would be left out, the
        more of them the longer the queue.
        """
        if self.cell.imported:
            return np.ones(len(self), dtype=bool)
        if self.cell.loop == "closed":
            return self.finished_in_window
        start_ns, end_ns = self.cell.window_start_ns, self.cell.window_end_ns
        return (start_ns <= self.due_ns) & (self.due_ns <= end_ns)

    @cached_property
    def finished_in_window(self) -> np.ndarray:
        """Which requests ended or failed in the steady window."""
        return self.in_window if self.cell.imported else self._inside(self.done_ns)

    @cached_property
    def start_ns(self) -> np.ndarray:
        """From when latency counts: due in an open loop, sent in a closed one.

        Sent also where another tool does not tell when the requests of its open loop were due.
        """
        if self.cell.loop == "closed":
            return self.sent_ns
        return np.where(np.isnan(self.due_ns), self.sent_ns, self.due_ns)

    @cached_property
    def _first_and_last_ns(self) -> tuple[np.ndarray, np.ndarray]:
        """Arrival of each request's first and last chunk; NaN without chunks."""
        ends = np.cumsum(self.chunks)
        first, last = np.full((2, len(self)), np.nan)
        some = self.chunks > 0
        first[some] = self.chunk_ns[(ends - self.chunks)[some]]
        last[some] = self.chunk_ns[ends[some] - 1]
        return first, last

    @cached_property
    def tokens_in_window(self) -> float:
        """Tokens that arrived in the window by their own times.

        A chunk carries completion tokens / number of chunks. A failed request, of which the server
        gave no count, carries none. Of imported data all tokens are in it.
        """
        if self.cell.imported:
            return float(np.nansum(self.completion_tokens[~self.failed]))
        good = ~self.failed & (self.chunks > 0) & np.isfinite(self.completion_tokens)
        share = np.where(good, self.completion_tokens, 0.0) / np.maximum(self.chunks, 1)
        return float(np.repeat(share, self.chunks)[self._inside(self.chunk_ns)].sum())

    @property
    def tokens_per_s(self) -> float:
        """Throughput over all users; NaN without a window."""
        return self.tokens_in_window / self.window_s if self.window_s else float("nan")

    @property
    def requests_per_s(self) -> float:
        """Requests that ended well in the window, per second; NaN without a window."""
        good = np.count_nonzero(self.finished_in_window & ~self.failed)
        return good / self.window_s if self.window_s else float("nan")

    @property
    def events_per_s(self) -> float:
        """Chunks with text that arrived in the window, per second; NaN: no window, or not told."""
        if np.isnan(self.chunk_ns).any():
            return float("nan")  # a chunk that is not told stands for any number
        events = np.count_nonzero(self._inside(self.chunk_ns))
        return events / self.window_s if self.window_s else float("nan")

    def latencies_ms(self, quantity: Quantity, failures: bool = True) -> np.ndarray:
        """A latency of the window's requests, in the order in which they finished.

        TTFT runs to the first chunk with text, E2E to the end of the answer, TPOT is (last chunk -
        first chunk) / (tokens - 1), ITL the gap between chunks.

        Args:
            quantity: which latency.
            failures: whether each failed request counts as one value of +inf, or not at all.
        """
        if quantity == "itl":
            return self._gaps_ms(failures)
        values = self.of_window(quantity)
        kept = ~np.isnan(values)
        return np.asarray(values[kept if failures else kept & ~self.failed[self.in_window]])

    def of_window(self, quantity: Literal["ttft", "e2e", "tpot"]) -> np.ndarray:
        """A latency of each of the window's requests, ms: +inf of a failure, NaN where it has none.

        The order is that in which they finished, the same for every latency.

        Args:
            quantity: which latency; an answer of one token has no TPOT.
        """
        return np.asarray(self.of_all(quantity)[self.in_window])

    def of_all(self, quantity: Literal["ttft", "e2e", "tpot"]) -> np.ndarray:
        """The same of every request, in the window or not."""
        first, last = self._first_and_last_ns
        if quantity == "ttft":
            values = (first - self.start_ns) / NS_PER_MS
        elif quantity == "e2e":
            values = (self.done_ns - self.start_ns) / NS_PER_MS
        else:
            gaps = np.where(self.completion_tokens > 1, self.completion_tokens - 1, np.nan)
            values = (last - first) / gaps / NS_PER_MS
        return np.asarray(np.where(self.failed, np.inf, values))

    def _gaps_ms(self, failures: bool) -> np.ndarray:
        """Gaps between the chunks of a request, in the order in which they ended."""
        if self.chunk_ns.size < 2:
            ends, gaps = np.empty(0), np.empty(0)
        else:
            row = np.repeat(np.arange(len(self)), self.chunks)
            used = (row[1:] == row[:-1]) & (self.in_window & ~self.failed)[row[1:]]
            used &= ~np.isnan(np.diff(self.chunk_ns))
            ends = self.chunk_ns[1:][used]
            gaps = np.diff(self.chunk_ns)[used]
        if failures:
            lost = self.done_ns[self.in_window & self.failed]
            ends, gaps = np.r_[ends, lost], np.r_[gaps, np.full(lost.size, np.inf)]
        return gaps[np.argsort(ends, kind="stable")] / NS_PER_MS

    def percentile(
        self, quantity: Quantity, percent: float, failures: bool = True
    ) -> tuple[Estimate | NotEstimable, float]:
        """A percentile with its order-statistic interval, and the effective sample size.

        Neighbours in a wave resemble each other: the sample counts for as many independent requests
        as the sequence "at or below the percentile" is worth.
        """
        values = self.latencies_ms(quantity, failures)
        q = percent / 100
        if values.size == 0:
            return order_statistic_interval(values, q), 0.0
        rank = max(int(np.ceil(values.size * q - 1e-9)), 1) - 1
        n_eff = effective_sample_size(values <= np.partition(values, rank)[rank])
        return order_statistic_interval(values, q, n_eff=n_eff), n_eff
