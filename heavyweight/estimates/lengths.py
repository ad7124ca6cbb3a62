"""How the lengths of prompts and answers move a ratio, and what a token of each costs a server.

Only VALID cells enter, block by block. Lengths are those that were aimed at and asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import Load, by_block, loads, notes, over_blocks, say, tidy
from heavyweight.estimates.contrasts import check_quantities, contrast_table
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.pairing import pair
from heavyweight.stats import mean_log_t

RATIOS = ("throughput_tok_s", "requests_per_s", "ttft_p50_ms", "tpot_p50_ms")
TIMES = ("ttft_p50_ms", "tpot_p50_ms", "throughput_tok_s")
TERMS = ("prompt_tokens", "output_tokens")
MOVES_COLUMNS = (
    "contrast", "quantity", "users", "term", "blocks", "pairs", "factor", "low", "high", "moves",
    "residual", "note",
)  # fmt: skip
TIMES_COLUMNS = (
    "arm", "label", *LOAD, "quantity", "blocks", "value", "low", "high", "note",
)  # fmt: skip
RATES_COLUMNS = (
    "arm", "label", "users", "rate", "blocks", "pairs", "tok_s", "low", "high", "residual", "note",
)  # fmt: skip

Matrix = dict[int, dict[Load, float]]  # block -> load -> value


def lengths_table(assessment: Assessment, contrast: str, confidence: float = 0.95) -> pd.DataFrame:
    """The ratio of a contrast's arms at each pair of lengths: see ``contrast_table``.

    Args:
        assessment: the run.
        contrast: of the run.
        confidence: of the intervals.

    Returns:
        One row for each quantity of :data:`RATIOS` and load. Of times, a ratio below 1 says that
        the first arm is faster.

    Raises:
        BadInput: the contrast is unknown.
    """
    return contrast_table(assessment, {contrast: _arms(assessment, contrast)}, RATIOS, confidence)


def moves_table(
    assessment: Assessment,
    contrast: str,
    quantities: Sequence[str] = RATIOS,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """By how much a ratio changes where prompts or answers are twice as long.

    log ratio = a + b log2(prompt tokens) + c log2(output tokens), fitted by least squares in each
    block that has all pairs of lengths; Student's t over the blocks' b and c. It is a summary and
    no law: the residual says how far the ratios are from it.

    Args:
        assessment: the run.
        contrast: of the run.
        quantities: columns of the assessment's cells.
        confidence: of the intervals.

    Returns:
        Two rows, of prompts and of answers, for each quantity and number of users: contrast,
        quantity, users, term, blocks, pairs (of lengths), factor (by which the ratio changes with
        each doubling) with low and high, moves (whether the interval excludes 1; missing: no
        interval), residual (the largest relative one), note.

    Raises:
        BadInput: the contrast or a quantity is unknown.
    """
    check_quantities(assessment, quantities)
    arms = _arms(assessment, contrast)
    rows: list[dict[str, Any]] = []
    for quantity in quantities:
        for users, here in _by_users(assessment).items():
            found: Matrix = {}
            for load in here:
                both = pair(assessment, arms, load, quantity)
                for block, above in both.numerator.items():
                    found.setdefault(block, {})[load] = math.log(above / both.denominator[block])
            fits, left_out = _fitted(found, here, log=True)
            shared = {"contrast": contrast, "quantity": quantity, "users": users,
                      "blocks": len(fits), "pairs": len(here),
                      "residual": _largest([residual for _, residual in fits])}  # fmt: skip
            for place, term in enumerate(TERMS, start=1):
                factors = [math.exp(slopes[place]) for slopes, _ in fits]
                value, low, high, note = _over(factors, confidence, left_out)
                known = not math.isnan(low)
                rows.append(
                    {**shared, "term": term, "factor": value, "low": low, "high": high,
                     "moves": bool(low > 1 or high < 1) if known else pd.NA, "note": note}
                )  # fmt: skip
    return _typed(rows, MOVES_COLUMNS)


def length_times_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """TTFT, TPOT and throughput of each arm at each pair of lengths: geometric means over blocks.

    Args:
        assessment: the run.
        confidence: of Student's t intervals on the log scale.

    Returns:
        One row for each arm, load and quantity of :data:`TIMES`: arm, label, users, output_tokens,
        prompt_tokens, quantity, blocks, value, low, high, note.
    """
    rows = []
    for arm in assessment.arms:
        for load in loads(assessment):
            for quantity in TIMES:
                found = by_block(assessment, arm, load, quantity)
                value, low, high, note = over_blocks(found, confidence)
                rows.append(
                    {"arm": arm, "label": assessment.label(arm),
                     **dict(zip(LOAD, load, strict=True)), "quantity": quantity,
                     "blocks": len(found.values), "value": value, "low": low, "high": high,
                     "note": note}
                )  # fmt: skip
    return tidy(rows, TIMES_COLUMNS)


def speeds_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """Tokens a second at which each server reads prompts and writes answers, users kept busy.

    A server that always has work spends 1 / (requests a second) on each request. That time is
    taken apart, in each block that has all pairs of lengths, by least squares of the relative
    misfit: fixed + prompt tokens / reading rate + output tokens / writing rate. Both rates are of
    the server, over all its users; one that waits for its users looks slower.

    Args:
        assessment: the run.
        confidence: of Student's t intervals on the log scale.

    Returns:
        Two rows for each arm and number of users: arm, label, users, rate ("prompt_tokens":
        reading, "output_tokens": writing), blocks, pairs, tok_s, low, high, residual (the largest
        relative one), note. A block whose cost of a token is not above zero has no rate and is left
        out.
    """
    rows: list[dict[str, Any]] = []
    for arm in assessment.arms:
        for users, here in _by_users(assessment).items():
            found: Matrix = {}
            for load in here:
                for block, rate in by_block(assessment, arm, load, "requests_per_s").values.items():
                    found.setdefault(block, {})[load] = 1 / rate
            fits, left_out = _fitted(found, here, log=False)
            shared = {"arm": arm, "label": assessment.label(arm), "users": users,
                      "pairs": len(here),
                      "residual": _largest([residual for _, residual in fits])}  # fmt: skip
            for place, term in enumerate(TERMS, start=1):
                speeds = [1 / costs[place] for costs, _ in fits if costs[place] > 0]
                value, low, high, note = _over(speeds, confidence, left_out)
                if len(speeds) < len(fits):
                    gone = len(fits) - len(speeds)
                    note = notes(note, f"{gone} of {len(fits)} blocks find no cost of a token")
                rows.append(
                    {**shared, "rate": term, "blocks": len(speeds), "tok_s": value, "low": low,
                     "high": high, "note": note}
                )  # fmt: skip
    return _typed(rows, RATES_COLUMNS)


def _arms(assessment: Assessment, contrast: str) -> tuple[str, str]:
    """Arms of a contrast; BadInput where the run has none of that name."""
    known = assessment.run.contrasts
    if contrast not in known:
        raise BadInput(
            f"no contrast {contrast!r} in {assessment.run.run}",
            f"one of {', '.join(known) or '(none)'}",
            "measure a profile that has it",
        )
    return known[contrast]


def _by_users(assessment: Assessment) -> dict[int, list[Load]]:
    """Users of closed loops -> their loads, of every pair of lengths."""
    found: dict[int, list[Load]] = {}
    for load in loads(assessment):
        if load[0] > 0 and pd.notna(load[1]):
            found.setdefault(int(load[0]), []).append(load)
    return found


def _fitted(
    found: Matrix, here: Sequence[Load], *, log: bool
) -> tuple[list[tuple[np.ndarray, float]], str]:
    """Coefficients and largest relative residual of each block that has all loads, and the rest.

    Args:
        found: block -> load -> log of a ratio, or a time.
        here: the loads.
        log: of the lengths, to the base of 2, and the values are logs; else values are times,
            and their relative misfit is made small.
    """
    lengths = np.array([[load[2], load[1]] for load in here], dtype=float)
    terms = np.log2(lengths) if log else lengths
    design = np.column_stack([np.ones(len(here)), terms])
    if np.linalg.matrix_rank(design) < 3:
        return [], "needs three pairs of lengths or more, in which both change"
    fits, left_out = [], {}
    for block, values in sorted(found.items()):
        lacking = [load for load in here if load not in values]
        if lacking:
            told = ", ".join(f"{asked} in {answered} out" for _, answered, asked in lacking)
            left_out[block] = f"lacks {told}"
            continue
        y = np.array([values[load] for load in here])
        weight = np.ones(len(here)) if log else 1 / y
        slopes = np.linalg.lstsq(design * weight[:, None], y * weight, rcond=None)[0]
        off = y - design @ slopes
        fits.append((slopes, float(np.abs(np.expm1(off) if log else off / y).max())))
    return fits, say(left_out)


def _over(values: Sequence[float], confidence: float, note: str) -> tuple[float, float, float, str]:
    """Geometric mean, ends and note of numbers above zero, one a block."""
    if not values:
        return math.nan, math.nan, math.nan, notes("no block has all pairs of lengths", note)
    found = mean_log_t(values, confidence)
    return found.value, found.low, found.high, notes(found.note, note)


def _largest(residuals: Sequence[float]) -> float:
    return max(residuals, default=math.nan)


def _typed(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A tidy table with its types."""
    table = tidy([dict(row) for row in rows], columns).astype({"users": "Int64", "pairs": "Int64"})
    return table.astype({"moves": "boolean"}) if "moves" in table else table
