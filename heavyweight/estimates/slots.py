"""What more slots give and cost: arms that differ in their slots only, paired by block.

Only VALID cells enter. A server's slots are the requests that it may work on at once: Ollama's
OLLAMA_NUM_PARALLEL, vLLM's --max-num-seqs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import (
    Blocks,
    Load,
    by_block,
    loads,
    notes,
    over_blocks,
    say,
    tidy,
)
from heavyweight.estimates.contrasts import check_quantities, contrast_table, ends
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.pairing import paired
from heavyweight.stats import mean_t

MEMORY = "server_rss_bytes"
QUANTITIES = (
    "throughput_tok_s", "ttft_p50_ms", "ttft_p95_ms", "e2e_p50_ms", "e2e_p95_ms", MEMORY,
)  # fmt: skip
SLOTS_COLUMNS = (
    "family", "arm", "label", "slots", *LOAD, "quantity", "blocks", "value", "low", "high", "note",
)  # fmt: skip
GAIN_COLUMNS = (
    "family", "arm", "label", "slots", "base_slots", *LOAD, "blocks", "gain", "low", "high", "note",
)  # fmt: skip
MEMORY_COLUMNS = (
    "family", "arm", "label", "slots", "base_slots", *LOAD, "blocks", "bytes_per_slot", "low",
    "high", "note",
)  # fmt: skip
EVERY = "every"


def slot_families(assessment: Assessment) -> dict[str, dict[str, int]]:
    """Arms that differ in their slots only.

    Returns:
        Name of a family (its arm with the fewest slots) -> its arms and their slots, ascending.
        Model, artefact, version, settings and context are the same within a family.
    """
    known = assessment.sessions.dropna(subset="slots").drop_duplicates("arm").set_index("arm")
    found: dict[str, dict[str, int]] = {}
    for arm in assessment.arms:
        if arm in known.index:
            family = str(known.loc[arm, "family"])
            found.setdefault(family, {})[arm] = int(known.loc[arm, "slots"])
    ordered = [dict(sorted(arms.items(), key=lambda item: item[1])) for arms in found.values()]
    return {next(iter(arms)): arms for arms in ordered}


def slots_table(
    assessment: Assessment, quantities: Sequence[str] = QUANTITIES, confidence: float = 0.95
) -> pd.DataFrame:
    """Throughput, latency and memory by slots and users: geometric means over blocks.

    Args:
        assessment: the run.
        quantities: columns of the assessment's cells.
        confidence: of Student's t intervals on the log scale.

    Returns:
        One row for each arm, load and quantity: family (see :func:`slot_families`), arm, label,
        slots, users, output_tokens, prompt_tokens, quantity, blocks, value, low, high (in the unit
        of the quantity's name), note.

    Raises:
        BadInput: a quantity is unknown.
    """
    check_quantities(assessment, quantities)
    rows = []
    for family, arm, slots in _arms(assessment):
        for load in loads(assessment):
            for quantity in quantities:
                found = by_block(assessment, arm, load, quantity)
                value, low, high, note = over_blocks(found, confidence)
                rows.append(
                    {"family": family, "arm": arm, "label": assessment.label(arm), "slots": slots,
                     **_of(load), "quantity": quantity, "blocks": len(found.values),
                     "value": value, "low": low, "high": high, "note": note}
                )  # fmt: skip
    return _whole(tidy(rows, SLOTS_COLUMNS))


def gain_table(
    assessment: Assessment, quantity: str = "throughput_tok_s", confidence: float = 0.95
) -> pd.DataFrame:
    """Each arm as a multiple of the arm of its family with the fewest slots, paired by block.

    Args:
        assessment: the run.
        quantity: a column of the assessment's cells.
        confidence: of Student's t intervals on the log scale.

    Returns:
        One row for each load of each arm that has a lesser one: family, arm, label, slots,
        base_slots, users, output_tokens, prompt_tokens, blocks, gain, low, high, note.

    Raises:
        BadInput: the quantity is unknown.
    """
    tables = [pd.DataFrame(columns=list(GAIN_COLUMNS))]
    for family, arms in slot_families(assessment).items():
        pairs = {arm: (arm, family) for arm in arms if arm != family}
        table = contrast_table(assessment, pairs, (quantity,), confidence)
        told = zip(table["note"], table["blocks_left_out"], strict=True)
        table = table.assign(
            family=family,
            arm=table["contrast"],
            label=table["contrast"].map(assessment.label),
            slots=table["contrast"].map(arms),
            base_slots=arms[family],
            gain=table["ratio"],
            note=[notes(*parts) for parts in told],
        )
        tables.append(table)
    rows = [row for table in tables for row in table.to_dict("records")]
    return _whole(tidy(rows, GAIN_COLUMNS))


def memory_per_slot_table(assessment: Assessment, confidence: float = 0.95) -> pd.DataFrame:
    """Resident memory that each added slot costs: mean over blocks with Student's t.

    Args:
        assessment: the run.
        confidence: of the intervals.

    Returns:
        One row for each load of each arm that has a lesser one in its family, its memory less that
        one's by the slots that it has more; and one for each load of a family of three or more,
        whose arm is :data:`EVERY`: the slope of a line through all (least squares, blocks that have
        all arms). family, arm, label, slots, base_slots, users, output_tokens, prompt_tokens,
        blocks, bytes_per_slot, low, high, note. It may be below zero, for memory differs from start
        to start.
    """
    rows = []
    for family, arms in slot_families(assessment).items():
        for load in loads(assessment):
            found = {arm: by_block(assessment, arm, load, MEMORY) for arm in arms}
            shared = {"family": family, "base_slots": arms[family], **_of(load)}
            for arm in (arm for arm in arms if arms[arm] > arms[family]):
                both = paired((arm, family), (found[arm], found[family]))
                added = arms[arm] - arms[family]
                steps = [(both.numerator[b] - both.denominator[b]) / added for b in both.numerator]
                rows.append(
                    {**shared, "arm": arm, "label": assessment.label(arm), "slots": arms[arm],
                     **_mean(steps, confidence, both.note)}
                )  # fmt: skip
            if len(set(arms.values())) > 2:
                slopes, note = _slopes(arms, found)
                rows.append(
                    {**shared, "arm": EVERY,
                     "label": f"each slot added to {assessment.label(family)}",
                     "slots": max(arms.values()), **_mean(slopes, confidence, note)}
                )  # fmt: skip
    return _whole(tidy(rows, MEMORY_COLUMNS))


def _arms(assessment: Assessment) -> Iterator[tuple[str, str, int]]:
    """Family, arm and slots of each arm, in the order of families and slots."""
    for family, arms in slot_families(assessment).items():
        for arm, slots in arms.items():
            yield family, arm, slots


def _of(load: Load) -> dict[str, object]:
    return dict(zip(LOAD, load, strict=True))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its slots as whole numbers."""
    names = [name for name in ("slots", "base_slots") if name in table]
    return table.astype(dict.fromkeys(names, "Int64"))


def _mean(values: Sequence[float], confidence: float, note: str) -> dict[str, object]:
    """Columns of a mean of what may be below zero."""
    found = mean_t(values, confidence, least=-math.inf) if len(values) else None
    value, low, high, said = ends(found)
    return {"blocks": len(values), "bytes_per_slot": value, "low": low, "high": high,
            "note": notes(said, note)}  # fmt: skip


def _slopes(arms: dict[str, int], found: dict[str, Blocks]) -> tuple[list[float], str]:
    """Bytes a slot by least squares in each block that has all arms on one machine."""
    blocks = sorted({block for side in found.values() for block in side.values})
    slopes, left_out = [], {}
    for block in blocks:
        lacking = [arm for arm in arms if block not in found[arm].values]
        if lacking:
            left_out[block] = f"lacks {', '.join(lacking)}"
        elif len({found[arm].machines[block] for arm in arms}) > 1:
            left_out[block] = "on two machines"
        else:
            memory = [found[arm].values[block] for arm in arms]
            slopes.append(float(np.polyfit(list(arms.values()), memory, 1)[0]))
    return slopes, say(left_out)
