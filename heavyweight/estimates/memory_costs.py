"""What the memory of a server is made of, and what it costs against another or with more slots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from heavyweight import physics
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import NOTHING, notes, say
from heavyweight.estimates.memory import compared, memory_by_block
from heavyweight.estimates.pairing import Pairing, paired
from heavyweight.stats import mean_t

PARTS = ("weights", "KV cache", "rest")
BITS = {"gguf-q4": physics.PRECISIONS["q4"], "gguf-f16": 16.0, "checkpoint": 16.0}
"""Bits a weight, by artefact: what physics computes with."""
RATIO_COLUMNS = ("blocks", "ratio", "low", "high", "note")


def breakdown_table(
    assessment: Assessment, frame: pd.DataFrame, models: physics.Models, confidence: float = 0.95
) -> pd.DataFrame:
    """The peak of each arm at its highest load: weights, KV cache that is reserved, and the rest.

    Weights: the size of their files. KV cache: as the server tells its bytes, or its tokens times
    the bytes of one (``physics.kv_bytes_per_token``). The rest is what the peak has beyond both:
    program, libraries, buffers. It is below zero where a part of the reserved cache was never
    touched, since untouched pages are not in memory.

    Args:
        assessment: of the run.
        frame: of :func:`memory_frame`.
        models: architectures, for the bytes of a token.
        confidence: of the intervals.

    Returns:
        One row an arm and part (weights, KV cache, rest, total): users, quantity of the total,
        blocks, bytes, low, high (arithmetic means over blocks, Student's t), note.
    """
    quantity, rows = compared(frame), []
    users = int(frame["users"].max()) if len(frame) else 0
    for arm in assessment.arms:
        total = memory_by_block(assessment, frame, arm, users, quantity)
        peaks = frame[(frame["arm"] == arm) & (frame["users"] == users)]
        peaks = peaks[peaks["reading"] == "peak"].set_index("block")
        blocks = [block for block in total.values if block in peaks.index]
        parts: dict[str, list[float]] = {
            "weights": [peaks.loc[block, "weights_bytes"] for block in blocks],
            "KV cache": [_kv_bytes(peaks.loc[block], models) for block in blocks],
            "total": [total.values[block] for block in blocks],
        }
        parts["rest"] = [
            t - w - k
            for t, w, k in zip(parts["total"], parts["weights"], parts["KV cache"], strict=True)
        ]
        for part in (*PARTS, "total"):
            value, low, high, note = _mean(parts[part], confidence)
            rows.append(
                {"arm": arm, "label": assessment.label(arm), "users": users, "quantity": quantity,
                 "part": part, "blocks": len(blocks), "bytes": value, "low": low, "high": high,
                 "note": notes(note, say(total.left_out))}
            )  # fmt: skip
    columns = (
        "arm",
        "label",
        "users",
        "quantity",
        "part",
        "blocks",
        "bytes",
        "low",
        "high",
        "note",
    )
    return pd.DataFrame(rows, columns=list(columns))


def _kv_bytes(row: pd.Series, models: physics.Models) -> float:
    """Bytes of the reserved KV cache: as told, else by physics at 16 bits; NaN: not known."""
    if not pd.isna(row["kv_reserved_bytes"]):
        return float(row["kv_reserved_bytes"])
    model = models.by_name.get(row["model"])
    if model is None or pd.isna(row["kv_reserved_tokens"]):
        return math.nan
    return float(row["kv_reserved_tokens"]) * physics.kv_bytes_per_token(model)


def _mean(values: list[float], confidence: float) -> tuple[float, float, float, str]:
    """An arithmetic mean, since parts are to add up; NaN where a block's value is not known."""
    if not values or any(map(math.isnan, values)):
        return math.nan, math.nan, math.nan, "not known" if values else "no block"
    estimate = mean_t(values, confidence, least=-math.inf)
    return estimate.value, estimate.low, estimate.high, estimate.note


def memory_ratio_table(
    assessment: Assessment, frame: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """Ratio of the peaks of a contrast's two arms, paired by block, Student's t on the log scale.

    Args:
        assessment: of the run.
        frame: of :func:`memory_frame`.
        confidence: of the intervals.

    Returns:
        One row for each contrast, load and quantity (that by which servers are compared, then
        RSS): numerator, denominator, blocks, ratio, low, high, note.
    """
    rows = []
    for contrast, arms in assessment.run.contrasts.items():
        for users in _loads(frame):
            for quantity in dict.fromkeys((compared(frame), "rss_bytes")):
                pairing = _pair(assessment, frame, arms, users, quantity)
                rows.append(
                    {"contrast": contrast, "numerator": arms[0], "denominator": arms[1],
                     "users": users, "quantity": quantity, **_ratio(pairing, confidence)}
                )  # fmt: skip
    columns = ("contrast", "numerator", "denominator", "users", "quantity", *RATIO_COLUMNS)
    return pd.DataFrame(rows, columns=list(columns))


def memory_slots_table(
    assessment: Assessment, frame: pd.DataFrame, models: physics.Models, confidence: float = 0.95
) -> pd.DataFrame:
    """What more slots cost: arms that differ in slots alone, each against that with the fewest.

    Args:
        assessment: of the run.
        frame: of :func:`memory_frame`.
        models: architectures, for the KV cache of a slot.
        confidence: of the intervals.

    Returns:
        One row for each pair and load: numerator, denominator, users, quantity, slots (more, of
        the one than of the other), blocks, ratio, low, high, then slot_bytes, slot_low, slot_high
        (bytes a slot: difference / slots, arithmetic mean over blocks), slot_kv_bytes (of its
        context by physics), note.
    """
    rows, quantity = [], compared(frame)
    of_arm = frame.drop_duplicates("arm").set_index("arm")
    for above, below in _slot_pairs(of_arm):
        slots = int(of_arm.loc[above, "slots"] - of_arm.loc[below, "slots"])
        model = models.by_name.get(of_arm.loc[above, "model"])
        kv = float(of_arm.loc[above, "context_tokens"])
        kv *= physics.kv_bytes_per_token(model) if model else math.nan
        for users in _loads(frame):
            pairing = _pair(assessment, frame, (above, below), users, quantity)
            a_slot = [
                (pairing.numerator[block] - pairing.denominator[block]) / slots
                for block in pairing.numerator
            ]
            value, low, high, _ = _mean(a_slot, confidence)
            rows.append(
                {"numerator": above, "denominator": below, "users": users, "quantity": quantity,
                 "slots": slots, **_ratio(pairing, confidence), "slot_bytes": value,
                 "slot_low": low, "slot_high": high, "slot_kv_bytes": kv}
            )  # fmt: skip
    columns = ("numerator", "denominator", "users", "quantity", "slots", *RATIO_COLUMNS,
               "slot_bytes", "slot_low", "slot_high", "slot_kv_bytes")  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))


def _slot_pairs(of_arm: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Arms of Ollama that differ in slots: each, and the one with the fewest.

    A slot of vLLM is only a number: it reserves its KV cache for all of them together.
    """
    mine = of_arm[of_arm["server"] == "ollama"].sort_values("slots", kind="stable")
    for _, group in mine.groupby(["model", "artefact", "context_tokens"], sort=False):
        for above in group.index[1:]:
            if group.loc[above, "slots"] > group["slots"].iloc[0]:
                yield str(above), str(group.index[0])


def _loads(frame: pd.DataFrame) -> list[int]:
    return sorted({int(users) for users in frame["users"]} - {0})


def _pair(
    assessment: Assessment, frame: pd.DataFrame, arms: Sequence[str], users: int, quantity: str
) -> Pairing:
    return paired(arms, [memory_by_block(assessment, frame, arm, users, quantity) for arm in arms])


def _ratio(pairing: Pairing, confidence: float) -> dict[str, Any]:
    found = pairing.ratio(confidence)
    if found is None:
        nothing = notes(NOTHING, pairing.note)
        return dict(zip(RATIO_COLUMNS, (0, *[math.nan] * 3, nothing), strict=True))
    note = notes(found.note, pairing.note)
    values = (len(pairing.numerator), found.value, found.low, found.high, note)
    return dict(zip(RATIO_COLUMNS, values, strict=True))


def memory_physics_table(
    assessment: Assessment, frame: pd.DataFrame, models: physics.Models
) -> pd.DataFrame:
    """What each arm says to have of weights and KV cache, beside what physics computes.

    Args:
        assessment: of the run.
        frame: of :func:`memory_frame`.
        models: architectures.

    Returns:
        One row an arm, as it was last seen at a load: arm, label, model, artefact, weights_bytes
        (files), weights_physics_bytes (parameters x bits / 8; a 4-bit file as Q4_K_M),
        kv_reserved_tokens, kv_told_bytes (NaN: the server does not tell), kv_physics_bytes.
    """
    rows = []
    loads = frame[frame["moment"] == "load"].drop_duplicates("arm", keep="last").set_index("arm")
    for arm in assessment.arms:
        if arm not in loads.index:
            continue
        row = loads.loc[arm]
        model, bits = models.by_name.get(row["model"]), BITS.get(row["artefact"])
        tokens = float(row["kv_reserved_tokens"])
        rows.append(
            {"arm": arm, "label": assessment.label(arm), "model": row["model"],
             "artefact": row["artefact"], "weights_bytes": row["weights_bytes"],
             "weights_physics_bytes":
                 physics.weights_bytes(model, bits) if model and bits else math.nan,
             "kv_reserved_tokens": tokens, "kv_told_bytes": row["kv_reserved_bytes"],
             "kv_physics_bytes":
                 tokens * physics.kv_bytes_per_token(model) if model else math.nan}
        )  # fmt: skip
    columns = ("arm", "label", "model", "artefact", "weights_bytes", "weights_physics_bytes",
               "kv_reserved_tokens", "kv_told_bytes", "kv_physics_bytes")  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))
