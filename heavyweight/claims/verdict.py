"""What judging gives: a part for each rule and thing it was applied to, and the claim's verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from heavyweight.article.claim import Answer, Claim
from heavyweight.article.rules import Kind, Rule
from heavyweight.stats import Estimate


@dataclass(frozen=True)
class Part:
    """One rule, applied to one thing.

    Args:
        kind: of the rule.
        by: which rule.
        of: what it was applied to: a contrast and load, a server, a document.
        answer: of this rule alone.
        why: one sentence with the number, its interval and the rule.
        estimate: what was measured; None: nothing was.
        unit: of the estimate.
        limits: the numbers of the rule that it was held against, in the estimate's unit.
        p: two-sided p value of the nearest limit; NaN: nothing was tested.
        adjusted: the answer after Holm's correction over all that was tested together.
        p_adjusted: p after Holm.
        widened: the estimate at the confidence that Holm's step leaves it.
        counts: False: shown beside the others, decides nothing.
        suffices: the claim is decided by this part alone.
        alike: parts of one name are readings of the same words: only what all say is decided.
        rule: as it was applied; None: it has no numbers.
        curves: behind a crossing: loads, and block -> ratio at each of them.
        from_run: a run said it, though it gave no number.
        run: that it was asked of; empty: none.
    """

    kind: Kind
    by: str
    of: str
    answer: Answer
    why: str
    estimate: Estimate | None = None
    unit: str = ""
    limits: tuple[float, ...] = ()
    p: float = math.nan
    adjusted: Answer = "inconclusive"
    p_adjusted: float = math.nan
    widened: Estimate | None = None
    counts: bool = True
    suffices: bool = False
    alike: str = ""
    rule: Rule | None = None
    curves: tuple[Sequence[int], Mapping[int, np.ndarray]] | None = None
    from_run: bool = False
    run: str = ""

    @property
    def told_by_run(self) -> bool:
        """Whether a run had something to say on it."""
        return self.estimate is not None or self.from_run


@dataclass(frozen=True)
class Verdict:
    """One claim, judged.

    Args:
        claim: of the ledger.
        answer: each rule at its own confidence.
        adjusted: the same after Holm's correction.
        parts: what it rests on.
        version: of the ledger, from which its rules hold.
        rule_date: when these rules were written down, ISO 8601.
        older_than_data: whether that was before the run was begun; None: no run decided.
        earlier: version, reason and answer of each set of rules that it had before.
        judged_by: what would judge it; empty if it is judged.
    """

    claim: Claim
    answer: Answer
    adjusted: Answer
    parts: tuple[Part, ...]
    version: int
    rule_date: str
    older_than_data: bool | None
    earlier: tuple[tuple[int, str, Answer], ...] = field(default=())
    judged_by: str = ""

    @property
    def why(self) -> str:
        """The sentences of the parts that brought the answer about, or of all."""
        deciding = [part for part in self.parts if part.counts and part.answer == self.answer]
        if self.answer == "inconclusive":
            deciding = list(self.parts)
        return " ".join(dict.fromkeys(part.why for part in deciding or self.parts))

    @property
    def kind(self) -> Kind:
        """The kind of rule that brought the answer about; of an open claim its first."""
        deciding = [p for p in self.parts if p.counts and p.answer == self.answer]
        if self.answer == "inconclusive" or not deciding:
            return self.claim.kinds[0]
        return deciding[0].kind

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that had something to say on it."""
        return tuple(dict.fromkeys(part.run for part in self.parts if part.told_by_run))

    @property
    def measured(self) -> tuple[Part, ...]:
        """The parts that have a number from a run."""
        return tuple(part for part in self.parts if part.estimate is not None)


def combine(parts: Sequence[Part], *, adjusted: bool = False) -> Answer:
    """A claim's answer from those of its parts.

    Refuted if one part refutes; reproduced if a part that suffices reproduces, or all do; else
    inconclusive. Of parts that are readings of the same words only what all say counts.

    Args:
        parts: at least one that counts, or the answer is inconclusive.
        adjusted: by the answers after Holm's correction.
    """
    groups: dict[str, list[Answer]] = {}
    sufficient = False
    for nth, part in enumerate(part for part in parts if part.counts):
        answer = part.adjusted if adjusted else part.answer
        groups.setdefault(part.alike or str(nth), []).append(answer)
        sufficient |= part.suffices and answer == "reproduced"
    answers = [group[0] if len(set(group)) == 1 else "inconclusive" for group in groups.values()]
    if "refuted" in answers:
        return "refuted"
    if sufficient or (answers and set(answers) == {"reproduced"}):
        return "reproduced"
    return "inconclusive"
