"""Probes of a run: the answer of each session, and all sessions of an arm together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from heavyweight.estimates.blocks import notes
from heavyweight.records import Probe
from heavyweight.stats import Estimate, mean_log_t, mean_t
from heavyweight.store import RunFolder

PROBE_COLUMNS = (
    "arm", "label", "server", "block", "probe", "question", "answer", "yes", "of", "failed",
    "value", "unit", "why", "session", "start_id", "emulated",
)  # fmt: skip
OVER_COLUMNS = (
    "arm", "label", "server", "probe", "question", "answer", "blocks", "blocks_yes", "blocks_no",
    "blocks_unknown", "yes", "of", "value", "low", "high", "unit", "why", "note",
)  # fmt: skip
JOIN_COLUMNS = ("arm", "label", "block", "trial", "at_ms", "gap_ms", "steps", "first_ms", "last_ms")
MIXED = "mixed"
ORDER = (
    "overlap", "same-step", "slot-recycling", "joining", "prefix-cache", "queue", "queue-loading",
    "abandoned", "swap", "memory-at-start", "dtype", "ports", "offline",
)  # fmt: skip
"""Probes as they are shown: concurrency first, then what is kept, then the start."""

Rows = list[dict[str, Any]]


def probes(run: RunFolder) -> list[Probe]:
    """All probes of a run, by arm in the order of the plan, then by block and name.

    Raises:
        StoreError: one is cut off, or of another schema.
    """
    arms = list(run.run.arms)
    found = [probe for session in run.sessions() for probe in session.probes()]

    def place(probe: Probe) -> tuple[int, str, int, int, str]:
        known = arms.index(probe.arm) if probe.arm in arms else len(arms)
        shown = ORDER.index(probe.probe) if probe.probe in ORDER else len(ORDER)
        return known, probe.arm, probe.block, shown, probe.probe

    return sorted(found, key=place)


def probes_table(run: RunFolder) -> pd.DataFrame:
    """What each session said.

    Args:
        run: of the experiment mechanisms.

    Returns:
        One row an arm, block and probe: answer (yes, no, unknown), trials that say yes, of how many
        that say anything, how many failed, the probe's number with its unit, and why.

    Raises:
        StoreError: a probe is cut off, or of another schema.
    """
    rows = [
        {
            "arm": probe.arm,
            "label": run.run.labels.get(probe.arm, probe.arm),
            "server": probe.server,
            "block": probe.block,
            "probe": probe.probe,
            "question": probe.question,
            "answer": probe.answer,
            "yes": probe.yes,
            "of": sum(trial.get("yes") is not None for trial in probe.trials),
            "failed": sum("error" in trial for trial in probe.trials),
            "value": math.nan if probe.value is None else probe.value,
            "unit": probe.value_unit,
            "why": probe.why,
            "session": probe.session,
            "start_id": probe.start_id,
            "emulated": probe.emulated,
        }
        for probe in probes(run)
    ]
    table = pd.DataFrame(rows, columns=list(PROBE_COLUMNS))
    whole = ("block", "yes", "of", "failed", "start_id")
    return table.astype({name: "Int64" for name in whole} | {"value": float})


def probes_over_blocks(
    run: RunFolder, table: pd.DataFrame | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """What all sessions of an arm say together.

    A number is the geometric mean over blocks with Student's t on the log scale; where one is not
    above zero, the mean with Student's t. A block whose answer is unknown enters no number.

    Args:
        run: of the experiment mechanisms.
        table: of :func:`probes_table`, if it is there already.
        confidence: of the intervals.

    Returns:
        One row an arm and probe: answer (yes or no where all blocks that know say so; mixed where
        they contradict each other; unknown where none knows), blocks by answer, trials of all
        blocks, value with low and high, why (of the last block that has the answer), note.
    """
    table = probes_table(run) if table is None else table
    rows: Rows = []
    for (arm, probe), mine in table.groupby(["arm", "probe"], sort=False):
        counts = mine["answer"].value_counts()
        yes, no = (int(counts.get(answer, 0)) for answer in ("yes", "no"))
        answer = MIXED if yes and no else "yes" if yes else "no" if no else "unknown"
        known = mine[mine["answer"] != "unknown"]
        told = (known if len(known) else mine).iloc[-1]
        estimate = _estimate(known["value"].dropna().tolist(), confidence)
        absent = sorted(set(range(1, run.run.blocks + 1)) - set(mine["block"]))
        without = mine.loc[mine["answer"] == "unknown", ["block", "why"]]
        rows.append(
            {
                "arm": arm,
                "label": told["label"],
                "server": told["server"],
                "probe": probe,
                "question": told["question"],
                "answer": answer,
                "blocks": len(mine),
                "blocks_yes": yes,
                "blocks_no": no,
                "blocks_unknown": len(mine) - len(known),
                "yes": int(known["yes"].sum()),
                "of": int(known["of"].sum()),
                "value": estimate.value if estimate else math.nan,
                "low": estimate.low if estimate else math.nan,
                "high": estimate.high if estimate else math.nan,
                "unit": told["unit"],
                "why": told["why"],
                "note": notes(
                    estimate.note if estimate else "",
                    f"not asked in block {', '.join(map(str, absent))}" if absent else "",
                    *(f"block {row.block} unknown: {row.why}" for row in without.itertuples()),
                ),
            }
        )
    whole = ("blocks", "blocks_yes", "blocks_no", "blocks_unknown", "yes", "of")
    over = pd.DataFrame(rows, columns=list(OVER_COLUMNS))
    over = over.astype(
        dict.fromkeys(whole, "Int64") | dict.fromkeys(("value", "low", "high"), float)
    )
    return _ordered(over, "probe", ORDER)


def _estimate(values: Sequence[float], confidence: float) -> Estimate | None:
    if not values:
        return None
    if min(values) > 0:
        return mean_log_t(values, confidence)
    return mean_t(values, confidence, least=min(0.0, *values))


def _ordered(table: pd.DataFrame, column: str, order: Sequence[str]) -> pd.DataFrame:
    """Rows in that order of a column; arms stay as they come."""
    places = {name: place for place, name in enumerate(order)}
    by = table[column].map(lambda name: places.get(name, len(places)))
    return table.iloc[by.argsort(kind="stable")].reset_index(drop=True)


def joining_table(run: RunFolder) -> pd.DataFrame:
    """The running stream's steps around a join, token by token.

    Returns:
        One row a token of a trial's running stream: arm, label, block, trial (from 1), at_ms (when
        it came, after the joining request was sent), gap_ms (since the token before), steps (the
        same as a multiple of the median step before the join), first_ms and last_ms (the joining
        request's first and last token).
    """
    rows: Rows = []
    for probe in probes(run):
        if probe.probe != "joining":
            continue
        for number, trial in enumerate(probe.trials, start=1):
            at, gaps, alone = (trial.get(name) for name in ("at_ms", "gap_ms", "alone_ms"))
            if not (isinstance(at, list) and isinstance(gaps, list) and isinstance(alone, float)):
                continue
            ttft, last = trial.get("joiner_ttft_ms"), trial.get("joiner_last_ms")
            rows += [
                {"arm": probe.arm, "label": run.run.labels.get(probe.arm, probe.arm),
                 "block": probe.block, "trial": number, "at_ms": t, "gap_ms": gap,
                 "steps": gap / alone if alone > 0 else math.nan, "first_ms": ttft,
                 "last_ms": last}
                for t, gap in zip(at, gaps, strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(JOIN_COLUMNS))


def recycling_table(run: RunFolder) -> pd.DataFrame:
    """Steps from a freed slot to the next request's first token, trial by trial.

    Returns:
        One row a trial in which a request waited: arm, label, block, trial (from 1), steps,
        freed_to_first_ms.
    """
    rows = [
        {"arm": probe.arm, "label": run.run.labels.get(probe.arm, probe.arm), "block": probe.block,
         "trial": number, "steps": trial["steps"], "freed_to_first_ms": trial["freed_to_first_ms"]}
        for probe in probes(run)
        if probe.probe == "slot-recycling"
        for number, trial in enumerate(probe.trials, start=1)
        if trial.get("steps") is not None
    ]  # fmt: skip
    columns = ["arm", "label", "block", "trial", "steps", "freed_to_first_ms"]
    return pd.DataFrame(rows, columns=columns)
