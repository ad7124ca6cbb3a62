"""Verdicts as tables: one row a claim, counts by kind, and the article's decisions re-decided."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from heavyweight.article.claim import ANSWERS, Claim, Published
from heavyweight.article.tables import Article
from heavyweight.claims.holding import told
from heavyweight.claims.verdict import Verdict
from heavyweight.tables import NOTHING, interval, load_interval

COLUMNS = (
    "id", "place", "claim", "kind", "published", "measured", "verdict", "after_holm", "widened",
    "why", "judged_by", "runs", "rule", "rule_date", "older_than_data", "earlier",
)  # fmt: skip

DECIDED_BY = {
    "one user, local": ("E1", "D3"),
    "macOS or Apple silicon": ("D6a",),
    "Windows": ("D6b",),
    "running in under 5 minutes": ("D4",),
    "5 or more concurrent users": ("D1",),
    "a production API with a service level agreement": ("D2",),
    "an endpoint for a team": ("D2",),
    "tensor parallelism": ("T1", "T2"),
    "control of VRAM, or FP8": ("D7",),
    "offline": ("D5",),
}
"""Row of the article's decision table: the claims of the ledger that it rests on."""


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a claim.

    Args:
        verdicts: of ``judge``.

    Returns:
        id, place, claim, kind (of its rules), published, measured (with the interval), verdict,
        after_holm (the same after the correction), widened (the intervals at the confidence that
        the correction leaves them), why, judged_by (what would judge it; empty
        where it is judged), runs (that had something to
        say on it), rule (version of the ledger), rule_date, older_than_data, earlier (the
        verdicts by rules that it had before, with the reason of the change).
    """
    rows = [
        {
            "id": v.claim.id,
            "place": v.claim.place,
            "claim": v.claim.claim,
            "kind": ", ".join(v.claim.kinds),
            "published": published(v.claim),
            "measured": measured(v),
            "verdict": v.answer,
            "after_holm": v.adjusted,
            "widened": widened(v),
            "why": v.why,
            "judged_by": v.judged_by,
            "runs": ", ".join(v.runs),
            "rule": v.version,
            "rule_date": v.rule_date,
            "older_than_data": v.older_than_data,
            "earlier": "; ".join(
                f"by the rules up to version {up_to}: {answer} ({reason})"
                for up_to, reason, answer in v.earlier
            ),
        }
        for v in verdicts
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def counts(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """How many claims have which verdict, by the kind of rule that decided, or the first.

    Args:
        verdicts: of ``judge``.

    Returns:
        A row a kind and one of all; columns reproduced, refuted, inconclusive, claims, by_run
        (decided by numbers of the run), and undone_by_holm (decided, but not after the correction).
    """
    kinds = list(dict.fromkeys(v.kind for v in verdicts))
    rows: dict[str, dict[str, int]] = {}
    for kind in [*kinds, "all"]:
        mine = [v for v in verdicts if kind in ("all", v.kind)]
        rows[kind] = {
            **{answer: sum(v.answer == answer for v in mine) for answer in ANSWERS},
            "claims": len(mine),
            "by_run": sum(
                v.answer != "inconclusive" and v.older_than_data is not None for v in mine
            ),
            "undone_by_holm": sum(v.answer != v.adjusted for v in mine),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def decisions(article: Article, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The article's decision table with what the claims behind each row came to.

    Args:
        article: its published tables.
        verdicts: of ``judge``.

    Returns:
        A row a decision: when, article (what it chooses), claims (that it rests on, in words),
        verdict (of each), measured (of
        each that a run has numbers for), why.
    """
    by_id = {v.claim.id: v for v in verdicts}
    rows = []
    for row in article.decision:
        found = [by_id[name] for name in DECIDED_BY.get(row.when, ()) if name in by_id]
        rows.append(
            {
                "when": row.when,
                "article": row.choose,
                "claims": "; ".join(v.claim.claim for v in found) or NOTHING,
                "verdict": ", ".join(f"{v.claim.id} {_standing(v)}" for v in found) or NOTHING,
                "measured": "; ".join(measured(v) for v in found if v.measured) or NOTHING,
                "why": " ".join(v.why for v in found),
            }
        )
    return pd.DataFrame(rows)


def _standing(verdict: Verdict) -> str:
    """A verdict, and whether it stands after Holm's correction."""
    undone = verdict.adjusted != verdict.answer
    return verdict.answer + " (open after Holm)" * undone


def published(claim: Claim) -> str:
    """The published numbers as they are printed there."""
    return "; ".join(_printed(number) for number in claim.published) or NOTHING


def _printed(number: Published) -> str:
    if number.value is not None:
        return f"{number.value:g} {number.unit}"
    return f"{number.low:g} to {number.high:g} {number.unit}"


def measured(verdict: Verdict) -> str:
    """What a run measured, part by part, with intervals."""
    parts = verdict.measured
    shown = [
        (f"{part.of}: " if len(parts) > 1 else "") + told(part.estimate, part.unit)
        for part in parts
        if part.estimate is not None
    ]
    return "; ".join(shown) or NOTHING


def widened(verdict: Verdict) -> str:
    """The intervals at the confidence that Holm's step leaves each; empty where nothing was tested.

    They leave out a limit exactly where the test is rejected after the correction. Together they
    do not cover at the family's confidence.
    """
    shown = [
        f"{shown(wide.value, wide.low, wide.high)} at {wide.confidence:.2%}"
        for part in verdict.parts
        for shown in (load_interval if part.unit == "users" else interval,)
        if part.counts and (wide := part.widened) is not None and wide.has_interval
    ]
    return "; ".join(shown)
