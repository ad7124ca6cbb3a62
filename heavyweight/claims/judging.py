"""Ledger + estimates -> verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from heavyweight.article.claim import Answer, Claim
from heavyweight.article.documents import Documents, load_documents
from heavyweight.article.ledger import Ledger, load_claims
from heavyweight.article.rules import (
    Agreement,
    Band,
    Bound,
    Contradiction,
    Equivalence,
    Probe,
    Range,
    Rule,
    Source,
    Threshold,
)
from heavyweight.article.tables import Article, load_article
from heavyweight.claims import capacity, missing, numbers, probing, told
from heavyweight.claims.correcting import corrected
from heavyweight.claims.measured import Measured
from heavyweight.claims.missing import Known
from heavyweight.claims.verdict import Part, Verdict, combine
from heavyweight.estimates import Assessment
from heavyweight.paths import study_root
from heavyweight.physics import Hardware, Models, load_hardware, load_models

EMULATED = "emulated servers are evidence of nothing"
Answers = Mapping[str, Answer]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that claims are judged by.

    Args:
        ledger: the claims and their rules.
        article: its published tables and the sources of its numbers.
        documents: what documents say.
        hardware: GPUs on sale.
        models: architectures.
        known: what the study can measure today.
        runs: that were measured, the study's own first; none: only what needs no machine is judged.
    """

    ledger: Ledger
    article: Article
    documents: Documents
    hardware: Hardware
    models: Models
    known: Known
    runs: tuple[Measured, ...] = ()

    @property
    def measured(self) -> Measured | None:
        """The study's own run."""
        return self.runs[0] if self.runs else None

    @classmethod
    def of(cls, root: Path | None = None) -> Self:
        """All that lies in a checkout, without a run.

        Args:
            root: the study's folder; by default the one of the working directory.

        Raises:
            BadInput: a file is missing or does not fit; the message names the place.
        """
        root = root or study_root()
        folder = root / "data" / "article"
        return cls(
            ledger=load_claims(folder),
            article=load_article(folder),
            documents=load_documents(folder),
            hardware=load_hardware(root / "data" / "hardware.toml"),
            models=load_models(root / "data" / "models.toml"),
            known=Known.of(root),
        )


def judge(evidence: Evidence) -> list[Verdict]:
    """Judge every claim of the ledger, in its order.

    All numbers that were tested against a limit are one family for Holm's correction.

    Args:
        evidence: ledger, article, documents and a run.
    """
    claims = evidence.ledger.claims
    found = [_parts(claim, claim.rules, evidence) for claim in claims]
    flat = corrected([part for parts in found for part in parts], 1 - evidence.ledger.confidence)
    after = iter(flat)
    parts = {
        claim.id: [next(after) for _ in mine] for claim, mine in zip(claims, found, strict=True)
    }
    # A contradiction looks at another claim's answer, and so comes last.
    plain, adjusted = (
        {name: combine(mine, adjusted=holm) for name, mine in parts.items()}
        for holm in (False, True)
    )
    verdicts = []
    for claim in claims:
        others = _contradictions(claim.rules, plain, adjusted)
        earlier = tuple(
            (old.up_to, old.reason,
             combine(_parts(claim, old.rules, evidence)
                     + _contradictions(old.rules, plain, adjusted)))
            for old in claim.earlier
        )  # fmt: skip
        verdicts.append(_verdict(claim, (*parts[claim.id], *others), earlier, evidence))
    return verdicts


def judge_runs(assessments: Sequence[Assessment], evidence: Evidence) -> list[Verdict]:
    """Judge every claim by the runs of a study.

    Args:
        assessments: of its runs, the study's own first; none: only what needs no machine is judged.
        evidence: all else.
    """
    about = evidence.article.article
    versions = {"ollama": about.ollama_version, "vllm": about.vllm_version}
    runs = tuple(Measured(one, evidence.ledger, versions) for one in assessments)
    return judge(dataclasses.replace(evidence, runs=runs))


def _contradictions(rules: Sequence[Rule], plain: Answers, adjusted: Answers) -> list[Part]:
    return [told.contradiction(r, plain, adjusted) for r in rules if isinstance(r, Contradiction)]


def _verdict(
    claim: Claim,
    parts: tuple[Part, ...],
    earlier: tuple[tuple[int, str, Answer], ...],
    evidence: Evidence,
) -> Verdict:
    """One claim's verdict from its parts."""
    answer = combine(parts)
    version = evidence.ledger.versions[claim.since - 1]
    date = version.date.isoformat()
    deciding = [part for part in parts if part.counts and part.answer == answer]
    rested_on = {part.run for part in deciding if part.told_by_run}
    begun = min((one.created[:10] for one in evidence.runs if one.name in rested_on), default="")
    return Verdict(
        claim=claim,
        answer=answer,
        adjusted=combine(parts, adjusted=True),
        parts=parts,
        version=claim.since,
        rule_date=date,
        older_than_data=date < begun if begun else None,
        earlier=earlier,
        judged_by=missing.advice(claim, parts, answer, evidence.known, evidence.measured),
    )


def _parts(claim: Claim, rules: Sequence[Rule], evidence: Evidence) -> list[Part]:
    """Every rule but contradictions applied to everything it speaks of."""
    readings = evidence.documents.of(claim.id)
    parts: list[Part] = []
    for rule in rules:
        match rule:
            case Agreement():
                parts.append(told.agreement(rule))
            case Bound():
                parts.append(told.bound(rule, claim, evidence.ledger.setting))
            case Contradiction():
                continue
            case Source() if rule.kind == "arithmetic":
                parts.append(capacity.judge(rule, evidence.hardware, evidence.models))
            case Source():
                parts += told.documents(rule, readings, evidence.article)
            case _:
                parts += _asked(claim, rule, evidence)
    if not any(isinstance(rule, Source) for rule in rules):
        parts += told.beside(readings, evidence.article)
    return parts


def _asked(claim: Claim, rule: Rule, evidence: Evidence) -> list[Part]:
    """A rule that needs a machine, asked of the run that can say most on it.

    Runs are asked in an order that does not depend on what they say: that of the claim's own
    experiment, the study's, the others.
    """
    nothing = Part(rule.kind, rule.by, claim.quantity, "inconclusive", "No run was given.")
    own = claim.judge.notebook if claim.judge else None
    runs = sorted(evidence.runs, key=lambda run: run.experiment != own)
    found = [
        [dataclasses.replace(part, run=run.name) for part in _ask(claim, rule, run, evidence)]
        for run in runs
    ]
    return max(found, key=lambda parts: sum(part.told_by_run for part in parts), default=[nothing])


def _ask(claim: Claim, rule: Rule, measured: Measured, evidence: Evidence) -> list[Part]:
    """A rule that needs a machine, asked of one run."""
    nothing = Part(rule.kind, rule.by, claim.quantity, "inconclusive", "")
    if measured.emulated:
        return [dataclasses.replace(nothing, why=f"{EMULATED}.")]
    if measured.imported:
        return [dataclasses.replace(nothing, why=measured.imported)]
    if isinstance(rule, Band | Range | Threshold | Equivalence):
        return numbers.apply(claim, rule, measured, evidence.ledger)
    if isinstance(rule, Probe) and claim.measure == "answer_without_gpu":
        return _without_gpu(rule, measured)
    assert isinstance(rule, Probe)  # all others need no machine
    return probing.judge(claim, rule, measured)


def _without_gpu(rule: Probe, measured: Measured) -> list[Part]:
    """Whether Ollama did its work on a machine in which no GPU was found."""
    cells, sessions = measured.assessment.cells, measured.assessment.sessions
    # Only NVIDIA's GPUs are looked for, and a Mac always has one.
    bare = (sessions["gpus"] == "") & sessions["kernel"].str.startswith("Linux")
    mine = set(sessions.loc[bare & (sessions["server"] == "ollama"), "session"])
    good = int((cells["session"].isin(mine) & cells["work_valid"]).sum())
    answer: Answer = "reproduced" if good else "inconclusive"
    why = f"Ollama did its whole work in {good} cells on Linux without an NVIDIA GPU."
    return [
        Part(rule.kind, rule.by, "Ollama", answer, why, adjusted=answer, from_run=True),
        Part(rule.kind, rule.by, "vLLM", "inconclusive", f"{rule.inconclusive}."),
    ]
