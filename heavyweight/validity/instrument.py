"""Whether the client's own error at a load could change what is concluded from a cell.

Conclusions are drawn from medians and higher percentiles of TTFT, TPOT and end-to-end time, and
from throughput, which in a closed loop is a number of users by their end-to-end time. For each of
the three, the p99 of the client's absolute error at the load, on busy cores, may be at most
``instrument_error_fraction`` f of the cell's median. Then the median, and each higher percentile,
is off by less than f in the worst direction, and a ratio of two arms by less than the factor
(1 + f) / (1 - f). Whether two arms differ by less than that is not asked here: arms that are
truly equal must not be INVALID.

What an emulated server was late to read a request is its own, as a real server's is, and no error
of the client's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from heavyweight.records import Cell
from heavyweight.stats.requests import Quantity, Requests
from heavyweight.validity.base import Evidence, Part

SETTING = "busy"  # as a study's client runs: on all cores, which a server keeps busy
QUANTITIES: tuple[Quantity, ...] = ("ttft", "tpot", "e2e")


def load_of(cell: Cell) -> float:
    """Users of a closed loop, requests/s of an open one."""
    return float(cell.users if cell.loop == "closed" else cell.rate_per_s or np.inf)


def row_at(
    calibration: pd.DataFrame | None, requests: Requests, machine_id: str | None
) -> pd.Series | None:
    """The row of a calibration that speaks for a cell.

    It is of the same machine and kind of loop, with as many users or requests/s or more. If that
    load brought fewer events/s than the cell, a larger one that brought as many is taken; where
    none did, the one with the most.

    Args:
        calibration: rows of ``estimates.instrument_table``.
        requests: the cell's.
        machine_id: where it was measured; None: not told.

    Returns:
        None: the client's error at this load is not known.
    """
    if calibration is None or calibration.empty:
        return None
    cell = requests.cell
    loads = calibration["users" if cell.loop == "closed" else "rate_per_s"].astype(float)
    rows = calibration.assign(load=loads)[
        (calibration["setting"] == SETTING)
        & (calibration["loop"] == cell.loop)
        & (calibration["machine_id"] == machine_id)
        & (calibration["requests"] > 0)
        & (loads >= load_of(cell))
    ].sort_values("load")
    if rows.empty:
        return None
    enough = rows[rows["events_per_s"] >= requests.events_per_s]
    if enough.empty:
        return rows.loc[rows["events_per_s"].idxmax()]
    return enough.iloc[0]


def error(e: Evidence) -> list[Part]:
    """The client's own error at this load, as a share of the cell's medians."""
    row = row_at(e.calibration, e.requests, e.session.machine_id)
    if row is None:
        unit = "users" if e.cell.loop == "closed" else "requests/s"
        detail = f"the client's own error at {load_of(e.cell):g} {unit} is not known"
        return [Part(None, None, "of the median", False, detail)]
    limit = e.limit("instrument_error_fraction")
    said = f"p99 of {row['requests']} requests at {row['load']:g}"
    if row["events_per_s"] < e.requests.events_per_s:
        said += f" and {row['events_per_s']:.0f} events/s, here {e.requests.events_per_s:.0f}"
    parts = []
    for quantity in QUANTITIES:
        values = e.requests.latencies_ms(quantity, failures=False)
        if values.size == 0:
            continue
        median, off = float(np.median(values)), float(row[f"{quantity}_error_p99_ms"])
        share = off / median if median > 0 else np.inf
        detail = f"{quantity.upper()} {off:.2g} ms of {median:.3g} ({share:.1%})"
        parts.append(Part(share, limit, "of the median", bool(share <= limit), detail))
    if not parts:
        return [Part(None, limit, "of the median", False, "no request succeeded in the window")]
    parts.sort(key=lambda part: -(part.value or 0.0))
    first = parts[0]
    told = f"the client's own error ({said}): {first.detail}"
    return [Part(first.value, limit, first.unit, first.passed, told), *parts[1:]]
