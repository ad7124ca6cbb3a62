"""What slots give and cost, as tables for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.estimates import Assessment
from heavyweight.estimates.fairest import BEST
from heavyweight.estimates.slots import EVERY
from heavyweight.tables.curves import MEASURES
from heavyweight.tables.words import (
    NOTHING,
    by_length,
    interval,
    number,
    one_header,
    wide_table,
)
from heavyweight.text import count_of

COLUMNS = {
    "throughput_tok_s": ("tok/s", 1.0),
    "ttft_p50_ms": ("TTFT p50 (ms)", 1.0),
    "ttft_p95_ms": ("TTFT p95 (ms)", 1.0),
    "e2e_p50_ms": ("response p50 (ms)", 1.0),
    "e2e_p95_ms": ("response p95 (ms)", 1.0),
    "server_rss_bytes": ("memory (MB)", 1e-6),
}
NO_SLOTS = pd.DataFrame({"": ["no two arms of this run differ in their slots only"]}, index=[""])
NOT_MEASURED = pd.DataFrame({"": ["no VALID cell"]}, index=[""])


def slots(table: pd.DataFrame) -> pd.DataFrame:
    """Throughput, latency and memory with intervals, a row an arm and load.

    Args:
        table: of ``estimates.slots_table``.
    """
    rows = table.dropna(subset="output_tokens")
    if rows.empty:
        return NOT_MEASURED.copy()
    scale = rows["quantity"].map(lambda name: COLUMNS[name][1])
    scaled = rows[["value", "low", "high"]].mul(scale, axis=0)
    shown = rows.assign(
        shown=[interval(*ends) for ends in scaled.itertuples(index=False)],
        quantity=rows["quantity"].map(lambda name: COLUMNS[name][0]),
    )
    return wide_table(shown, "quantity", "shown", ["label", "users"])


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Throughput as a multiple of that with the fewest slots, a row an arm, a column a load.

    Args:
        table: of ``estimates.gain_table``.
    """
    if table.empty:
        return NO_SLOTS.copy()
    shown = table.assign(shown=[interval(r.gain, r.low, r.high) for r in table.itertuples()])
    return _by_users(shown, "multiple of the fewest slots")


def memory_per_slot(table: pd.DataFrame) -> pd.DataFrame:
    """MB that each added slot costs, a row an arm, a column a load; the last row is a line's slope.

    Args:
        table: of ``estimates.memory_per_slot_table``.
    """
    if table.empty:
        return NO_SLOTS.copy()
    shown = table.assign(
        shown=[
            interval(r.bytes_per_slot / 1e6, r.low / 1e6, r.high / 1e6) for r in table.itertuples()
        ]
    )
    line = shown["arm"] == EVERY
    shown = pd.concat([shown[~line], shown[line]])
    return _by_users(shown, "MB a slot")


def fairest(table: pd.DataFrame) -> pd.DataFrame:
    """A server against each configuration of the other, and against the best of them.

    Args:
        table: of ``estimates.fairest_table``.
    """
    if table["ratio"].isna().all():
        return NOT_MEASURED.copy()
    shown = table.dropna(subset="output_tokens")
    shown = shown.assign(shown=[interval(r.ratio, r.low, r.high) for r in shown.itertuples()])
    wide = _by_users(shown, "times the throughput of")
    chosen = [
        f"{_users(users)}: {', '.join(names)}"
        for users, names in shown[shown["chosen"] != ""].groupby("users")["chosen"]
    ]
    best = set(shown.loc[shown["arm"] == BEST, "label"])
    return wide.assign(chosen=["; ".join(chosen) * (label in best) for label in wide.index])


def contrasts(assessment: Assessment, table: pd.DataFrame) -> pd.DataFrame:
    """Ratios of named pairs of arms, a row a pair, measure and load.

    Args:
        assessment: of the run.
        table: of ``estimates.contrast_table``.
    """
    rows = [
        {
            "what is compared": r.contrast,
            "arms": f"{assessment.label(r.numerator)} / {assessment.label(r.denominator)}",
            "ratio of": MEASURES.get(r.quantity, r.quantity),
            "users": r.users,
            "tokens": length,
            "ratio": number(r.ratio),
            "95% interval": NOTHING if pd.isna(r.low) else f"{number(r.low)} to {number(r.high)}",
            "blocks": r.blocks,
            "note": "; ".join(filter(None, (r.note, r.blocks_left_out))),
        }
        for length, part in by_length(table)
        for r in part.itertuples()
    ]
    shown = pd.DataFrame(rows)
    shown = shown.drop(columns=[name for name in ("tokens", "note") if not shown[name].any()])
    return one_header(shown.set_index("what is compared"), "what is compared")


def _by_users(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """A row an arm, a column a load."""
    rows = rows.dropna(subset="output_tokens")
    named = rows.assign(users=rows["users"].map(_users))
    return wide_table(named, "users", "shown", ["label"]).rename_axis(columns=name)


def _users(count: int) -> str:
    return count_of(count, "user")
