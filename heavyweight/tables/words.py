"""Numbers, intervals and wide tables, the same everywhere."""

from __future__ import annotations

import math

import pandas as pd

from heavyweight.estimates import Assessment
from heavyweight.text import count_of

# A table for a reader is never cut: what it notes is the reason why a number is missing.
pd.set_option("display.max_colwidth", None)

NOTHING = "-"
LENGTHS = ["prompt_tokens", "output_tokens"]


def number(value: float) -> str:
    """A number as a reader wants it: three significant digits; an exponent below 0.0001."""
    if pd.isna(value):
        return NOTHING
    if math.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def interval(value: float, low: float, high: float) -> str:
    """A number with its interval, where it has one: ``182 [176, 189]``."""
    if pd.isna(value) or pd.isna(low) or pd.isna(high):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def times(ratio: float, low: float, high: float, blocks: int) -> str:
    """A ratio in words, with its interval or why it has none."""
    if pd.isna(low) or pd.isna(high):
        return f"{number(ratio)} times ({count_of(blocks, 'block')}: no interval)"
    return f"{number(ratio)} times (95% interval {number(low)} to {number(high)}, {blocks} blocks)"


def load_interval(
    value: float, low: float, high: float, loads: tuple[float, float] | None = None
) -> str:
    """A number of users with its interval, which may lie outside the loads that were measured.

    Args:
        value: 0: below the lowest load; infinity: above the highest.
        low: the same for the interval's lower end; NaN: there is none.
        high: the same for its upper end.
        loads: the lowest and the highest, if they are to be named.
    """
    first, last = ("the loads", "the loads") if loads is None else map("{:g}".format, loads)
    if pd.isna(value):
        return NOTHING
    shown = [
        f"below {first}" if end == 0 else f"above {last}" if math.isinf(end) else number(end)
        for end in (value, low, high)
    ]
    return shown[0] if pd.isna(low) or pd.isna(high) else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def by_length(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """A table's parts by the lengths of text: what each is called, and its rows.

    A study has one length, and then its part has no name; sessions by hand may have several. Where
    one is told and of imported cells at the same users none is, those are a part of their own.
    """
    lengths = table[LENGTHS].dropna().drop_duplicates().sort_values(LENGTHS)
    apart = table[_untold(table)]
    if len(lengths) < 2 and apart.empty:
        return [("", table)]
    parts = [
        (f"{r.prompt_tokens} in, {r.output_tokens} out", table.merge(lengths.loc[[r.Index]]))
        for r in lengths.itertuples()
    ]
    return [*parts, ("lengths not told", apart)] if len(apart) else parts


def _untold(table: pd.DataFrame) -> pd.Series:
    """Rows without lengths at users of whom others have them: imported ones beside told ones."""
    told = table[LENGTHS].notna().all(axis=1)
    return ~told & table["users"].isin(table.loc[told, "users"])


def main_length(assessment: Assessment, table: pd.DataFrame) -> pd.DataFrame:
    """The part of a table with the lengths of text that most cells of the run have."""
    counts = assessment.cells[LENGTHS].value_counts().sort_index(kind="stable")
    if len(counts) < 2:
        return table[~_untold(table)]
    return table.merge(pd.DataFrame([counts.idxmax()], columns=LENGTHS).astype("Int64"))


def first_contrast(assessment: Assessment) -> str | None:
    """The contrast that is put first: the article's, A, where there is one."""
    names = sorted(assessment.run.contrasts)
    return names[0] if names else None


def contrast_label(assessment: Assessment, contrast: str) -> str:
    """A contrast in words: ``vLLM BF16 / Ollama Q4, 1 slot``."""
    return " / ".join(assessment.label(arm) for arm in assessment.run.contrasts[contrast])


def percentile(row: pd.Series) -> str:
    """One percentile with its interval, or what it needs."""
    if not pd.isna(row["estimate_ms"]):
        shown = interval(row["estimate_ms"], row["low_ms"], row["high_ms"])
        alone = row["scope"] == "session" and "[" not in shown
        return shown + " (no interval)" * alone
    return "not estimable" + ("" if pd.isna(row["needs"]) else f": needs {row['needs']}")


def load_of(cell: pd.Series) -> str:
    """A cell's load in words: ``8 users, 64 in, 32 out``, or its rate."""
    lengths = f"{cell['prompt_tokens']} in, {cell['output_tokens']} out"
    if pd.isna(cell["prompt_tokens"]) or pd.isna(cell["output_tokens"]):
        lengths = "lengths not told"
    if cell["users"]:
        return f"{count_of(cell['users'], 'user')}, {lengths}"
    return f"{cell['rate_per_s']:.3g} requests/s, {lengths}"


def wide_table(rows: pd.DataFrame, columns: str, values: str, keys: list[str]) -> pd.DataFrame:
    """A long table made wide, in the order in which its rows came; the first key is the index."""
    parts = by_length(rows)
    if len(parts) > 1:
        rows = pd.concat([part.assign(tokens=length) for length, part in parts])
        keys = [*keys, "tokens"]
    order = {name: pd.unique(rows[name].astype(object)) for name in (*keys, columns)}
    rows = rows.assign(**{n: pd.Categorical(rows[n], order[n], ordered=True) for n in order})
    wide = rows.pivot(index=keys, columns=columns, values=values).fillna(NOTHING)
    wide.columns = list(wide.columns)
    return one_header(wide.reset_index().set_index(keys[0]), keys[0])


def one_header(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with the name of its index in the row of the columns' names, not in one below."""
    names = {"label": "server"}
    index = pd.Index(table.index.astype(object))
    return table.set_axis(index).rename_axis(index=None, columns=names.get(name, name))
