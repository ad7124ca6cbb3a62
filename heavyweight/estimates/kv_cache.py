"""KV cache that is reserved, assigned and used by equal streams, over blocks."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import NOTHING, Blocks, notes
from heavyweight.estimates.frames import readable
from heavyweight.estimates.pairing import paired
from heavyweight.records import Probe
from heavyweight.stats import mean_t
from heavyweight.store import RunFolder

PROBE = "kv-cache"
QUANTITIES = (
    "reserved_tokens", "assigned_tokens", "used_tokens", "wasted_tokens_per_sequence",
    "wasted_share", "unused_share",
)  # fmt: skip
FRAME_COLUMNS = (
    "arm", "server", "block", "session", "machine_id", "answer", "sequences", "readings",
    "block_tokens", *QUANTITIES, "most_wasted_per_sequence", "idle_tokens", "fault",
)  # fmt: skip


def kv_cache_frame(run: RunFolder) -> pd.DataFrame:
    """What the probe of the KV cache saw, one row a session.

    A session's readings count together: shares are of the sums over its readings, tokens their
    means. Sessions that cannot be read are left out.

    Args:
        run: its folder.

    Returns:
        - arm, server, block, session, machine_id, answer (of the probe), sequences, readings;
        - block_tokens: in which the cache is assigned; NaN: each slot has a part for good;
        - reserved_tokens, assigned_tokens, used_tokens: means over the readings, all sequences;
        - wasted_tokens_per_sequence: assigned and not used, mean; most_wasted_per_sequence: of the
          reading with the most, which is what "at most a block" is judged by;
        - wasted_share: 1 - used / assigned; unused_share: 1 - used / reserved;
        - idle_tokens: assigned when nothing was in flight; NaN: it cannot be asked;
        - fault: why the session does not count; empty if it does.
    """
    rows = []
    for folder, record in readable(run):
        for probe in folder.probes():
            if probe.probe == PROBE:
                shared = {
                    "arm": record.arm, "server": record.server, "block": record.block,
                    "session": record.session, "machine_id": record.machine_id,
                    "answer": probe.answer,
                }  # fmt: skip
                rows.append({**shared, **_counted(probe)})
    table = pd.DataFrame(rows, columns=list(FRAME_COLUMNS))
    numbers = [name for name in FRAME_COLUMNS[6:-1]]
    return table.astype(dict.fromkeys(numbers, float)).astype({"block": int})


def _counted(probe: Probe) -> dict[str, Any]:
    """The numbers of one probe."""
    trials = pd.DataFrame(probe.trials)
    if trials.empty:
        return {"fault": probe.why}
    busy, idle = (trials[trials["moment"] == moment] for moment in ("in flight", "idle"))
    sums = busy[["reserved_tokens", "assigned_tokens", "tokens_in_flight"]].astype(float).sum()
    reserved, assigned, used = sums
    return {
        "sequences": busy["sequences"].iloc[0],
        "readings": len(busy),
        "block_tokens": busy["block_tokens"].iloc[0],
        "reserved_tokens": reserved / len(busy),
        "assigned_tokens": assigned / len(busy),
        "used_tokens": used / len(busy),
        "wasted_tokens_per_sequence": busy["wasted_tokens_per_sequence"].mean(),
        "most_wasted_per_sequence": busy["wasted_tokens_per_sequence"].max(),
        "wasted_share": 1 - used / assigned if assigned else math.nan,
        "unused_share": 1 - used / reserved if reserved else math.nan,
        "idle_tokens": math.nan if idle.empty else idle["assigned_tokens"].max(),
        "fault": "",
    }


def kv_cache_table(
    assessment: Assessment, frame: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """What each arm reserves, assigns and uses: arithmetic means over blocks, Student's t.

    Args:
        assessment: of the run.
        frame: of :func:`kv_cache_frame`.
        confidence: of the intervals.

    Returns:
        One row an arm and quantity (those of :data:`QUANTITIES`): blocks, value, low, high; and of
        the arm sequences, block_tokens, most_wasted_per_sequence (of all blocks), idle_tokens (the
        most), within_a_block (whether no reading of any block wasted more than a block a sequence;
        False: each slot has a part for good), note.
    """
    rows = []
    for arm in assessment.arms:
        mine = frame[frame["arm"] == arm]
        sound = mine[mine["fault"] == ""]
        faults = "; ".join(
            f"block {r.block} {r.fault}" for r in mine[mine["fault"] != ""].itertuples()
        )
        most, block = sound["most_wasted_per_sequence"].max(), sound["block_tokens"].max()
        about = {
            "arm": arm, "label": assessment.label(arm), "blocks": len(sound),
            "sequences": sound["sequences"].max(), "block_tokens": block,
            "most_wasted_per_sequence": most, "idle_tokens": sound["idle_tokens"].max(),
            "within_a_block": bool(most <= block),
        }  # fmt: skip
        for quantity in QUANTITIES:
            values = sound[quantity].dropna().to_list()
            value, low, high, note = math.nan, math.nan, math.nan, "no block"
            if values:
                estimate = mean_t(values, confidence, least=-math.inf)
                value, low, high = estimate.value, estimate.low, estimate.high
                note = estimate.note
            rows.append(
                {**about, "quantity": quantity, "value": value, "low": low, "high": high,
                 "note": notes(note, faults)}
            )  # fmt: skip
    columns = ("arm", "label", "quantity", "blocks", "value", "low", "high", "sequences",
               "block_tokens", "most_wasted_per_sequence", "idle_tokens", "within_a_block",
               "note")  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))


def kv_waste_by_block(assessment: Assessment, frame: pd.DataFrame, arm: str) -> Blocks:
    """The share of what an arm assigned that was not used, block by block.

    Args:
        assessment: of the run.
        frame: of :func:`kv_cache_frame`.
        arm: one of the run.
    """
    found, mine = Blocks(), frame[frame["arm"] == arm]
    for block in range(1, assessment.run.blocks + 1):
        rows = mine[mine["block"] == block]
        if rows.empty:
            found.left_out[block] = "not measured"
        elif rows.iloc[0]["fault"]:
            found.left_out[block] = rows.iloc[0]["fault"]
        elif not rows.iloc[0]["wasted_share"] > 0:
            found.left_out[block] = "nothing was wasted"
        else:
            found.values[block] = float(rows.iloc[0]["wasted_share"])
            found.machines[block] = rows.iloc[0]["machine_id"]
    return found


def kv_waste_table(
    assessment: Assessment, frame: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """Wasted shares of a contrast's two arms at equal lengths, paired by block.

    Args:
        assessment: of the run.
        frame: of :func:`kv_cache_frame`.
        confidence: of the intervals.

    Returns:
        One row a contrast: contrast, numerator, denominator, blocks, ratio of the wasted shares,
        low, high (Student's t on the log scale), most_wasted_blocks (of the first arm: the most
        that a sequence wasted in any reading, in its own blocks; NaN: it assigns none), note.
    """
    rows = []
    for contrast, arms in assessment.run.contrasts.items():
        pairing = paired(arms, [kv_waste_by_block(assessment, frame, arm) for arm in arms])
        found = pairing.ratio(confidence)
        mine = frame[frame["arm"] == arms[0]]
        value, low, high = (found.value, found.low, found.high) if found else [math.nan] * 3
        rows.append(
            {"contrast": contrast, "numerator": arms[0], "denominator": arms[1],
             "blocks": len(pairing.numerator), "ratio": value, "low": low, "high": high,
             "most_wasted_blocks":
                 (mine["most_wasted_per_sequence"] / mine["block_tokens"]).max(),
             "note": notes(found.note if found else NOTHING, pairing.note)}
        )  # fmt: skip
    columns = ("contrast", "numerator", "denominator", "blocks", "ratio", "low", "high",
               "most_wasted_blocks", "note")  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))
