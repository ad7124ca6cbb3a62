"""Counts of verdicts, and the article's decisions re-decided, as tables for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.tables.words import one_header


def tally(counts: pd.DataFrame) -> pd.DataFrame:
    """How many claims have which verdict.

    Args:
        counts: of ``claims.counts``.
    """
    names = {"by_run": "decided by measurements", "undone_by_holm": "of these, open after Holm"}
    shown = counts.rename(columns=names)
    return one_header(shown.rename_axis("kind"), "kind")


def decisions(table: pd.DataFrame) -> pd.DataFrame:
    """The article's decision table, beside what its claims came to; why is told with each claim.

    Args:
        table: of ``claims.decisions``.
    """
    names = {
        "article": "the article chooses",
        "claims": "since",
        "verdict": "which is",
        "measured": "measured here",
    }
    shown = table.drop(columns="why").rename(columns=names)
    return one_header(shown.set_index("when"), "when")


def verdicts(counts: pd.DataFrame) -> str:
    """All verdicts in one sentence.

    Args:
        counts: of ``claims.counts``.
    """
    total = counts.loc["all"]
    undone = total["undone_by_holm"]
    return (
        f"Of the article's {total['claims']} claims {total['reproduced']} are reproduced, "
        f"{total['refuted']} refuted and {total['inconclusive']} inconclusive; "
        + (
            f"{total['by_run']} are decided by measurements"
            if total["by_run"]
            else "none is by a measurement"
        )
        + (f", of which {undone} are open after Holm's correction." if undone else ".")
    )
