"""A calibration's pairs of files -> the client's error, one row a setting and load.

An error is how far the client's stamps are from what passed at the sockets, on the same clock. An
arrival is off by its stamp minus the server's write of that text. The start of a latency is off by
the time that the system call took which handed the request's bytes to the socket, in an open loop
counted from when the request was due. On the loopback these bytes lie in the server's socket when
that call returns, so what then passes until the server reads them is the server's own: it is given
beside the errors (read_*) and is none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from heavyweight.calibrations import INSTRUMENT_FILE, InstrumentFolder, Pair
from heavyweight.records import Cell, Instrument, measured
from heavyweight.stats import Estimate, effective_sample_size, order_statistic_interval
from heavyweight.stats.requests import QUANTITIES, Requests

NS_PER_MS = 1e6
ERRORS = tuple(
    f"{quantity}_error_{statistic}_ms"
    for quantity in QUANTITIES
    for statistic in ("mean", "p99", "p99_low", "p99_high", "max")
)
COLUMNS = (
    "setting", "loop", "users", "rate_per_s", "machine_id", "server_ttft_ms", "server_itl_ms",
    "output_tokens", "requests", "failed", "unmatched",
    "window_s", "lag_p50_ms", "lag_p99_ms", "lag_p99_low_ms", "lag_p99_high_ms", "lag_max_ms",
    *ERRORS, "read_p50_ms", "read_p99_ms",
    "tokens_sent", "tokens_seen", "tokens_seen_fraction", "events", "events_per_s",
    "client_cpu_share", "client_cpu_us_per_event", "client_rss_bytes", "other_cpu_cores",
)  # fmt: skip
WORDS = ("setting", "loop", "machine_id")
WHOLE = ("users", "output_tokens", "requests", "failed", "unmatched", "events")


def instrument_table(folder: Path) -> pd.DataFrame:
    """The client's error in each setting at each load.

    Args:
        folder: of a run, or of a calibration by itself.

    Returns:
        One row a setting and load; no row where nothing was calibrated.

        - setting (alone, busy, saturation), loop, users (0: an open loop), rate_per_s, machine_id
        - server_ttft_ms and server_itl_ms of the emulated server (0: as fast as it can),
          output_tokens
        - requests of the window that succeeded and are in the server's log, failed, unmatched (not
          in the log), window_s
        - lag_* (sent after due, ms): p50, p99 with its 95% interval, max
        - for ttft, e2e, itl, tpot: NAME_error_mean_ms (signed), NAME_error_p99_ms of the absolute
          error with its 95% interval of order statistics where it is estimable, and
          NAME_error_max_ms; the p99 of fewer than 100 values is their maximum
        - read_* (the server's read after the request was handed over, ms): its own delay
        - tokens_sent and tokens_seen in the window and their ratio; events (chunks with text),
          events_per_s
        - client_cpu_share (cores), client_cpu_us_per_event, client_rss_bytes, other_cpu_cores (work
          of neither client nor server)

    Raises:
        StoreError: a file is cut off, damaged or of another schema.
    """
    here = (folder / INSTRUMENT_FILE).exists()
    place = InstrumentFolder(folder) if here else InstrumentFolder.of(folder)
    rows: list[dict[str, Any]] = []
    if place.exists:
        record = place.record
        rows = [_row(pair, record) for pair in place.pairs()]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    types: dict[str, Any] = dict.fromkeys(set(COLUMNS) - set(WORDS), float)
    types |= dict.fromkeys(WHOLE, "Int64")
    return table.astype(types).sort_values(
        ["setting", "loop", "users", "rate_per_s"], kind="stable", ignore_index=True
    )


def _row(pair: Pair, record: Instrument) -> dict[str, Any]:
    """One load in one setting."""
    cell, table, log = pair.client.cell, pair.client.requests(), pair.server()
    requests = Requests.read(table, cell)
    good = requests.in_window & ~requests.failed
    lag_ms = ((requests.sent_ns - requests.due_ns) / NS_PER_MS)[good]
    errors, unmatched = _errors(table, log, cell)
    sent = _tokens_sent(log, cell)
    load, saturated = measured(cell.machine_load), pair.setting == "saturation"
    events = round(requests.events_per_s * requests.window_s) if requests.window_s else 0
    row: dict[str, Any] = {
        "setting": pair.setting,
        "loop": cell.loop,
        "users": cell.users,
        "rate_per_s": cell.rate_per_s,
        "machine_id": record.machine.machine_id,
        "server_ttft_ms": 0.0 if saturated else record.ttft_ms,
        "server_itl_ms": 0.0 if saturated else record.itl_ms,
        "output_tokens": cell.output_tokens,
        "requests": int(good.sum()) - unmatched,
        "failed": int(requests.failed.sum()),
        "unmatched": unmatched,
        "window_s": requests.window_s,
        "lag_p50_ms": float(np.median(lag_ms)) if lag_ms.size else np.nan,
        **_p99("lag_", lag_ms),
        "lag_max_ms": lag_ms.max(initial=-np.inf) if lag_ms.size else np.nan,
        "tokens_sent": sent,
        "tokens_seen": requests.tokens_in_window,
        "tokens_seen_fraction": requests.tokens_in_window / sent if sent else np.nan,
        "events": events,
        "events_per_s": requests.events_per_s,
        "client_cpu_share": load.client_cpu_s / load.elapsed_s if load.elapsed_s else np.nan,
        "client_cpu_us_per_event": load.client_cpu_s * 1e6 / events if events else np.nan,
        "client_rss_bytes": load.client_rss_bytes,
        "other_cpu_cores": load.other_cpu_s / load.elapsed_s if load.elapsed_s else np.nan,
    }
    read_ms = errors["read"] / NS_PER_MS
    row["read_p50_ms"] = float(np.median(read_ms)) if read_ms.size else np.nan
    row["read_p99_ms"] = _p99("", read_ms)["p99_ms"]
    for quantity in QUANTITIES:
        off_ms, name = errors[quantity] / NS_PER_MS, f"{quantity}_error_"
        row[f"{name}mean_ms"] = off_ms.mean() if off_ms.size else np.nan
        row |= _p99(name, np.abs(off_ms))
        row[f"{name}max_ms"] = np.abs(off_ms).max() if off_ms.size else np.nan
    return row


def _errors(table: pa.Table, log: pa.Table, cell: Cell) -> tuple[dict[str, np.ndarray], int]:
    """Errors in ns of the window's requests, in the order in which they ended.

    Returns:
        By quantity; and how many of these requests are not in the log.
    """
    served = {row["request_id"]: row for row in log.to_pylist()}
    found: dict[str, list[float]] = {name: [] for name in (*QUANTITIES, "read")}
    unmatched = 0
    for row in _of_window(table, cell):
        its = served.get(row["request_id"])
        tokens = np.asarray(its["write_tokens"] if its else [])
        if its is None or not tokens.any():
            unmatched += 1
            continue
        writes = np.asarray(its["write_ns"], np.int64)[tokens > 0]
        chunks = np.asarray(row["chunk_ns"], np.int64)
        origin_ns = measured(cell.origin_monotonic_ns)  # the log's stamps are absolute
        began_ns = row["handed_ns"] - row["sent_ns" if cell.loop == "closed" else "due_ns"]
        found["ttft"].append(chunks[0] + origin_ns - writes[0] + began_ns)
        found["e2e"].append(row["done_ns"] + origin_ns - its["write_ns"][-1] + began_ns)
        found["read"].append(its["read_ns"] - origin_ns - row["handed_ns"])
        if (gaps := tokens.sum() - 1) > 0:
            spans = (chunks[-1] - chunks[0]) - (writes[-1] - writes[0])
            found["tpot"].append(spans / gaps)
        if len(chunks) == len(writes):
            found["itl"].extend(np.diff(chunks) - np.diff(writes))
    return {name: np.asarray(values, float) for name, values in found.items()}, unmatched


def _of_window(table: pa.Table, cell: Cell) -> Iterable[dict[str, Any]]:
    """The rows of the window's requests that succeeded, in the order in which they ended."""
    start_ns, end_ns = cell.window_start_ns, cell.window_end_ns
    for row in sorted(table.to_pylist(), key=lambda row: row["done_ns"]):
        if cell.loop == "closed":
            inside = start_ns < row["done_ns"] <= end_ns
        else:
            inside = start_ns <= row["due_ns"] <= end_ns
        if inside and row["error"] is None:
            yield row


def _tokens_sent(log: pa.Table, cell: Cell) -> int:
    """Tokens that the server wrote in the window."""
    origin_ns = measured(cell.origin_monotonic_ns)
    times = log["write_ns"].combine_chunks().flatten().to_numpy() - origin_ns
    tokens = log["write_tokens"].combine_chunks().flatten().to_numpy()
    return int(tokens[(cell.window_start_ns < times) & (times <= cell.window_end_ns)].sum())


def _p99(prefix: str, values: np.ndarray) -> dict[str, float]:
    """The p99 and its interval; neighbours in time resemble each other and count for fewer."""
    row = dict.fromkeys((f"{prefix}p99_ms", f"{prefix}p99_low_ms", f"{prefix}p99_high_ms"), np.nan)
    if values.size:
        point = float(np.quantile(values, 0.99, method="inverted_cdf"))
        row[f"{prefix}p99_ms"] = point
        found = order_statistic_interval(values, 0.99, n_eff=effective_sample_size(values <= point))
        if isinstance(found, Estimate):
            row |= {f"{prefix}p99_low_ms": found.low, f"{prefix}p99_high_ms": found.high}
    return row
