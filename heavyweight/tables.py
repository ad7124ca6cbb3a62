"""Estimates as tables for a reader: rounded, with intervals and units, theirs beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from heavyweight.article import Article
from heavyweight.estimates import Assessment, ratio_table, throughput_table

NOTHING = "-"


def number(value: float) -> str:
    """A number as a reader wants it: three significant digits, no exponent."""
    if pd.isna(value):
        return NOTHING
    if math.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def printed(value: float) -> str:
    """A published number as it is printed there."""
    return f"{value:,g}"


def interval(value: float, low: float, high: float) -> str:
    """A number with its interval, where it has one: ``182 [176, 189]``."""
    if pd.isna(value) or pd.isna(low) or pd.isna(high):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


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
            "ratio": number(r.ratio),
            "95% interval": NOTHING if pd.isna(r.low) else f"{number(r.low)} to {number(r.high)}",
            "blocks": int(r.blocks),
            "note": "; ".join(filter(None, (r.note, r.blocks_left_out))),
        }
        for name, table in found.items()
        for r in table.itertuples()
    ]
    columns = ["contrast", "users", "ratio", "95% interval", "blocks", "note"]
    table = pd.DataFrame(rows, columns=columns)
    if not table["note"].any():
        table = table.drop(columns="note")
    return _one_header(table.set_index("contrast"), "contrast")


def latency(table: pd.DataFrame) -> pd.DataFrame:
    """Percentiles in ms with interval, over blocks; a row an arm and load.

    Args:
        table: of ``estimates.latency_table``.
    """
    rows = table[table["scope"] == "blocks"]
    return _wide(_percentiles(rows), "percentile", "shown", ["label", "users"])


def sessions(table: pd.DataFrame) -> pd.DataFrame:
    """Percentiles in ms of each session with its order-statistic interval, or what it needs.

    Args:
        table: of ``estimates.latency_table``.
    """
    rows = table[table["scope"] == "session"]
    return _wide(_percentiles(rows), "percentile", "shown", ["label", "users", "block", "n"])


def article_throughput(
    article: Article, assessment: Assessment, contrast: str | None = None
) -> pd.DataFrame:
    """The article's throughput table with ours beside it.

    Args:
        article: the published tables.
        assessment: of a run.
        contrast: vLLM's arm over Ollama's; the first by default.
    """
    name = contrast or first_contrast(assessment)
    if name is None:
        return pd.DataFrame({"": ["no contrast in this run"]})
    ours = throughput_table(assessment).set_index(["arm", "users"])
    ratios = ratio_table(assessment, name).set_index("users")
    vllm, ollama = assessment.run.contrasts[name]
    rows = {}
    for row in article.throughput:
        rows[row.users] = {
            ("vLLM (tok/s)", "published"): _published(row.vllm_tok_s, row.vllm_per_request_tok_s),
            ("vLLM (tok/s)", assessment.label(vllm)): _ours(ours, (vllm, row.users), "tok_s"),
            ("Ollama (tok/s)", "published"): _published(
                row.ollama_tok_s, row.ollama_per_request_tok_s
            ),
            ("Ollama (tok/s)", assessment.label(ollama)): _ours(ours, (ollama, row.users), "tok_s"),
            ("ratio", "published"): printed(row.advantage),
            ("ratio", "measured"): _ours(ratios, row.users, "ratio"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=["users", None])


def article_latency(
    article: Article,
    assessment: Assessment,
    latencies: Iterable[pd.DataFrame],
    contrast: str | None = None,
) -> pd.DataFrame:
    """The article's latency table with ours beside it, ms, and the ratio of the servers.

    Args:
        article: the published tables.
        assessment: of a run.
        latencies: of ``estimates.latency_table``, for ttft and e2e in this order.
        contrast: vLLM's arm over Ollama's; the first by default.
    """
    name = contrast or first_contrast(assessment)
    if name is None:
        return pd.DataFrame({"": ["no contrast in this run"]})
    arms = dict(zip(("vllm", "ollama"), assessment.run.contrasts[name], strict=True))
    by_quantity = {}
    for quantity, table in zip(("ttft", "e2e"), latencies, strict=True):
        rows = table[table["scope"] == "blocks"]
        by_quantity[quantity] = rows.set_index(["arm", "users", "percentile"])
    shown = {}
    for row in article.latency:
        place = (row.users, float(row.statistic.removeprefix("p")))
        column = f"{row.quantity}_{row.statistic}_ms"
        ratios = ratio_table(assessment, name, column).set_index("users")
        inverse = [1 / ratios.loc[row.users, c] for c in ("ratio", "high", "low")] if (
            row.users in ratios.index) else [math.nan] * 3  # fmt: skip
        shown[f"{row.title}, {row.users} users"] = {
            ("vLLM (ms)", "published"): printed(row.vllm_ms),
            ("vLLM (ms)", assessment.label(arms["vllm"])): _ours(
                by_quantity[row.quantity], (arms["vllm"], *place), "estimate_ms"
            ),
            ("Ollama (ms)", "published"): printed(row.ollama_ms),
            ("Ollama (ms)", assessment.label(arms["ollama"])): _ours(
                by_quantity[row.quantity], (arms["ollama"], *place), "estimate_ms"
            ),
            ("Ollama / vLLM", "published"): number(row.ollama_ms / row.vllm_ms),
            ("Ollama / vLLM", "measured"): interval(*inverse),
        }
    return pd.DataFrame.from_dict(shown, orient="index")


def answers(assessment: Assessment) -> tuple[str, list[str]]:
    """The first contrast in words: what is compared, and a line a load."""
    name = first_contrast(assessment)
    if name is None:
        return "", []
    above, below = (assessment.label(arm) for arm in assessment.run.contrasts[name])
    rows = ratio_table(assessment, name).dropna(subset="ratio")
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
    shown = [_percentile(row) for _, row in rows.iterrows()]
    names = [f"p{percent:g} (ms)" for percent in rows["percentile"]]
    return rows.assign(shown=shown, percentile=names)


def _percentile(row: pd.Series) -> str:
    """One percentile with its interval, or what it needs."""
    if not pd.isna(row["estimate_ms"]):
        shown = interval(row["estimate_ms"], row["low_ms"], row["high_ms"])
        alone = row["scope"] == "session" and "[" not in shown
        return shown + " (no interval)" * alone
    return "not estimable" + ("" if pd.isna(row["needs"]) else f": needs {row['needs']}")


def _wide(rows: pd.DataFrame, columns: str, values: str, keys: list[str]) -> pd.DataFrame:
    """A long table made wide, in the order in which its rows came; the first key is the index."""
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


def _published(total: float | None, per_request: float | None) -> str:
    """A published throughput: the total, or what stands there instead."""
    parts = [] if total is None else [printed(total)]
    parts += [] if per_request is None else [f"{printed(per_request)} per request"]
    return "; ".join(parts) or NOTHING


def _ours(table: pd.DataFrame, place: object, column: str) -> str:
    """Our number with its interval at a place of the article's; a dash where there is none."""
    if place not in table.index:
        return NOTHING
    row = table.loc[place]
    if column == "estimate_ms":
        return _percentile(row)
    return interval(row[column], row["low"], row["high"])
