"""Memory and KV cache as tables for a reader: MB (10^6 bytes) and tokens, with intervals."""

from __future__ import annotations

import math

import pandas as pd

from heavyweight.estimates import Assessment
from heavyweight.tables.words import NOTHING, interval, number, one_header
from heavyweight.text import count_of

MB = 1e6
COUNTS = {
    "vram_bytes": "GPU memory",
    "pss_bytes": "memory (PSS)",
    "rss_bytes": "resident (RSS)",
    "private_bytes": "private",
    "anonymous_bytes": "anonymous",
    "file_bytes": "of files",
    "shmem_bytes": "shared memory",
    "highest_rss_bytes": "highest RSS",
}
"""Count of bytes: how it is called."""
CACHE = {
    "reserved_tokens": "reserved (tokens)",
    "assigned_tokens": "assigned",
    "used_tokens": "used",
    "wasted_share": "wasted of the assigned",
    "unused_share": "unused of the reserved",
    "wasted_tokens_per_sequence": "wasted a sequence (tokens)",
}
EMPTY = pd.DataFrame({"": ["no memory was looked at"]}, index=[""])


def memory(table: pd.DataFrame) -> pd.DataFrame:
    """What each server takes at each moment, MB: a row a server and moment, a column a count.

    Args:
        table: of ``estimates.memory_table``.
    """
    # Besides a load's peak what is left at its end says nothing new.
    rows = table[(table["moment"] != "load") | (table["reading"] == "peak")]
    if rows.empty:
        return EMPTY.copy()
    shown = []
    for (label, moment, users), mine in rows.groupby(["label", "moment", "users"], sort=False):
        by_name = mine.set_index("quantity")
        counts = {
            f"{COUNTS[name]} (MB)": mb(*by_name.loc[name, ["bytes", "low", "high"]])
            for name in COUNTS
            if name in by_name.index
        }
        shown.append(
            {"server": label, "moment": _moment(moment, users), **counts,
             "note": "; ".join(dict.fromkeys(filter(None, mine["note"])))}
        )  # fmt: skip
    return one_header(pd.DataFrame(shown).set_index("server"), "server")


def _moment(moment: str, users: int) -> str:
    if moment == "load":
        return f"peak, {count_of(users, 'user')}"
    return {"ready": "ready, no token yet", "loaded": "after the first token"}[moment]


def mb(value: float, low: float, high: float) -> str:
    """Bytes in MB, with their interval where they have one."""
    return _spread(value / MB, low / MB, high / MB)


def _spread(value: float, low: float, high: float) -> str:
    """A number with its interval; what is the same in every block has none to show."""
    return number(value) if low == high else interval(value, low, high)


def memory_parts(table: pd.DataFrame) -> pd.DataFrame:
    """Of what the peak at the highest load consists, MB: a row a server, a column a part.

    Args:
        table: of ``estimates.breakdown_table``.
    """
    if table.empty:
        return EMPTY.copy()
    shown = table.assign(
        shown=[_signed(r.bytes, r.low, r.high) for r in table.itertuples()],
        part=table["part"] + " (MB)",
    )
    order = {name: list(dict.fromkeys(shown[name])) for name in ("label", "part")}
    wide = shown.pivot(index="label", columns="part", values="shown")
    wide = wide.loc[order["label"], order["part"]].rename_axis(columns=None)
    said = table.groupby("label", sort=False)["note"].agg(
        lambda of: "; ".join(dict.fromkeys(filter(None, of)))
    )
    return one_header(wide.assign(note=said), "server")


def _signed(value: float, low: float, high: float) -> str:
    """A part, which may be below zero."""
    if pd.isna(value):
        return NOTHING
    shown = [f"{end / MB:,.0f}" for end in (value, low, high) if not math.isnan(end)]
    exact = len(shown) < 3 or low == high
    return shown[0] if exact else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def memory_ratios(assessment: Assessment, table: pd.DataFrame) -> pd.DataFrame:
    """How much more the one server of a contrast takes than the other.

    Args:
        assessment: of the run.
        table: of ``estimates.memory_ratio_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["this run compares no two servers"]}, index=[""])
    rows = [
        {
            "contrast": _pair(assessment, r),
            "users": r.users,
            "count": COUNTS[r.quantity],
            "ratio [95%]": interval(r.ratio, r.low, r.high),
            "blocks": r.blocks,
            "note": r.note,
        }
        for r in table.itertuples()
    ]
    return one_header(pd.DataFrame(rows).set_index("contrast"), "contrast")


def memory_slots(assessment: Assessment, table: pd.DataFrame) -> pd.DataFrame:
    """What more slots cost Ollama, in all and a slot.

    Args:
        assessment: of the run.
        table: of ``estimates.memory_slots_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["no two arms differ in slots alone"]}, index=[""])
    rows = [
        {
            "more slots": _pair(assessment, r),
            "users": r.users,
            "count": COUNTS[r.quantity],
            "ratio [95%]": interval(r.ratio, r.low, r.high),
            "MB a slot [95%]": mb(r.slot_bytes, r.slot_low, r.slot_high),
            "KV cache of its context (MB)": number(r.slot_kv_bytes / MB),
            "blocks": r.blocks,
            "note": r.note,
        }
        for r in table.itertuples()
    ]
    return one_header(pd.DataFrame(rows).set_index("more slots"), "more slots")


def _pair(assessment: Assessment, row: object) -> str:
    arms = (row.numerator, row.denominator)  # type: ignore[attr-defined]
    return " / ".join(assessment.label(arm) for arm in arms)


def memory_physics(table: pd.DataFrame) -> pd.DataFrame:
    """What each server says to have of weights and KV cache, beside what physics computes.

    Args:
        table: of ``estimates.memory_physics_table``.
    """
    if table.empty:
        return EMPTY.copy()
    shown = pd.DataFrame(
        {
            "server": table["label"],
            "weights, files (MB)": (table["weights_bytes"] / MB).map(number),
            "weights, parameters x bits (MB)": (table["weights_physics_bytes"] / MB).map(number),
            "KV cache (tokens)": table["kv_reserved_tokens"].map(number),
            "KV cache as told (MB)": (table["kv_told_bytes"] / MB).map(number),
            "KV cache by physics (MB)": (table["kv_physics_bytes"] / MB).map(number),
        }
    )
    return one_header(shown.set_index("server"), "server")


def kv_cache(table: pd.DataFrame) -> pd.DataFrame:
    """KV cache that is reserved, assigned and used by equal streams, a row a server.

    Args:
        table: of ``estimates.kv_cache_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["the KV cache was not looked into"]}, index=[""])
    rows = []
    for label, mine in table.groupby("label", sort=False):
        one = mine.iloc[0]
        by_name = mine.set_index("quantity")
        block = (
            "a part for each slot" if pd.isna(one["block_tokens"]) else number(one["block_tokens"])
        )
        rows.append(
            {
                "server": label,
                "streams": NOTHING if pd.isna(one["sequences"]) else f"{one['sequences']:.0f}",
                "assigned in (tokens)": block if one["blocks"] else NOTHING,
                **{
                    called: _cached(name, *by_name.loc[name, ["value", "low", "high"]])
                    for name, called in CACHE.items()
                },
                "most wasted a sequence": number(one["most_wasted_per_sequence"]),
                "assigned when idle": number(one["idle_tokens"]),
                "note": "; ".join(dict.fromkeys(filter(None, mine["note"]))),
            }
        )
    return one_header(pd.DataFrame(rows).set_index("server"), "server")


def _cached(name: str, value: float, low: float, high: float) -> str:
    if not name.endswith("_share") or pd.isna(value):
        return _spread(value, low, high)
    exact = pd.isna(low) or low == high
    return f"{value:.1%}" + ("" if exact else f" [{low:.1%}, {high:.1%}]")


def kv_waste(assessment: Assessment, table: pd.DataFrame) -> pd.DataFrame:
    """How much of what it assigns the one server of a contrast wastes, against the other.

    Args:
        assessment: of the run.
        table: of ``estimates.kv_waste_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["this run compares no two servers"]}, index=[""])
    rows = [
        {
            "wasted shares": _pair(assessment, r),
            "ratio [95%]": _spread(r.ratio, r.low, r.high),
            "most wasted a sequence, by the first (its blocks)": number(r.most_wasted_blocks),
            "blocks of the study": r.blocks,
            "note": r.note,
        }
        for r in table.itertuples()
    ]
    return one_header(pd.DataFrame(rows).set_index("wasted shares"), "wasted shares")


def vram_held(table: pd.DataFrame, memory_bytes: float) -> pd.DataFrame:
    """The article's VRAM table: what of it is weights alone, and what a machine can hold.

    Args:
        table: of ``audit.held``.
        memory_bytes: of the machine.
    """
    here = f"fits {memory_bytes / 2**30:.0f} GiB"
    shown = pd.DataFrame(
        {
            "row": table["row"],
            "model": table["model"],
            "FP16, published (GB)": table["fp16_gb"].map("{:g}".format),
            "of it weights alone": table["fp16_share"].map("{:.0%}".format),
            f"{here} at 16 bits": table["fp16_held"].map({True: "yes", False: "no"}),
            "Q4, published from (GB)": table["q4_gb"].map("{:g}".format),
            "of it 4-bit weights": table["q4_share"].map("{:.0%}".format),
            f"{here} at 4 bits": table["q4_held"].map({True: "yes", False: "no"}),
        }
    )
    return one_header(shown.set_index("row"), "row")
