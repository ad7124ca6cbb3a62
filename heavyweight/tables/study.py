"""Cells, throughput, ratios and latencies as tables for a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from heavyweight.estimates import Assessment, ratio_table
from heavyweight.tables.words import (
    LENGTHS,
    NOTHING,
    by_length,
    contrast_label,
    first_contrast,
    interval,
    main_length,
    number,
    one_header,
    percentile,
    times,
    wide_table,
)
from heavyweight.text import count_of

INSTRUMENT = "instrument error p99 (ms)"
NO_RATIO = "no ratio (in no block were both measured and passed their checks)"


def cells(assessment: Assessment) -> pd.DataFrame:
    """How many cells are VALID, of those planned, of all lengths, by users and arm."""
    found = assessment.cells
    planned = assessment.run.blocks * max(len(assessment.run.lengths), 1)
    columns = {}
    word = "failed no check" if assessment.run.imported else "VALID"
    for arm in assessment.arms:
        mine = found[found["arm"] == arm].groupby("users")["valid"]
        columns[assessment.label(arm)] = (
            mine.sum().astype(int).map(lambda valid: f"{valid} of {planned} {word}")
        )
    table = pd.DataFrame(columns).sort_index()
    return one_header(table.fillna(NOTHING), "users")


def failed_checks(assessment: Assessment) -> pd.DataFrame:
    """Each check that made a cell INVALID: what was found, and the remedy."""
    checks = assessment.checks
    failed = checks[~checks["passed"]].sort_values(["session", "users", "check"])
    if failed.empty:
        return pd.DataFrame({"failed checks": ["none"]}, index=[""])
    lengths = LENGTHS if len(checks[LENGTHS].drop_duplicates()) > 1 else []
    columns = ["users", *lengths, "check", "kind", "detail", "remedy"]
    for name in lengths:
        failed[name] = failed[name].astype(object).where(failed[name].notna(), "not told")
    table = failed.set_index("session")[columns]
    return one_header(table, "session")


def invalid(assessment: Assessment) -> str:
    """A sentence on the cells that do not count; empty if all do."""
    count = int((~assessment.cells["valid"]).sum())
    missing = len(assessment.missing)
    parts = [f"{count} of {len(assessment.cells)} measured cells failed a check"] * bool(count)
    parts += [f"{missing} planned cells were not measured"] * bool(missing)
    parts += [f"not readable: {problem}" for problem in assessment.problems]
    return "; ".join(parts) + ". They enter no number." if parts else ""


def failures(assessment: Assessment) -> str:
    """A sentence on requests that failed and on servers that died, hung or were open to others;
    empty if there is nothing to tell."""
    cells, sessions = assessment.cells, assessment.sessions
    failed = cells[cells["errors"] > 0]
    parts = []
    if len(failed):
        errors = pd.concat([assessment.requests(cell_id)["error"] for cell_id in failed["cell_id"]])
        kinds = ", ".join(f"{kind}: {count}" for kind, count in errors.value_counts().items())
        parts.append(f"{count_of(failed['errors'].sum(), 'request')} failed ({kinds}), "
                     f"in {len(failed)} of {len(cells)} cells")  # fmt: skip
    for column, what in (("deaths", "died"), ("hangs", "hung")):
        broken = sessions[sessions[column].fillna(0) > 0]
        if len(broken):
            parts.append(f"a server {what} {count_of(broken[column].sum(), 'time')}, "
                         f"in {len(broken)} of {len(sessions)} sessions")  # fmt: skip
    reached = sessions[sessions["open_ports"] != ""]
    if len(reached):
        ports = ", ".join(dict.fromkeys(reached["open_ports"]))
        parts.append(f"a server listened where other machines may reach it (port {ports}), "
                     f"in {len(reached)} of {len(sessions)} sessions")  # fmt: skip
    unfinished = int((~sessions["complete"].astype(bool)).sum())
    if unfinished:
        parts.append(f"{count_of(unfinished, 'session')} did not come to an end")
    return "; ".join(parts) + "." if parts else ""


def throughput(table: pd.DataFrame) -> pd.DataFrame:
    """Total tok/s with interval, a row a load, a column an arm.

    Args:
        table: of ``estimates.throughput_table``.
    """
    shown = table.assign(
        shown=[interval(r.tok_s, r.low, r.high) for r in table.itertuples()],
        label=table["label"] + " (tok/s)",
    )
    return wide_table(shown, "label", "shown", ["users"])


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
    return one_header(table.set_index("contrast"), "contrast")


def latency(table: pd.DataFrame) -> pd.DataFrame:
    """Percentiles in ms with interval, over blocks; a row an arm and load.

    The last column is the client's own error at that load.

    Args:
        table: of ``estimates.latency_table``.
    """
    rows = _percentiles(table[table["scope"] == "blocks"])
    rows = rows.assign(**{INSTRUMENT: rows["instrument_p99_ms"].map(number)})
    wide = wide_table(rows, "percentile", "shown", ["label", "users", INSTRUMENT])
    return wide[[*wide.columns.drop(INSTRUMENT), INSTRUMENT]]


def sessions(table: pd.DataFrame) -> pd.DataFrame:
    """Percentiles in ms of each session with its order-statistic interval, or what it needs.

    Args:
        table: of ``estimates.latency_table``.
    """
    rows = table[table["scope"] == "session"]
    return wide_table(_percentiles(rows), "percentile", "shown", ["label", "users", "block", "n"])


def answers(assessment: Assessment) -> tuple[str, list[str]]:
    """The first contrast in words: what is compared, and a line a load.

    Of a run that was planned with several lengths, a line for each of them. A load without a ratio
    has its line, too: nobody should take it for one that was not asked.
    """
    name = first_contrast(assessment)
    if name is None:
        return "", []
    above, below = (assessment.label(arm) for arm in assessment.run.contrasts[name])
    table = ratio_table(assessment, name)
    if len(assessment.run.lengths) < 2:
        table = main_length(assessment, table)
    lines = [
        f"{count_of(r.users, 'user')}{length and ', '}{length}: "
        f"{NO_RATIO if pd.isna(r.ratio) else times(r.ratio, r.low, r.high, r.blocks)}"
        for length, rows in by_length(table)
        for r in rows.itertuples()
    ]
    return f"Tokens a second of {above}, as a multiple of those of {below}:", lines


def advice(assessment: Assessment) -> str:
    """Which arm of the first contrast gives more tokens a second, at how many users; one sentence.

    An arm is named where the 95% interval of the ratio leaves out 1. Empty where nothing may follow
    from the run: its servers were emulated, another tool measured it, or lengths differ.
    """
    name, run = first_contrast(assessment), assessment.run
    if name is None or run.emulated or run.imported or len(run.lengths) > 1:
        return ""
    arms = [assessment.label(arm) for arm in run.contrasts[name]]
    ahead: dict[str, list[str]] = {arm: [] for arm in arms}
    open_at: list[str] = []
    without: list[str] = []
    for r in main_length(assessment, ratio_table(assessment, name)).itertuples():
        found = arms[0] if r.low > 1 else arms[1] if r.high < 1 else None
        kind = ahead[found] if found else without if pd.isna(r.ratio) else open_at
        kind.append(str(r.users))
    parts = [f"{arm} at {_users(users)}" for arm, users in ahead.items() if users]
    if open_at:
        parts.append(f"this run cannot tell which at {_users(open_at)}")
    if without:
        parts.append(f"no ratio at {_users(without)}")
    return f"For more tokens a second on this machine: {'; '.join(parts)}." if parts else ""


def _users(counts: Sequence[str]) -> str:
    *most, last = counts
    several = f"{', '.join(most)} and {last}" if most else last
    return f"{several} user{'s' if counts != ['1'] else ''}"


def _percentiles(rows: pd.DataFrame) -> pd.DataFrame:
    """Percentiles as text: a number with its interval, or what it needs."""
    shown = [percentile(row) for _, row in rows.iterrows()]
    names = [f"p{percent:g} (ms)" for percent in rows["percentile"]]
    return rows.assign(shown=shown, percentile=names)
