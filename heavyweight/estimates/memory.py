"""What servers take of memory, from their start to their loads, over blocks.

A load's memory counts where its work was done: all checks of kind "work" passed. A check of the
machine that failed (a late client, another program) spoils times, and no bytes.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import Blocks, notes, over_blocks, say
from heavyweight.estimates.frames import readable
from heavyweight.stats import mean_t
from heavyweight.store import RunFolder

QUANTITIES = (
    "pss_bytes", "rss_bytes", "private_bytes", "anonymous_bytes", "file_bytes", "shmem_bytes",
    "highest_rss_bytes", "vram_bytes",
)  # fmt: skip
TABLE_COLUMNS = (
    "arm", "label", "moment", "users", "reading", "quantity", "blocks", "bytes", "low", "high",
    "note",
)  # fmt: skip
FRAME_COLUMNS = (
    "arm", "server", "block", "session", "machine_id", "model", "artefact", "slots",
    "context_tokens", "starts", "moment", "users", "reading", "weights_bytes", "kv_reserved_tokens",
    "kv_reserved_bytes", *QUANTITIES, "fault",
)  # fmt: skip


def memory_frame(run: RunFolder, assessment: Assessment) -> pd.DataFrame:
    """All that the probes of memory saw.

    Args:
        run: its folder.
        assessment: of it; says whether the work of a load was done.

    Returns:
        One row for each session, moment (ready, loaded, load) and reading (now; peak: the highest
        of each count while the load ran): what the server took (bytes), weights and KV cache that
        it says to have, and in ``fault`` why it does not count; empty if it does. Sessions that
        cannot be read are left out.
    """
    cells = assessment.cells.set_index("cell_id")
    rows: list[dict[str, Any]] = []
    for folder, record in readable(run):
        probes = [one for one in folder.probes() if one.probe.startswith("memory-")]
        if not probes:
            continue
        shared = {
            "arm": record.arm, "server": record.server, "block": record.block,
            "session": record.session, "machine_id": record.machine_id,
            "model": record.model, "artefact": record.artefact, "slots": record.slots,
            "context_tokens": record.context_tokens, "starts": len(record.starts),
        }  # fmt: skip
        for probe in probes:
            for trial in probe.trials:
                users = int(str(trial.get("users") or 0))
                moment = "load" if users else probe.probe.removeprefix("memory-")
                fault = _fault(cells, trial.get("cell_id")) if users else ""
                rows.append({**shared, **trial, "moment": moment, "users": users, "fault": fault})
    table = pd.DataFrame(rows, columns=list(FRAME_COLUMNS))
    sizes = [name for name in table if name.endswith("_bytes")]
    return table.astype(dict.fromkeys(sizes, float)).astype({"users": int, "block": int})


def machine_memory_bytes(run: RunFolder) -> float:
    """Memory for a model on the run's machines: of all GPUs of one, or its RAM; the smallest.

    NaN where no session can be read.
    """
    found = []
    for _, record in readable(run):
        machine = record.machine
        if machine is None:
            continue
        of_gpus = [float(gpu["memory_bytes"]) for gpu in machine.gpus if "memory_bytes" in gpu]
        found.append(sum(of_gpus) or float(machine.memory_bytes))
    return min(found, default=math.nan)


def _fault(cells: pd.DataFrame, cell_id: object) -> str:
    """Why the memory of a load does not count."""
    if cell_id not in cells.index:
        return "its cell is not there or cannot be read"
    cell = cells.loc[str(cell_id)]
    return "" if cell["work_valid"] else f"INVALID: {cell['reasons']}"


def compared(frame: pd.DataFrame) -> str:
    """The count by which servers are compared: of the GPUs if there are any, else PSS, else RSS."""
    if frame["vram_bytes"].notna().any():  # a GPU that did not tell once leaves that block out
        return "vram_bytes"
    return "pss_bytes" if len(frame) and frame["pss_bytes"].notna().all() else "rss_bytes"


def memory_by_block(
    assessment: Assessment,
    frame: pd.DataFrame,
    arm: str,
    users: int,
    quantity: str | None = None,
    *,
    moment: str = "load",
    reading: str = "peak",
) -> Blocks:
    """What an arm took, block by block; by default the peak while that many users were served.

    Args:
        assessment: of the run.
        frame: of :func:`memory_frame`.
        arm: one of the run.
        users: of the load; 0 at the other moments.
        quantity: a count of bytes; None: that by which servers are compared.
        moment: ready, loaded or load.
        reading: now or peak.
    """
    quantity, found = quantity or compared(frame), Blocks()
    same = (frame["arm"] == arm) & (frame["users"] == users)
    mine = frame[same & (frame["moment"] == moment) & (frame["reading"] == reading)]
    planned = set(range(1, assessment.run.blocks + 1)) if arm in assessment.run.arms else set()
    for block in sorted(planned | set(mine["block"])):
        rows = mine[mine["block"] == block]
        if rows.empty:
            found.left_out[block] = "not measured"
            continue
        row = rows.iloc[0]
        if row["fault"]:
            found.left_out[block] = row["fault"]
            found.spoiled.add(block)
        elif pd.isna(row[quantity]):
            found.left_out[block] = "this system does not tell"
        else:
            found.values[block] = float(row[quantity])
            found.machines[block] = row["machine_id"]
            if row["starts"] > 1:
                found.restarted.add(block)
    return found


def memory_table(
    assessment: Assessment, frame: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """What each arm takes, by moment: geometric mean over blocks with Student's t interval.

    Args:
        assessment: of the run.
        frame: of :func:`memory_frame`.
        confidence: of the intervals.

    Returns:
        One row for each arm, moment, users, reading and quantity that the system tells: bytes, low,
        high, blocks, note.
    """
    rows = []
    seen = frame[["moment", "users", "reading"]].drop_duplicates()
    order = {"ready": 0, "loaded": 1, "load": 2}
    seen = seen.sort_values(["moment", "users"], key=lambda c: c.map(order).fillna(c))
    quantities = [name for name in QUANTITIES if frame[name].notna().any()]
    for arm in assessment.arms:
        for at in seen.itertuples(index=False):
            for quantity in quantities:
                found = memory_by_block(
                    assessment, frame, arm, at.users, quantity, moment=at.moment,
                    reading=at.reading,
                )  # fmt: skip
                value, low, high, note = _over(found, confidence)
                rows.append(
                    {"arm": arm, "label": assessment.label(arm), "moment": at.moment,
                     "users": at.users, "reading": at.reading, "quantity": quantity,
                     "blocks": len(found.values), "bytes": value, "low": low, "high": high,
                     "note": note}
                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _over(found: Blocks, confidence: float) -> tuple[float, float, float, str]:
    """Over blocks: on the log scale, or as it is where a value is not above 0."""
    values = list(found.values.values())
    if not values or min(values) > 0:
        return over_blocks(found, confidence)
    estimate = mean_t(values, confidence, least=-math.inf)
    return estimate.value, estimate.low, estimate.high, notes(estimate.note, say(found.left_out))
