"""One statistic of one arm at one load, block by block, and why a block has none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.frames import LOAD
from heavyweight.stats import mean_log_t

Load = tuple[Any, ...]
NOTHING = "no valid block"
INFINITE = "infinite (failures)"


@dataclass
class Blocks:
    """One statistic of one arm at one load, block by block.

    Args:
        values: block -> value.
        left_out: block -> why it has none.
        machines: block -> machine.
        restarted: blocks whose session needed a second start.
        spoiled: blocks whose work was not done (a check of kind "work" failed): what is left out
            there may be the slowest, so that the others are no fair sample.
    """

    values: dict[int, float] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    machines: dict[int, str] = field(default_factory=dict)
    restarted: set[int] = field(default_factory=set)
    spoiled: set[int] = field(default_factory=set)


def loads(assessment: Assessment) -> list[Load]:
    """The closed loops that were measured, and the planned users of whom nothing is there.

    Open loops of all rates have no users: they would be taken for one load.
    """
    cells = assessment.cells
    seen = cells.loc[cells["loop"] == "closed", LOAD].drop_duplicates().sort_values(LOAD)
    loads = [tuple(row) for row in seen.itertuples(index=False)]
    users = {load[0] for load in loads}
    absent = [(n, pd.NA, pd.NA) for n in assessment.run.users if n not in users]
    return sorted([*loads, *absent], key=lambda load: load[0])


def cells_of(assessment: Assessment, arm: str, load: Load) -> pd.DataFrame:
    """The cells of one arm at one load."""
    cells = assessment.cells
    same = cells["arm"] == arm
    for name, value in zip(LOAD, load, strict=True):
        same &= cells[name].isna() if value is pd.NA else cells[name] == value
    return cells[same.fillna(False).astype(bool)]


def by_block(assessment: Assessment, arm: str, load: Load, quantity: str) -> Blocks:
    """A column of the cells, block by block; several cells of a block count by their mean."""
    return of_cells(assessment, arm, cells_of(assessment, arm, load), quantity)


def of_cells(assessment: Assessment, arm: str, cells: pd.DataFrame, quantity: str) -> Blocks:
    """The same of cells that were chosen otherwise.

    Args:
        assessment: the run.
        arm: of all of them.
        cells: rows of the assessment's cells, at most one load.
        quantity: a column of them.
    """
    found = Blocks()
    planned = set(range(1, assessment.run.blocks + 1)) if arm in assessment.run.arms else set()
    for block in sorted(planned | set(cells["block"])):
        here = cells[cells["block"] == block]
        valid = here[here["valid"]]
        values = valid[quantity].to_numpy(dtype=float)
        if here.empty:
            found.left_out[block] = "not measured"
        elif valid.empty:
            found.left_out[block] = f"INVALID: {', '.join(dict.fromkeys(here['reasons']))}"
            if not here["work_valid"].all():
                found.spoiled.add(block)
        elif np.isnan(values).any():
            found.left_out[block] = "not estimable"
        elif not (np.isfinite(values) & (values > 0)).all():
            found.left_out[block] = INFINITE if np.isinf(values).any() else "zero"
        else:
            found.values[block] = mean_log_t(values).value
            found.machines[block] = valid["machine_id"].iloc[0]
            if (valid["starts"] > 1).any():
                found.restarted.add(block)
    return found


def load_at(assessment: Assessment, users: int) -> Load | None:
    """The load of that many users with the lengths of text that most cells of the run have."""
    cells = assessment.cells[LOAD].dropna()
    counts = cells[LOAD[1:]].value_counts().sort_index(kind="stable")
    if counts.empty:
        return None
    load = (users, *counts.idxmax())
    return load if (cells == list(load)).all(axis=1).any() else None


def closed_loads(assessment: Assessment) -> dict[int, Load]:
    """Users -> load of each closed loop with the run's main length, ascending.

    An open loop has no users, and is none of them.
    """
    users = sorted({int(n) for n in assessment.cells["users"].dropna() if n > 0})
    found = {n: load_at(assessment, n) for n in users}
    return {n: load for n, load in found.items() if load is not None}


def cells_by_block(assessment: Assessment, arm: str, load: Load) -> dict[int, list[str]]:
    """The VALID cells of one arm at one load: block -> their ids; mostly one."""
    cells = cells_of(assessment, arm, load)
    valid = cells[cells["valid"]].sort_values("block")
    return {int(block): list(ids) for block, ids in valid.groupby("block")["cell_id"]}


def over_sessions(assessment: Assessment, arm: str, quantity: str) -> Blocks:
    """A column of an arm's sessions, block by block: what was timed at the first start.

    A session counts if the check "server" passed in one of its cells: it was what it should be. A
    session of cold starts has no cell, and its server was checked at each start: it counts if it is
    complete.
    """
    sessions, found = assessment.sessions, Blocks()
    mine = sessions[sessions["arm"] == arm]
    checks = assessment.checks[assessment.checks["check"] == "server"]
    sound = set(checks.loc[checks["passed"], "session"])
    sound |= set(mine.loc[(mine["experiment"] == "coldstart") & mine["complete"], "session"])
    for row in mine.sort_values("block").to_dict("records"):
        block, value = int(row["block"]), float(row[quantity])
        if row["session"] not in sound:
            cold = row["experiment"] == "coldstart"
            found.left_out[block] = (
                "its session is not complete"
                if cold
                else "its server was not what it should be, or has no cell"
            )
        elif math.isfinite(value) and value > 0:
            found.values[block] = value
            found.machines[block] = row["machine_id"]
            if row["starts"] > 1:
                found.restarted.add(block)
        else:
            found.left_out[block] = "not timed"
    return found


def say(left_out: dict[int, str]) -> str:
    """Blocks that were left out, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for block, reason in sorted(left_out.items()):
        reasons.setdefault(reason, []).append(str(block))
    return "; ".join(
        f"block{'s' if len(blocks) > 1 else ''} {', '.join(blocks)} {reason}"
        for reason, blocks in reasons.items()
    )


def notes(*parts: str) -> str:
    """Notes that say something, in one line."""
    return "; ".join(part for part in parts if part)


def over_blocks(found: Blocks, confidence: float) -> tuple[float, float, float, str]:
    """Value, ends and note of a statistic over blocks."""
    if not found.values:
        return math.nan, math.nan, math.nan, say(found.left_out) or NOTHING
    estimate = mean_log_t(list(found.values.values()), confidence)
    note = notes(estimate.note, say(found.left_out))
    return estimate.value, estimate.low, estimate.high, note


def over_blocks_or_infinite(found: Blocks, confidence: float) -> tuple[float, float, float, str]:
    """The same of a latency: infinite where failures reach it in one of the blocks.

    Leaving the worst block out would make the rest look faster than the server is.
    """
    if INFINITE in found.left_out.values():
        return math.inf, math.nan, math.inf, say(found.left_out)
    return over_blocks(found, confidence)


def tidy(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a tidy table that has its columns even without rows."""
    table = pd.DataFrame(list(rows), columns=list(columns))
    whole = [name for name in (*LOAD, "blocks", "block", "n", "needs", "failures") if name in table]
    return table.astype({name: "Int64" for name in whole})
