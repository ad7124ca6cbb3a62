"""Estimates as tables for a reader: rounded, with intervals and units, theirs beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from heavyweight.estimates import Assessment, ratio_table

NOTHING = "-"
ERRORS = ("ttft", "itl", "tpot", "e2e")
NOT_CALIBRATED = pd.DataFrame(
    {"the client's own error": ["not measured in this run"],
     "remedy": ["`heavyweight study run`, or execute notebooks/instrument.ipynb with this run"]},
    index=[""],
)  # fmt: skip
INSTRUMENT = "instrument error p99 (ms)"
LENGTHS = ["prompt_tokens", "output_tokens"]


def number(value: float) -> str:
    """A number as a reader wants it: three significant digits, no exponent."""
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


def by_length(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """A table's parts by the lengths of text: what each is called, and its rows.

    A study has one length, and then its part has no name; sessions by hand may have several.
    """
    lengths = table[LENGTHS].dropna().drop_duplicates().sort_values(LENGTHS)
    if len(lengths) < 2:
        return [("", table)]
    return [
        (f"{r.prompt_tokens} in, {r.output_tokens} out", table.merge(lengths.loc[[r.Index]]))
        for r in lengths.itertuples()
    ]


def main_length(assessment: Assessment, table: pd.DataFrame) -> pd.DataFrame:
    """The part of a table with the lengths of text that most cells of the run have."""
    counts = assessment.cells[LENGTHS].value_counts().sort_index(kind="stable")
    if len(counts) < 2:
        return table
    return table.merge(pd.DataFrame([counts.idxmax()], columns=LENGTHS).astype("Int64"))


def first_contrast(assessment: Assessment) -> str | None:
    """The contrast that is put first: the article's, A, where there is one."""
    names = sorted(assessment.run.contrasts)
    return names[0] if names else None


def contrast_label(assessment: Assessment, contrast: str) -> str:
    """A contrast in words: ``vLLM BF16 / Ollama Q4, 1 slot``."""
    return " / ".join(assessment.label(arm) for arm in assessment.run.contrasts[contrast])


def cells(assessment: Assessment) -> pd.DataFrame:
    """How many cells are VALID, of those planned, by users and arm."""
    found = assessment.cells
    planned = assessment.run.blocks
    columns = {}
    for arm in assessment.arms:
        mine = found[found["arm"] == arm].groupby("users")["valid"]
        columns[assessment.label(arm)] = (
            mine.sum().astype(int).map(lambda valid: f"{valid} of {planned} VALID")
        )
    table = pd.DataFrame(columns).sort_index()
    return _one_header(table.fillna(NOTHING), "users")


def failed_checks(assessment: Assessment) -> pd.DataFrame:
    """Each check that made a cell INVALID: what was found, and the remedy."""
    checks = assessment.checks
    failed = checks[~checks["passed"]].sort_values(["session", "users", "check"])
    if failed.empty:
        return pd.DataFrame({"failed checks": ["none"]}, index=[""])
    table = failed.set_index("session")[["users", "check", "kind", "detail", "remedy"]]
    return _one_header(table, "session")


def invalid(assessment: Assessment) -> str:
    """A sentence on the cells that do not count; empty if all do."""
    count = int((~assessment.cells["valid"]).sum())
    missing = len(assessment.missing)
    parts = [f"{count} of {len(assessment.cells)} measured cells failed a check"] * bool(count)
    parts += [f"{missing} planned cells were not measured"] * bool(missing)
    parts += [f"not readable: {problem}" for problem in assessment.problems]
    return "; ".join(parts) + ". They enter no number." if parts else ""


def throughput(table: pd.DataFrame) -> pd.DataFrame:
    """Total tok/s with interval, a row a load, a column an arm.

    Args:
        table: of ``estimates.throughput_table``.
    """
    shown = table.assign(
        shown=[interval(r.tok_s, r.low, r.high) for r in table.itertuples()],
        label=table["label"] + " (tok/s)",
    )
    return _wide(shown, "label", "shown", ["users"])


def ratios(assessment: Assessment, found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Ratios of all contrasts with their intervals, a row a contrast and load.

    Args:
        assessment: of a run.
        found: contrast: its table of ``estimates.ratio_table``.
    """
    rows = [
        {
            "contrast": contrast_label(assessment, name),
            "users": int(r.users),
            "tokens": length,
            "ratio": number(r.ratio),
            "95% interval": NOTHING if pd.isna(r.low) else f"{number(r.low)} to {number(r.high)}",
            "blocks": int(r.blocks),
            "note": "; ".join(filter(None, (r.note, r.blocks_left_out))),
        }
        for name, table in found.items()
        for length, part in by_length(table)
        for r in part.itertuples()
    ]
    columns = ["contrast", "users", "tokens", "ratio", "95% interval", "blocks", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.drop(columns=[name for name in ("tokens", "note") if not table[name].any()])
    return _one_header(table.set_index("contrast"), "contrast")


def latency(table: pd.DataFrame) -> pd.DataFrame:
    """Percentiles in ms with interval, over blocks; a row an arm and load.

    The last column is the client's own error at that load.

    Args:
        table: of ``estimates.latency_table``.
    """
    rows = _percentiles(table[table["scope"] == "blocks"])
    rows = rows.assign(**{INSTRUMENT: rows["instrument_p99_ms"].map(number)})
    wide = _wide(rows, "percentile", "shown", ["label", "users", INSTRUMENT])
    return wide[[*wide.columns.drop(INSTRUMENT), INSTRUMENT]]


def sessions(table: pd.DataFrame) -> pd.DataFrame:
    """Percentiles in ms of each session with its order-statistic interval, or what it needs.

    Args:
        table: of ``estimates.latency_table``.
    """
    rows = table[table["scope"] == "session"]
    return _wide(_percentiles(rows), "percentile", "shown", ["label", "users", "block", "n"])


def instrument(table: pd.DataFrame) -> pd.DataFrame:
    """The client's own error in ms, a row a setting and load: p99 of the absolute error, or mean.

    Args:
        table: of ``estimates.instrument_table``.
    """
    rows = table[table["setting"] != "saturation"]
    if rows.empty:
        return NOT_CALIBRATED.copy()
    shown = {"setting": rows["setting"], "load": rows.apply(load, axis=1)}
    shown |= {"requests": rows["requests"].map(str)}
    for name, title in (("lag", "sent late"), *((f"{q}_error", q.upper()) for q in ERRORS)):
        shown[f"{title} p99 (ms)"] = rows.apply(
            lambda r, n=name: interval(
                r[f"{n}_p99_ms"], r[f"{n}_p99_low_ms"], r[f"{n}_p99_high_ms"]
            ),
            axis=1,
        )
        if name != "lag":
            shown[f"{title} mean (ms)"] = rows[f"{name}_mean_ms"].map(number)
    shown["read by the server p99 (ms)"] = rows["read_p99_ms"].map(number)
    shown["tokens seen"] = rows["tokens_seen_fraction"].map("{:.2%}".format)
    return _one_header(pd.DataFrame(shown).set_index("setting"), "setting")


def instrument_cost(table: pd.DataFrame) -> pd.DataFrame:
    """What the client takes of the machine, a row a setting and load.

    Args:
        table: of ``estimates.instrument_table``.
    """
    if table.empty:
        return NOT_CALIBRATED.copy()
    shown = {
        "setting": table["setting"],
        "load": table.apply(load, axis=1),
        "events/s": table["events_per_s"].map(number),
        "client's CPU (cores)": table["client_cpu_share"].map(number),
        "CPU per event (µs)": table["client_cpu_us_per_event"].map(number),
        "client's memory (MB)": (table["client_rss_bytes"] / 1e6).map(number),
        "CPU of other programs (cores)": table["other_cpu_cores"].map(number),
    }
    return _one_header(pd.DataFrame(shown).set_index("setting"), "setting")


def load(row: pd.Series) -> str:
    """A load in words."""
    if row["loop"] == "open":
        return f"{row['rate_per_s']:g} requests/s"
    return f"{row['users']} user{'s' if row['users'] > 1 else ''}"


def answers(assessment: Assessment) -> tuple[str, list[str]]:
    """The first contrast in words: what is compared, and a line a load."""
    name = first_contrast(assessment)
    if name is None:
        return "", []
    above, below = (assessment.label(arm) for arm in assessment.run.contrasts[name])
    rows = main_length(assessment, ratio_table(assessment, name)).dropna(subset="ratio")
    lines = [
        f"{r.users} user{'s' if r.users > 1 else ''}: {number(r.ratio)} times"
        + (
            f" (95% interval {number(r.low)} to {number(r.high)}, {r.blocks} blocks)"
            if math.isfinite(r.low)
            else f" ({r.blocks} block{'s' if r.blocks > 1 else ''}: no interval)"
        )
        for r in rows.itertuples()
    ]
    return f"Tokens a second of {above}, as a multiple of those of {below}:", lines


def _percentiles(rows: pd.DataFrame) -> pd.DataFrame:
    """Percentiles as text: a number with its interval, or what it needs."""
    shown = [percentile(row) for _, row in rows.iterrows()]
    names = [f"p{percent:g} (ms)" for percent in rows["percentile"]]
    return rows.assign(shown=shown, percentile=names)


def percentile(row: pd.Series) -> str:
    """One percentile with its interval, or what it needs."""
    if not pd.isna(row["estimate_ms"]):
        shown = interval(row["estimate_ms"], row["low_ms"], row["high_ms"])
        alone = row["scope"] == "session" and "[" not in shown
        return shown + " (no interval)" * alone
    return "not estimable" + ("" if pd.isna(row["needs"]) else f": needs {row['needs']}")


def _wide(rows: pd.DataFrame, columns: str, values: str, keys: list[str]) -> pd.DataFrame:
    """A long table made wide, in the order in which its rows came; the first key is the index."""
    parts = by_length(rows)
    if len(parts) > 1:
        rows = pd.concat([part.assign(tokens=length) for length, part in parts])
        keys = [*keys, "tokens"]
    order = {name: pd.unique(rows[name].astype(object)) for name in (*keys, columns)}
    rows = rows.assign(**{n: pd.Categorical(rows[n], order[n], ordered=True) for n in order})
    wide = rows.pivot(index=keys, columns=columns, values=values).fillna(NOTHING)
    wide.columns = list(wide.columns)
    return _one_header(wide.reset_index().set_index(keys[0]), keys[0])


def _one_header(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with the name of its index in the row of the columns' names, not in one below."""
    names = {"label": "server"}
    index = pd.Index(table.index.astype(object))
    return table.set_axis(index).rename_axis(index=None, columns=names.get(name, name))
