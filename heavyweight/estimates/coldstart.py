"""Cold starts over blocks: how long a restart takes under each condition, and where it goes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from heavyweight.estimates.blocks import NOTHING, Blocks, notes, over_blocks, say
from heavyweight.estimates.frames import WARM, readable
from heavyweight.estimates.pairing import paired
from heavyweight.records import Run, ServerStart, Session
from heavyweight.store import RunFolder

QUANTITIES = ("ready_ms", "first_token_ms", "full_speed_ms", "first_request_ttft_ms")
"""What is timed at each start; the last one is the first request alone."""

START_COLUMNS = (
    "session", "block", "arm", "label", "server", "machine_id", "complete", "start_id",
    "condition", "disk", "dropped", "compiled", "cache_said", *QUANTITIES, "disk_read_bytes",
    "phases_ms", "speeds_tok_s",
)  # fmt: skip
COLUMNS = (
    "arm", "label", "server", "condition", "quantity", "blocks", "value_ms", "low_ms", "high_ms",
    "share", "note",
)  # fmt: skip
RATIO_COLUMNS = (
    "contrast", "numerator", "denominator", "condition", "quantity", "blocks", "ratio", "low",
    "high", "note",
)  # fmt: skip


def cold_starts(folder: RunFolder) -> pd.DataFrame:
    """The starts of a run of the experiment coldstart, as they were measured.

    Args:
        folder: the run's.

    Returns:
        One row a finished start: session, block, arm, label, server, machine_id, complete (of its
        session), start_id, condition, disk, dropped, compiled, cache_said, ready_ms,
        first_token_ms, full_speed_ms, first_request_ttft_ms, disk_read_bytes, phases_ms (part ->
        ms), speeds_tok_s. Sessions that cannot be read are left out.
    """
    rows = []
    for _, session in readable(folder):
        rows += [_row(folder.run, session, start) for start in session.starts if start.cold]
    table = pd.DataFrame(rows, columns=list(START_COLUMNS))
    table = table.astype(dict.fromkeys((*QUANTITIES, "disk_read_bytes"), float))
    return table.sort_values(["block", "arm", "start_id"], ignore_index=True)


def _row(run: Run, session: Session, start: ServerStart) -> dict[str, object]:
    cold = start.cold
    assert cold is not None
    return {
        **{name: getattr(session, name) for name in ("session", "block", "arm", "server")},
        "label": run.labels.get(session.arm, session.arm),
        "machine_id": session.machine_id,
        "complete": session.complete,
        "start_id": start.start_id,
        **{name: getattr(start, name) for name in QUANTITIES if name != "full_speed_ms"},
        **cold.model_dump(),
    }


def conditions(starts: pd.DataFrame, arm: str | None = None) -> list[str]:
    """Conditions of an arm, or of all, the ordinary restart first, then by time."""
    mine = starts if arm is None else starts[starts["arm"] == arm]
    medians = mine.groupby("condition")["first_token_ms"].median().sort_values()
    return sorted(medians.index, key=lambda name: name != WARM)


def cold_blocks(starts: pd.DataFrame, run: Run, arm: str, condition: str, quantity: str) -> Blocks:
    """One quantity of one arm under one condition, block by block.

    Args:
        starts: of :func:`cold_starts`.
        run: says how many blocks were planned.
        arm: whose.
        condition: its name.
        quantity: a column of the starts, or a part of ``phases_ms``.
    """
    mine = starts[(starts["arm"] == arm) & (starts["condition"] == condition)]
    found = Blocks()
    planned = set(range(1, run.blocks + 1)) if arm in run.arms else set()
    for block in sorted(planned | set(mine["block"])):
        here = mine[mine["block"] == block]
        if here.empty:
            found.left_out[block] = "not measured"
            continue
        row = here.iloc[0]
        timed = row if quantity in QUANTITIES else row["phases_ms"]
        value = float(timed.get(quantity, math.nan))
        if math.isfinite(value) and value > 0:
            found.values[block] = value
            found.machines[block] = row["machine_id"]
        else:
            found.left_out[block] = "not reached" if quantity == "full_speed_ms" else "not timed"
    return found


def coldstart_table(starts: pd.DataFrame, run: Run, confidence: float = 0.95) -> pd.DataFrame:
    """Each quantity of each arm and condition: geometric mean over blocks, Student's t interval.

    Args:
        starts: of :func:`cold_starts`.
        run: the run's record.
        confidence: of the intervals.

    Returns:
        One row an arm, condition and quantity (those of QUANTITIES, then the parts of the way to
        the first token, in their order): arm, label, server, condition, quantity, blocks,
        value_ms, low_ms, high_ms, share (of a part: its mean share of the way; else NaN), note.
    """
    rows = []
    for arm in _arms(starts, run):
        for condition in conditions(starts, arm):
            mine = starts[(starts["arm"] == arm) & (starts["condition"] == condition)]
            shares = _shares(mine)
            for quantity in (*QUANTITIES, *shares):
                found = cold_blocks(starts, run, arm, condition, quantity)
                value, low, high, note = over_blocks(found, confidence)
                rows.append(
                    {"arm": arm, "label": run.labels.get(arm, arm),
                     "server": mine["server"].iloc[0], "condition": condition,
                     "quantity": quantity, "blocks": len(found.values), "value_ms": value,
                     "low_ms": low, "high_ms": high, "share": shares.get(quantity, math.nan),
                     "note": note}
                )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("value_ms", "low_ms", "high_ms", "share"), float))


def _shares(starts: pd.DataFrame) -> dict[str, float]:
    """Part -> mean share of the way to the first token, in the order of the parts."""
    every = [
        {name: ms / row.first_token_ms for name, ms in row.phases_ms.items()}
        for row in starts.itertuples()
    ]
    names = in_order([list(one) for one in every])
    return {name: float(np.mean([one.get(name, 0.0) for one in every])) for name in names}


def in_order(lists: Iterable[list[str]]) -> list[str]:
    """All names, each after those before it in its own list; the longest list comes first."""
    order: list[str] = []
    for names in sorted(lists, key=len, reverse=True):
        for place, name in enumerate(names):
            if name not in order:
                before = names[place - 1] if place else None
                order.insert(order.index(before) + 1 if before in order else 0, name)
    return order


def cold_ratio_table(starts: pd.DataFrame, run: Run, confidence: float = 0.95) -> pd.DataFrame:
    """How many times as long one start takes as another, paired by block.

    Args:
        starts: of :func:`cold_starts`.
        run: names the contrasts.
        confidence: of the intervals.

    Returns:
        One row a pair and quantity: contrast (its name, or the arm for a condition against the
        ordinary restart of the same arm), numerator, denominator (labels), condition, quantity,
        blocks, ratio, low, high, note. A condition that only the first arm has is compared with
        the second arm's one of the same page cache.
    """
    rows = []
    for name, (above, below) in run.contrasts.items():
        for condition in conditions(starts, above):
            other = _counterpart(starts, above, below, condition)
            if other is not None:
                shown = condition if other == condition else f"{condition} / {other}"
                sides = ((above, condition), (below, other))
                rows += _ratios(starts, run, sides, name, shown, confidence)
    for arm in _arms(starts, run):
        for condition in conditions(starts, arm):
            if condition != WARM:
                sides = ((arm, condition), (arm, WARM))
                rows += _ratios(starts, run, sides, arm, f"{condition} / {WARM}", confidence)
    table = pd.DataFrame(rows, columns=list(RATIO_COLUMNS))
    return table.astype(dict.fromkeys(("ratio", "low", "high"), float))


def _counterpart(starts: pd.DataFrame, above: str, below: str, condition: str) -> str | None:
    """The condition of the second arm that is compared with one of the first; None: there is none.

    It is the one of the same name, else the ordinary restart where the page cache is warm too.
    """
    theirs = conditions(starts, below)
    mine = starts[(starts["arm"] == above) & (starts["condition"] == condition)]
    if condition in theirs:
        return condition
    return WARM if WARM in theirs and (mine["disk"] == "warm").all() else None


def _ratios(
    starts: pd.DataFrame, run: Run, sides: tuple[tuple[str, str], tuple[str, str]], contrast: str,
    condition: str, confidence: float,
) -> list[dict[str, object]]:  # fmt: skip
    """One row a quantity of one pair."""
    labels = [run.labels.get(arm, arm) for arm, _ in sides]
    names = [f"{label}, {one}" for label, (_, one) in zip(labels, sides, strict=True)]
    rows: list[dict[str, object]] = []
    for quantity in QUANTITIES:
        blocks = [cold_blocks(starts, run, arm, one, quantity) for arm, one in sides]
        pairing = paired(names, blocks)
        found = pairing.ratio(confidence)
        value = (found.value, found.low, found.high) if found else (math.nan,) * 3
        rows.append(
            {"contrast": contrast, "numerator": labels[0], "denominator": labels[1],
             "condition": condition, "quantity": quantity, "blocks": len(pairing.numerator),
             **dict(zip(("ratio", "low", "high"), value, strict=True)),
             "note": notes(found.note if found else NOTHING, say(pairing.left_out))}
        )  # fmt: skip
    return rows


def _arms(starts: pd.DataFrame, run: Run) -> list[str]:
    """Arms that have a finished start, in the order of the plan."""
    return [arm for arm in dict.fromkeys([*run.arms, *starts["arm"]]) if arm in set(starts["arm"])]
