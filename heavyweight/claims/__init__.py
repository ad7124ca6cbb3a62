"""The article's claims, each with a verdict by a rule that is older than the data."""

from heavyweight.article.claim import ANSWERS, Answer
from heavyweight.claims.judging import Evidence, judge, judge_runs
from heavyweight.claims.table import counts, decisions, verdict_table
from heavyweight.claims.verdict import Part, Verdict

__all__ = [
    "ANSWERS", "Answer", "Evidence", "Part", "Verdict", "counts", "decisions", "judge",
    "judge_runs", "verdict_table",
]  # fmt: skip
