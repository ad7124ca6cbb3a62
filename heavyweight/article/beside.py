"""The article's tables rebuilt, with what was measured beside what was published."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from heavyweight.article.tables import Article
from heavyweight.estimates import Assessment, ratio_table, throughput_table
from heavyweight.estimates.frames import WARM
from heavyweight.tables import NOTHING, first_contrast, interval, main_length, number, percentile

STARTS = {
    "restart to first token": "first_token_ms",
    "first request alone": "first_request_ttft_ms",
}


def throughput_beside(
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
    ours = main_length(assessment, throughput_table(assessment)).set_index(["arm", "users"])
    ratios = main_length(assessment, ratio_table(assessment, name)).set_index("users")
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


def latency_beside(
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
        rows = main_length(assessment, table[table["scope"] == "blocks"])
        by_quantity[quantity] = rows.set_index(["arm", "users", "percentile"])
    shown = {}
    for row in article.latency:
        place = (row.users, float(row.statistic.removeprefix("p")))
        column = f"{row.quantity}_{row.statistic}_ms"
        ratios = main_length(assessment, ratio_table(assessment, name, column)).set_index("users")
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


def cold_start_beside(
    article: Article, table: pd.DataFrame, ratios: pd.DataFrame, contrast: str = "A"
) -> pd.DataFrame:
    """The article's cold starts with ours beside them: the ordinary restart, model on disk.

    The article does not say what its seconds begin and end with, so both readings are shown: from
    the restart to the first token, and the first request alone.

    Args:
        article: the published table; of another machine and model.
        table: of ``estimates.coldstart_table``.
        ratios: of ``estimates.cold_ratio_table``.
        contrast: vLLM's arm over Ollama's.
    """
    warm = table[table["condition"] == WARM].set_index(["server", "quantity"])
    warm = warm[~warm.index.duplicated()]
    times = ratios[(ratios["contrast"] == contrast) & (ratios["condition"] == WARM)]
    times = times.set_index("quantity")
    published = article.cold_start
    rows = {
        "vLLM (s)": (published.vllm_s, "vllm"),
        "Ollama (s)": (published.ollama_s, "ollama"),
        "vLLM / Ollama": (published.vllm_s / published.ollama_s, None),
    }
    shown = {}
    for name, (value, server) in rows.items():
        shown[name] = {f"published ({article.article.setting.split(',')[0]})": number(value)}
        for words, quantity in STARTS.items():
            if server is None:
                shown[name][words] = _ours(times, quantity, "ratio")
            else:
                shown[name][words] = _seconds(warm, (server, quantity))
    return pd.DataFrame.from_dict(shown, orient="index")


def printed(value: float) -> str:
    """A published number as it is printed there."""
    return f"{value:,g}"


def _published(total: float | None, per_request: float | None) -> str:
    """A published throughput: the total, or what stands there instead."""
    parts = [] if total is None else [printed(total)]
    parts += [] if per_request is None else [f"{printed(per_request)} per request"]
    return "; ".join(parts) or NOTHING


def _seconds(table: pd.DataFrame, place: object) -> str:
    """Our number of ms as seconds, with its interval; a dash where there is none."""
    if place not in table.index:
        return NOTHING
    row = table.loc[place]
    return interval(*(row[name] / 1e3 for name in ("value_ms", "low_ms", "high_ms")))


def _ours(table: pd.DataFrame, place: object, column: str) -> str:
    """Our number with its interval at a place of the article's; a dash where there is none."""
    if place not in table.index:
        return NOTHING
    row = table.loc[place]
    if column == "estimate_ms":
        return percentile(row)
    return interval(row[column], row["low"], row["high"])
