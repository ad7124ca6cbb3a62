"""How precise a run is: spread of its blocks, drift over it, blocks and requests that would pay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import (
    by_block,
    cells_by_block,
    cells_of,
    closed_loads,
    load_at,
    notes,
)
from heavyweight.estimates.pairing import pair
from heavyweight.stats import Estimate, NotEstimable
from heavyweight.stats.bootstrap import Hierarchical, hierarchical, log_ratio_bca
from heavyweight.stats.planning import plan, repetitions, variance_components
from heavyweight.stats.steady import trend

SEED = 20260519  # of the resamples: the same numbers on each run
PLAN_COLUMNS = (
    "users", "blocks", "ratio", "half_width", "sd_log", "blocks_needed", "blocks_cautious",
    "drift_numerator", "drift_denominator", "note",
)  # fmt: skip
BESIDE_COLUMNS = (
    "quantity", "users", "blocks", "ratio", "t_low", "t_high", "hierarchical_low",
    "hierarchical_high", "bca_low", "bca_high", "note",
)  # fmt: skip
INSIDE_COLUMNS = (
    "arm", "label", "users", "blocks", "requests", "sd_between", "sd_within", "requests_that_pay",
    "note",
)  # fmt: skip


def precision_table(
    assessment: Assessment,
    contrast: str | None,
    half_width: float,
    quantity: str = "throughput_tok_s",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """How wide the interval of each ratio is, and how many blocks a wanted width needs.

    Args:
        assessment: the run, as a pilot.
        contrast: of the run; None: it compares nothing, and there is no row.
        half_width: wanted, relative: 0.05 is an interval from ratio / 1.05 to ratio x 1.05.
        quantity: a column of the assessment's cells.
        confidence: of the intervals.

    Returns:
        One row a load: users, blocks, ratio, half_width (of its interval, relative), sd_log (over
        blocks), blocks_needed (if that is the true spread), blocks_cautious (if the true spread is
        the upper limit of what so few blocks allow), drift_numerator and drift_denominator (change
        of each arm from the first to the last block, in words with its interval), note.
    """
    if contrast is None:
        return pd.DataFrame(columns=list(PLAN_COLUMNS))
    arms = assessment.run.contrasts[contrast]
    rows = []
    for users, load in closed_loads(assessment).items():
        pairing = pair(assessment, arms, load, quantity)
        ratio = pairing.ratio(confidence)
        row: dict[str, Any] = dict.fromkeys(PLAN_COLUMNS, np.nan) | {
            "users": users, "blocks": len(pairing.numerator), "note": pairing.note,
        }  # fmt: skip
        if ratio is not None:
            row["ratio"] = ratio.value
            row["half_width"] = ratio.high / ratio.value - 1 if ratio.has_interval else math.nan
            ratios = [above / pairing.denominator[b] for b, above in pairing.numerator.items()]
            needed = plan(ratios, half_width, confidence)
            if isinstance(needed, NotEstimable):
                row["note"] = notes(needed.note, pairing.note)
            else:
                row |= {"sd_log": needed.sd_log, "blocks_needed": needed.blocks,
                        "blocks_cautious": needed.cautious,
                        "note": notes(needed.note, pairing.note)}  # fmt: skip
        for side, arm in zip(("numerator", "denominator"), arms, strict=True):
            values = list(by_block(assessment, arm, load, quantity).values.values())
            row[f"drift_{side}"] = _drift(values, confidence)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(PLAN_COLUMNS))
    whole = ("users", "blocks", "blocks_needed", "blocks_cautious")
    return table.astype(dict.fromkeys(whole, "Int64"))


def _drift(values: list[float], confidence: float) -> str:
    """Change from the first block to the last, in words."""
    found = trend(values, confidence) if values else None
    if not isinstance(found, Estimate):
        return "needs 3 blocks"
    return f"{found.value:+.0%} ({found.low:+.0%} to {found.high:+.0%})"


def inside_table(assessment: Assessment) -> pd.DataFrame:
    """End-to-end times: how much blocks differ, how much requests do, and how many requests pay.

    What a block costs beyond its requests is taken from the run: the cold start, and the warm-up
    and drain of the cell (Kalibera & Jones 2013).

    Args:
        assessment: the run.

    Returns:
        One row an arm and load: arm, label, users, blocks, requests (in a cell), sd_between and
        sd_within (of the logs), requests_that_pay (a cell, the cheapest way to a given width;
        infinite where blocks do not differ), note.
    """
    rows = []
    for arm in assessment.arms:
        starts = assessment.sessions.loc[assessment.sessions["arm"] == arm, "first_token_ms"]
        for users, load in closed_loads(assessment).items():
            cells = cells_of(assessment, arm, load)
            cells = cells[cells["valid"]]
            if cells.empty:
                continue
            groups = [
                np.log(_latencies(assessment, ids, failures=False))
                for ids in cells_by_block(assessment, arm, load).values()
            ]
            found = variance_components(groups)
            row = {"arm": arm, "label": assessment.label(arm), "users": users,
                   "blocks": len(groups), "requests": int(np.mean([g.size for g in groups])),
                   "note": found.note}  # fmt: skip
            if not isinstance(found, NotEstimable):
                seconds = float(cells["window_s"].sum() / sum(g.size for g in groups))
                # Two responses of every user: the ramp, and the wave that is discarded.
                fixed = float(starts.mean() / 1e3) / len(assessment.run.users or [1])
                fixed += 2 * users * seconds
                pay = math.nan  # a server that was started elsewhere has no time of its start
                if math.isfinite(fixed):
                    pay = repetitions(fixed, seconds, found.between, found.within)
                row |= {"sd_between": math.sqrt(found.between),
                        "sd_within": math.sqrt(found.within), "requests_that_pay": pay}  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows, columns=list(INSIDE_COLUMNS))


def methods_table(
    assessment: Assessment, contrast: str | None, percents: tuple[float, ...] = (50.0, 95.0)
) -> pd.DataFrame:
    """Ratios of end-to-end percentiles by three methods side by side; Student's t decides.

    Args:
        assessment: the run.
        contrast: of the run; None: it compares nothing, and there is no row.
        percents: percentiles that were assessed.

    Returns:
        One row a percentile and load: quantity, users, blocks, ratio, and the ends by Student's t
        over blocks, by the hierarchical bootstrap (blocks, then requests) and by BCa (from 10
        blocks on; NaN below), note.
    """
    if contrast is None:
        return pd.DataFrame(columns=list(BESIDE_COLUMNS))
    arms = assessment.run.contrasts[contrast]
    loads = closed_loads(assessment)
    samples = {
        arm: {
            float(users): {
                block: _latencies(assessment, ids)
                for block, ids in cells_by_block(assessment, arm, load).items()
            }
            for users, load in loads.items()
        }
        for arm in arms
    }
    samples = {arm: {n: cells for n, cells in by.items() if cells} for arm, by in samples.items()}
    rows: list[dict[str, Any]] = []
    for percent in percents if all(samples.values()) else ():
        drawn = hierarchical(samples, "quantile", percent / 100, seed=SEED)
        for users in (n for n in loads if all(float(n) in samples[arm] for arm in arms)):
            rows.append(_by_methods(assessment, arms, users, percent, drawn))
    return pd.DataFrame(rows, columns=list(BESIDE_COLUMNS))


def _latencies(
    assessment: Assessment, cell_ids: Sequence[str], *, failures: bool = True
) -> np.ndarray:
    """End-to-end times of a block's cells, ms."""
    return np.concatenate(
        [assessment.arrays(cell_id).latencies_ms("e2e", failures) for cell_id in cell_ids]
    )


def _by_methods(
    assessment: Assessment,
    arms: tuple[str, str],
    users: int,
    percent: float,
    drawn: Hierarchical,
) -> dict[str, Any]:
    """One ratio by each method."""
    load = load_at(assessment, users)
    assert load is not None  # it has cells
    pairing = pair(assessment, arms, load, f"e2e_p{percent:g}_ms")
    row: dict[str, Any] = dict.fromkeys(BESIDE_COLUMNS, np.nan) | {
        "quantity": f"e2e p{percent:g}", "users": users, "blocks": len(pairing.numerator),
        "note": pairing.note,
    }  # fmt: skip
    by_t = pairing.ratio()
    if by_t is None:
        return row
    resampled = drawn.ratio(*arms, float(users))
    row |= {"ratio": by_t.value, "t_low": by_t.low, "t_high": by_t.high,
            "hierarchical_low": resampled.low, "hierarchical_high": resampled.high}  # fmt: skip
    bca = log_ratio_bca(pairing.numerator, pairing.denominator, seed=SEED)
    if isinstance(bca, NotEstimable):
        row["note"] = notes(pairing.note, bca.note)
    else:
        row |= {"bca_low": bca.low, "bca_high": bca.high}
    return row
