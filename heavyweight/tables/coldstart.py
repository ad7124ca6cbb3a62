"""Cold starts as tables for a reader: seconds, where they went, and ratios."""

from __future__ import annotations

import pandas as pd

from heavyweight.estimates.coldstart import in_order
from heavyweight.tables.words import NOTHING, interval, number, one_header

WORDS = {
    "ready_ms": "ready",
    "first_token_ms": "first token",
    "full_speed_ms": "full speed",
    "first_request_ttft_ms": "first request alone",
}
DROPPED = {
    "drop_caches": "the whole page cache (drop_caches)",
    "fadvise": "the pages of its files (posix_fadvise)",
    "": "nothing",
}
COMPILED = {"warm": "filled", "cold": "empty", "eager": "not used", "none": "has none"}
NONE = pd.DataFrame({"": ["no finished start"]}, index=[""])


def coldstart(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds from the spawn, with interval over blocks; a row an arm and condition.

    Args:
        table: of ``estimates.coldstart_table``.
    """
    if table.empty:
        return NONE.copy()
    rows = []
    for (label, condition), mine in table.groupby(["label", "condition"], sort=False):
        known = mine.set_index("quantity")
        row: dict[str, object] = {"server": label, "condition": condition}
        for quantity, words in WORDS.items():
            row[f"{words} (s)"] = _seconds(known.loc[quantity])
        row["blocks"] = int(known.loc["first_token_ms", "blocks"])
        row["note"] = _told({words: known.loc[name, "note"] for name, words in WORDS.items()})
        rows.append(row)
    shown = pd.DataFrame(rows).set_index("server")
    return one_header(shown if shown["note"].any() else shown.drop(columns="note"), "server")


def begun_with(starts: pd.DataFrame) -> pd.DataFrame:
    """With what the starts began, and what shows that it was so; a row an arm and condition.

    Args:
        starts: of ``estimates.cold_starts``.
    """
    if starts.empty:
        return NONE.copy()
    rows = []
    for (label, condition), mine in starts.groupby(["label", "condition"], sort=False):
        rows.append(
            {
                "server": label,
                "condition": condition,
                "dropped before": ", ".join(DROPPED.get(d, d) for d in mine["dropped"].unique()),
                "read from the disk (MB)": _range(mine["disk_read_bytes"] / 1e6),
                "compile cache": ", ".join(COMPILED.get(c, c) for c in mine["compiled"].unique()),
                "what its log says of the compile cache": "; ".join(
                    filter(None, mine["cache_said"].unique())
                )
                or NOTHING,
            }
        )
    return one_header(pd.DataFrame(rows).set_index("server"), "server")


def phases(table: pd.DataFrame) -> pd.DataFrame:
    """Where the seconds to the first token went; a row an arm and condition, a column a part.

    Args:
        table: of ``estimates.coldstart_table``.
    """
    parts = table[table["share"].notna()]
    if parts.empty:
        return NONE.copy()
    keys = ["label", "condition"]
    order = in_order(list(mine) for _, mine in parts.groupby(keys, sort=False)["quantity"])
    rows = []
    for (label, condition), mine in parts.groupby(keys, sort=False):
        known = mine.set_index("quantity")
        row = {"server": label, "condition": condition}
        for part in order:
            row[f"{part} (s)"] = (
                f"{_seconds(known.loc[part])}, {known.loc[part, 'share']:.0%}"
                if part in known.index
                else NOTHING
            )
        rows.append(row)
    return one_header(pd.DataFrame(rows).set_index("server"), "server")


def cold_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """How many times as long; a row a pair of starts, a column a quantity.

    Args:
        table: of ``estimates.cold_ratio_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["no two starts to compare"]}, index=[""])
    rows = []
    keys = ["contrast", "numerator", "denominator", "condition"]
    for (_, above, below, condition), mine in table.groupby(keys, sort=False):
        pair = above if above == below else f"{above} / {below}"
        row = {"what": pair, "condition": condition}
        for r in mine.itertuples():
            row[WORDS[r.quantity]] = interval(r.ratio, r.low, r.high)
        row["blocks"] = mine["blocks"].max()
        rows.append(row)
    return one_header(pd.DataFrame(rows).set_index("what"), "what")


def _seconds(row: pd.Series) -> str:
    """ms as seconds with their interval."""
    return interval(*(row[name] / 1e3 for name in ("value_ms", "low_ms", "high_ms")))


def _told(notes: dict[str, str]) -> str:
    """Notes of several quantities, each once, with the quantities that it is on if not all."""
    on: dict[str, list[str]] = {}
    for words, note in notes.items():
        if note:
            on.setdefault(note, []).append(words)
    return "; ".join(
        note if len(words) == len(notes) else f"{', '.join(words)}: {note}"
        for note, words in on.items()
    )


def _range(values: pd.Series) -> str:
    """The least and the most of a few numbers."""
    known = values.dropna()
    if known.empty:
        return NOTHING
    low, high = number(known.min()), number(known.max())
    return low if low == high else f"{low} to {high}"
