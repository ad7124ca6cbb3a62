"""The client's own error at a load that was measured: the same load on a server that logs itself.

The emulated server answers as the real one did, by the medians of what was measured, so that the
client has as much to do; all cores are kept busy meanwhile. It is one load generator, also where a
fleet made the load: an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.calibrations import FOLDER
from heavyweight.design import Calibration
from heavyweight.estimates.instrument import instrument_table
from heavyweight.instrument import calibrate
from heavyweight.records import measured
from heavyweight.stats.requests import QUANTITIES, Quantity, Requests
from heavyweight.validity.instrument import row_at

SECONDS = 4.0
MOST_TTFT_MS, MOST_ANSWER_MS = 1000.0, 2000.0  # a longer answer would not fit into the seconds
LEAST_MS = 0.1
LEAST_RATE_PER_S, MOST_RATE_PER_S = 10.0, 5000.0
MARGIN = 0.9  # a little faster than the real server, so that the client has not less to do


def calibrated(
    requests: Requests, folder: Path, on_progress: Callable[[dict[str, Any]], None] | None = None
) -> pd.DataFrame:
    """Measure the client's error at the load of a cell.

    Args:
        requests: the cell's.
        folder: the load test's; the calibration is kept in it.
        on_progress: as of :func:`heavyweight.load.measure`.

    Returns:
        Rows of ``estimates.instrument_table``.

    Raises:
        StudyError: it cannot be measured now.
    """
    cell = requests.cell

    def told(_setting: str, _done: int, state: dict[str, Any]) -> None:
        if on_progress is not None:
            on_progress({**state, "phase": f"calibrating, {state.get('phase', '')}"})

    timed = timing(requests)
    calibrate(
        folder / FOLDER,
        timed,
        run=folder.name,
        seed=measured(cell.seed),
        users=[cell.users] if cell.loop == "closed" else [],
        rates=[_rate(requests, timed)] if cell.rate_per_s is not None else [],
        settings=("busy",),
        prompt_tokens=measured(cell.prompt_tokens_target),
        api=cell.api,  # type: ignore[arg-type]
        manner="ollama" if measured(cell.api).startswith("ollama") else "vllm",
        on_progress=told,
    )
    return instrument_table(folder)


def timing(requests: Requests) -> Calibration:
    """A server that answers like the one that was measured, in the median."""
    ttft_ms, itl_ms = (_median_ms(requests, quantity) for quantity in ("ttft", "itl"))
    itl_ms = min(itl_ms, MOST_ANSWER_MS)
    asked = measured(requests.cell.output_tokens)
    return Calibration(
        ttft_ms=min(ttft_ms, MOST_TTFT_MS),
        itl_ms=itl_ms,
        output_tokens=max(2, min(asked, int(MOST_ANSWER_MS / itl_ms))),
        seconds=SECONDS,
    )


def _rate(requests: Requests, timed: Calibration) -> float:
    """Requests/s that give the client as many events to stamp as the cell did, and not too few.

    The emulated answers are shorter than long ones were, so that more of them have to come.
    """
    rate_per_s = requests.cell.rate_per_s
    assert rate_per_s is not None
    events = 1.1 * requests.events_per_s / timed.output_tokens
    return float(np.clip(max(rate_per_s, events), LEAST_RATE_PER_S, MOST_RATE_PER_S))


def _median_ms(requests: Requests, quantity: Quantity) -> float:
    values = requests.latencies_ms(quantity, failures=False)
    return max(LEAST_MS, MARGIN * float(np.median(values))) if values.size else 10.0


def error_at(
    calibration: pd.DataFrame, requests: Requests, machine_id: str | None
) -> dict[str, Any] | None:
    """What a calibration says of a cell, as values and in words; None: nothing."""
    row = row_at(calibration, requests, machine_id)
    if row is None:
        return None
    names = [f"{q}_error_{s}_ms" for q in QUANTITIES for s in ("mean", "p99")]
    told = ", ".join(
        f"{name.upper()} {row[f'{name}_error_p99_ms']:.2g} ms" for name in ("ttft", "tpot", "e2e")
    )
    return {
        "setting": row["setting"],
        "load": float(row["load"]),
        "requests": int(row["requests"]),
        "events_per_s": float(row["events_per_s"]),
        **{name: float(row[name]) for name in names},
        "text": f"{told} (p99 of {row['requests']} requests, all cores busy)",
    }
