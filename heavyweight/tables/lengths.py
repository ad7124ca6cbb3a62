"""Where a ratio moves with the lengths of prompts and answers, as tables for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.tables.curves import MEASURES
from heavyweight.tables.words import NOTHING, interval, one_header

TERMS = {"prompt_tokens": "a prompt twice as long", "output_tokens": "an answer twice as long"}
NOT_MEASURED = pd.DataFrame({"": ["no VALID cell"]}, index=[""])


def lengths(table: pd.DataFrame) -> pd.DataFrame:
    """A contrast's ratios with intervals, a row a pair of lengths, a column a measure.

    Args:
        table: of ``estimates.lengths_table``.
    """
    return _wide(table, table["quantity"].map(lambda name: MEASURES.get(name, name)), "ratio")


def length_times(table: pd.DataFrame) -> pd.DataFrame:
    """TTFT, TPOT and throughput with intervals, a row a pair of lengths, two columns a server.

    Args:
        table: of ``estimates.length_times_table``.
    """
    short = {"ttft_p50_ms": "TTFT (ms)", "tpot_p50_ms": "TPOT (ms)", "throughput_tok_s": "tok/s"}
    return _wide(table, table["label"] + ", " + table["quantity"].map(short), "value")


def moves(table: pd.DataFrame) -> pd.DataFrame:
    """By how much each ratio changes where lengths double, a row a measure.

    Args:
        table: of ``estimates.moves_table``.
    """
    if table.empty:
        return NOT_MEASURED.copy()
    rows = []
    for (quantity, users), mine in table.groupby(["quantity", "users"], sort=False):
        row: dict[str, object] = {
            "ratio of": MEASURES.get(str(quantity), quantity),
            "users": users,
            "blocks": mine["blocks"].iloc[0],
        }
        for r in mine.itertuples():
            row[TERMS[r.term]] = _factor(r.factor, r.low, r.high, r.moves)
        off = mine["residual"].iloc[0]
        row["ratios are off by"] = NOTHING if pd.isna(off) else f"up to {off:.0%}"
        row["note"] = "; ".join(dict.fromkeys(note for note in mine["note"] if note))
        rows.append(row)
    return one_header(pd.DataFrame(rows).set_index("ratio of"), "ratio of")


def speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Tokens a second that each server reads and writes, over all users, a row a server.

    Args:
        table: of ``estimates.speeds_table``.
    """
    if table.empty:
        return NOT_MEASURED.copy()
    names = {"prompt_tokens": "reads (tok/s)", "output_tokens": "writes (tok/s)"}
    rows = []
    for (label, users), mine in table.groupby(["label", "users"], sort=False):
        row: dict[str, object] = {"server": label, "users": users}
        for r in mine.itertuples():
            row[names[r.rate]] = interval(r.tok_s, r.low, r.high)
        off = mine["residual"].iloc[0]
        row["times are off by"] = NOTHING if pd.isna(off) else f"up to {off:.0%}"
        row["blocks"] = mine["blocks"].min()
        row["note"] = "; ".join(dict.fromkeys(note for note in mine["note"] if note))
        rows.append(row)
    return one_header(pd.DataFrame(rows).set_index("server"), "server")


def _factor(value: float, low: float, high: float, is_moved: object) -> str:
    """A factor with its interval, and whether it is one."""
    if pd.isna(value):
        return NOTHING
    shown = f"x {value:.3f}"
    if pd.isna(low):
        return f"{shown} (no interval)"
    return f"{shown} [{low:.3f}, {high:.3f}]" + ("" if is_moved else ": not told from no change")


def _wide(table: pd.DataFrame, columns: pd.Series, value: str) -> pd.DataFrame:
    """A row a load with its lengths, a column each of what is told."""
    rows = table.assign(column=columns).dropna(subset="output_tokens")
    if rows.empty:
        return NOT_MEASURED.copy()
    rows = rows.assign(
        shown=[
            interval(v, low, high)
            for v, low, high in zip(rows[value], rows["low"], rows["high"], strict=True)
        ]
    )
    keys = ["prompt_tokens", "output_tokens", "users"]
    order = list(dict.fromkeys(rows["column"]))
    wide = rows.pivot(index=keys, columns="column", values="shown")[order].fillna(NOTHING)
    wide.columns = list(wide.columns)
    wide = wide.reset_index().rename(
        columns={"prompt_tokens": "tokens in", "output_tokens": "tokens out"}
    )
    if wide["users"].nunique() == 1:
        wide = wide.drop(columns="users")
    return one_header(wide.set_index("tokens in"), "tokens in")
