"""How far a client is from what the server did. One function a figure, the same for all clients.

An error is the time that the client reports minus the time that passed at the server's socket, from
the request's last byte read to the text's write: the request's way there, the text's way back, and
all that the client adds. The server's own delay in reading is in it, for every client alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Case
from benchmarks.sample import Sample, ServerLog, Stamps, pairs

Measured = float | None
NS_PER_MS, NS_PER_S = 1e6, 1e9


def p99(values: NDArray[np.float64]) -> Measured:
    """The 99th percentile; None of nothing."""
    return float(np.percentile(values, 99)) if values.size else None


def matched_quantiles(client: NDArray[np.float64], server: NDArray[np.float64]) -> Measured:
    """p99 of the differences of matched quantiles: both sorted, each value with its like.

    It needs no knowledge of which request is which, and sees only what changes the distribution.

    Args:
        client: latencies as the client reports them.
        server: as many, as the server knows them.
    """
    return p99(np.abs(np.sort(client) - np.sort(server)))


def _both(sample: Sample, log: ServerLog, client_ns: Stamps, server_ns: Stamps) -> tuple[
    NDArray[np.float64], NDArray[np.float64]
]:  # fmt: skip
    """Latencies in ms of the requests found on both sides."""
    mine, theirs = pairs(sample, log)
    return (
        (client_ns - sample.sent_ns)[mine] / NS_PER_MS,
        (server_ns - log.read_ns)[theirs] / NS_PER_MS,
    )


def ttft_error_p99_ms(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """Error of each request's time to the first token."""
    client, server = _both(sample, log, sample.first_ns, log.first_ns)
    return p99(np.abs(client - server))


def ttft_matched_p99_ms(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """The same without pairing."""
    return matched_quantiles(*_both(sample, log, sample.first_ns, log.first_ns))


def e2e_error_p99_ms(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """Error of each request's whole time; at the server it ends with the last text."""
    client, server = _both(sample, log, sample.end_ns, log.last_ns)
    return p99(np.abs(client - server))


def e2e_matched_p99_ms(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """The same without pairing."""
    return matched_quantiles(*_both(sample, log, sample.end_ns, log.last_ns))


def _rate(tokens: Stamps, start_ns: Stamps, end_ns: Stamps) -> float:
    return float(tokens.sum() / ((end_ns.max() - start_ns.min()) / NS_PER_S))


def tokens_seen_percent(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """Tokens/s from the client's first send to its last arrival, of those from the server's first
    read to its last write."""
    mine, theirs = pairs(sample, log)
    if not mine.size:
        return None
    seen = _rate(sample.tokens[mine], sample.sent_ns[mine], sample.end_ns[mine])
    sent = _rate(log.tokens[theirs], log.read_ns[theirs], log.last_ns[theirs])
    return 100 * seen / sent


def events_per_s(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """Tokens, one an event, from the first send to the last arrival."""
    return _rate(sample.tokens, sample.sent_ns, sample.end_ns) if len(sample) else None


def events_per_cpu_s(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """What the client could do if the server were never waited for."""
    return sample.events_per_cpu_s


def lag_p99_ms(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """Sent minus due, by the client's own stamps."""
    if sample.due_ns is None:
        return None
    return p99((sample.sent_ns - sample.due_ns) / NS_PER_MS)


def grid_lag_p99_ms(sample: Sample, log: ServerLog, case: Case) -> Measured:
    """How late the server read each request of a constant rate, against the even grid that the
    earliest ones lie on."""
    _, theirs = pairs(sample, log)
    if not theirs.size or not case.rate_per_s:
        return None
    read_ms = np.sort(log.read_ns[theirs]) / NS_PER_MS
    late_ms = read_ms - np.arange(read_ms.size) * (1e3 / case.rate_per_s)
    return p99(late_ms - late_ms.min())


MEASURES: dict[str, Callable[[Sample, ServerLog, Case], Measured]] = {
    one.__name__: one
    for one in (
        ttft_error_p99_ms, ttft_matched_p99_ms, e2e_error_p99_ms, e2e_matched_p99_ms,
        tokens_seen_percent, events_per_s, events_per_cpu_s, lag_p99_ms, grid_lag_p99_ms,
    )
}  # fmt: skip


def measured(sample: Sample, log: ServerLog, case: Case) -> dict[str, Measured]:
    """All figures of a case."""
    return {figure.name: MEASURES[figure.name](sample, log, case) for figure in case.figures}
