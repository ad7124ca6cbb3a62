"""One study measured twice: the ratios of both, and how far they are apart."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import loads, notes, tidy
from heavyweight.estimates.contrasts import check_quantities, ends
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.pairing import Pairing, pair
from heavyweight.stats import log_quotient_welch

COLUMNS = (
    "contrast", "numerator", "denominator", "quantity", *LOAD,
    "theirs", "theirs_low", "theirs_high", "theirs_blocks",
    "ours", "ours_low", "ours_high", "ours_blocks",
    "quotient", "low", "high", "differs", "note",
)  # fmt: skip


def reproduction_table(
    theirs: Assessment,
    ours: Assessment,
    quantity: str = "throughput_tok_s",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The ratios of a study and of another that measured the same, and the quotient of the two.

    The quotient is ours / theirs; its interval is Welch's t on the log scale, since the blocks of
    two studies are independent and their spreads may differ. Only VALID cells enter.

    Args:
        theirs: the study that is reproduced; its contrasts count.
        ours: the study that was measured again.
        quantity: column of the assessments' cells.
        confidence: of the intervals.

    Returns:
        One row for each contrast and load of either study: contrast, numerator, denominator,
        quantity, users, output_tokens, prompt_tokens; ratio, interval and blocks of both; quotient
        with low and high; differs (the interval leaves out 1; NA: there is no interval); note.

    Raises:
        BadInput: the quantity is unknown.
    """
    check_quantities(theirs, [quantity])
    rows: list[dict[str, Any]] = []
    for name, arms in theirs.run.contrasts.items():
        for load in _loads(theirs, ours):
            sides = {
                "theirs": pair(theirs, arms, load, quantity),
                "ours": pair(ours, arms, load, quantity),
            }
            row: dict[str, Any] = {
                "contrast": name, "numerator": arms[0], "denominator": arms[1],
                "quantity": quantity, **dict(zip(LOAD, load, strict=True)),
            }  # fmt: skip
            said = ""
            for side, pairing in sides.items():
                value, low, high, note = ends(pairing.ratio(confidence))
                row |= {side: value, f"{side}_low": low, f"{side}_high": high}
                row[f"{side}_blocks"] = len(pairing.numerator)
                told = notes(note, pairing.note)
                said = notes(said, f"{side}: {told}" if told else "")
            rows.append(row | _apart(sides["ours"], sides["theirs"], confidence) | {"note": said})
    return tidy(rows, COLUMNS).astype({"differs": "boolean"})


def _loads(theirs: Assessment, ours: Assessment) -> list[tuple[Any, ...]]:
    """The loads of both, each once; what was planned and not measured has no lengths."""
    both = dict.fromkeys([*loads(theirs), *loads(ours)])
    measured = {load[0] for load in both if not pd.isna(load[1])}
    kept = [load for load in both if not pd.isna(load[1]) or load[0] not in measured]
    return sorted(kept, key=lambda load: load[0])


def _apart(ours: Pairing, theirs: Pairing, confidence: float) -> dict[str, Any]:
    values = [
        [side.numerator[block] / side.denominator[block] for block in side.numerator]
        for side in (ours, theirs)
    ]
    if not all(values):
        return {"quotient": math.nan, "low": math.nan, "high": math.nan, "differs": pd.NA}
    found = log_quotient_welch(values[0], values[1], confidence)
    differs = not found.low <= 1 <= found.high if found.has_interval else pd.NA
    return {"quotient": found.value, "low": found.low, "high": found.high, "differs": differs}
