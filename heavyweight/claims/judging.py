"""Ledger + estimates -> verdicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from heavyweight.article.documents import Documents, load_documents
from heavyweight.article.ledger import Claim, Ledger, load_claims
from heavyweight.article.rules import (
    Agreement,
    Bound,
    Contradiction,
    Equivalence,
    Probe,
    Rule,
    Source,
    Threshold,
)
from heavyweight.article.tables import Article, load_article
from heavyweight.claims import capacity, told
from heavyweight.claims.holding import NumberRule, hold, limits_of
from heavyweight.claims.holding import told as words
from heavyweight.claims.measured import Item, Measured
from heavyweight.claims.missing import Known, judged_by, more_blocks
from heavyweight.claims.verdict import Answer, Part, Verdict, combine
from heavyweight.estimates import Assessment
from heavyweight.paths import study_root
from heavyweight.physics import Hardware, Models, load_hardware, load_models
from heavyweight.stats import Estimate, log_ratio_t
from heavyweight.stats.equivalence import tost
from heavyweight.stats.multiple import holm, p_of, rewiden

EMULATED = "emulated servers are evidence of nothing"


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
        measured: a run; None: only what needs no machine is judged.
    """

    ledger: Ledger
    article: Article
    documents: Documents
    hardware: Hardware
    models: Models
    known: Known
    measured: Measured | None = None

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
    parts = {claim.id: _parts(claim, claim.rules, evidence) for claim in claims}
    answers: dict[str, Answer] = {name: combine(found) for name, found in parts.items()}
    for claim in claims:  # a contradiction looks at other claims' answers
        rules = [rule for rule in claim.rules if isinstance(rule, Contradiction)]
        parts[claim.id] += [told.contradiction(rule, answers) for rule in rules]
    corrected = iter(_corrected([part for found in parts.values() for part in found],
                                1 - evidence.ledger.confidence))  # fmt: skip
    verdicts = []
    for claim in claims:
        own = tuple(next(corrected) for _ in parts[claim.id])
        verdicts.append(_verdict(claim, own, evidence))
    return verdicts


def judge_run(assessment: Assessment | None, evidence: Evidence) -> list[Verdict]:
    """Judge every claim by a run.

    Args:
        assessment: of the run; None: only what needs no machine is judged.
        evidence: all else.
    """
    measured = None if assessment is None else Measured(assessment, evidence.ledger)
    return judge(dataclasses.replace(evidence, measured=measured))


def _verdict(claim: Claim, parts: tuple[Part, ...], evidence: Evidence) -> Verdict:
    """One claim's verdict from its parts."""
    answer, measured = combine(parts), evidence.measured
    version = evidence.ledger.versions[claim.since - 1]
    begun = measured.assessment.run.created_utc[:10] if measured else ""
    from_run = any(part.estimate is not None and part.counts for part in parts)
    earlier = tuple(
        (old.up_to, old.reason, combine(_parts(claim, old.rules, evidence)))
        for old in claim.earlier
    )
    by = ""
    if answer == "inconclusive":
        open_parts = [part for part in parts if part.counts and part.answer == "inconclusive"]
        blocks = [more for part in open_parts if (more := more_blocks(part))]
        needs = any(part.estimate is None or math.isnan(part.p) for part in open_parts)
        by = "; ".join([*dict.fromkeys(blocks), *[judged_by(claim, evidence.known)] * needs])
    return Verdict(
        claim=claim,
        answer=answer,
        adjusted=combine(parts, adjusted=True),
        parts=parts,
        version=claim.since,
        rule_date=version.date.isoformat(),
        older_than_data=version.date.isoformat() < begun if from_run and begun else None,
        earlier=earlier,
        judged_by=by,
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
                parts.append(told.bound(rule, claim))
            case Contradiction():
                continue
            case Source() if rule.kind == "arithmetic":
                parts.append(capacity.judge(rule, evidence.hardware, evidence.models))
            case Source():
                parts += told.documents(rule, readings, evidence.article)
            case Probe():
                parts += _probe(claim, rule, evidence)
            case _:
                parts += _numbers(claim, rule, evidence)
    if not any(isinstance(rule, Source) for rule in rules):
        parts += told.beside(readings, evidence.article)
    return parts


def _probe(claim: Claim, rule: Probe, evidence: Evidence) -> list[Part]:
    """A probe; of those, a run shows only whether a server answers without a GPU."""
    measured = evidence.measured
    if claim.measure != "answer_without_gpu" or measured is None:
        why = f"It needs a probe: {claim.quantity}."
        return [Part(rule.kind, rule.by, claim.quantity, "inconclusive", why)]
    if measured.emulated:
        return [Part(rule.kind, rule.by, claim.quantity, "inconclusive", f"{EMULATED}.")]
    cells, sessions = measured.assessment.cells, measured.assessment.sessions
    bare = set(sessions.loc[(sessions["gpus"] == "") & (sessions["server"] == "ollama"), "session"])
    good = int((cells["session"].isin(bare) & cells["work_valid"]).sum())
    answer: Answer = "reproduced" if good else "inconclusive"
    why = f"Ollama did its whole work in {good} cells on a machine without a GPU."
    return [
        Part(rule.kind, rule.by, "Ollama", answer, why, adjusted=answer),
        Part(rule.kind, rule.by, "vLLM", "inconclusive", f"{rule.inconclusive}."),
    ]


def _numbers(claim: Claim, rule: NumberRule, evidence: Evidence) -> list[Part]:
    """A rule of numbers, applied to what a run measured."""
    measured, absolute = evidence.measured, rule.kind == "absolute"
    if measured is None:
        why = "No run was given."
        return [Part(rule.kind, rule.by, claim.quantity, "inconclusive", why)]
    if measured.emulated:
        return [Part(rule.kind, rule.by, claim.quantity, "inconclusive", f"{EMULATED}.")]
    items = measured.items(claim, absolute=absolute, of=rule.of)
    return [_number(claim, rule, item, evidence) for item in items]


def _number(claim: Claim, rule: NumberRule, item: Item, evidence: Evidence) -> Part:
    """A rule of numbers, applied to one thing."""
    measured = evidence.measured
    assert measured is not None
    part = Part(rule.kind, rule.by, item.of, "inconclusive", "", unit=item.unit,
                counts=item.counts, alike=item.alike)  # fmt: skip
    if item.estimate is None:
        return dataclasses.replace(part, why=f"{item.of}: {item.missing}.")
    limits = limits_of(rule, _published(claim, rule), evidence.ledger.band_fraction)
    estimate, p = _estimate(rule, item)
    here = f"{item.of}: {words(estimate, item.unit)}"
    note = f" ({item.note})" if item.note else ""
    if rule.kind == "absolute" and not measured.in_setting:
        setting = evidence.ledger.setting
        why = f"Measured here, and not on an {setting.gpu} with {setting.model}: {here}{note}."
        return dataclasses.replace(part, estimate=estimate, limits=limits, why=why)
    held = hold(rule, estimate, limits)
    p = held.p if math.isnan(p) else p
    if math.isnan(p) and item.curves is not None and len(limits) == 1:
        p = _p_of_crossing(item, limits[0])
    return dataclasses.replace(
        part, answer=held.answer, adjusted=held.answer, estimate=estimate, limits=limits, p=p,
        why=f"{here}{note}; {held.why}.",
    )  # fmt: skip


def _published(claim: Claim, rule: NumberRule) -> tuple[float, float] | None:
    """Lowest and highest published value that a rule names."""
    if isinstance(rule, Threshold | Equivalence):
        return None
    found = next(p for p in claim.published if rule.of in (None, p.name))
    if found.value is not None:
        return found.value, found.value
    assert found.low is not None  # the ledger saw to it
    assert found.high is not None
    return found.low, found.high


def _estimate(rule: NumberRule, item: Item) -> tuple[Estimate, float]:
    """The estimate that a rule looks at, and its p where the rule has a test of its own."""
    assert item.estimate is not None
    if not isinstance(rule, Equivalence) or item.pairing is None:
        return item.estimate, math.nan
    pairing = item.pairing
    test = tost(pairing.numerator, pairing.denominator, rule.low, rule.high, rule.alpha)
    return test.estimate, test.p if test.equivalent else math.nan


def _p_of_crossing(item: Item, limit: float) -> float:
    """p of "the crossing is the limit": there the ratio passes 1, so that its log ratio is tested.

    Used where blocks cross outside the loads, and their crossings have no logarithm.
    """
    assert item.curves is not None
    loads, curves = item.curves
    if not loads[0] <= limit <= loads[-1]:
        return math.nan
    at = {
        block: math.exp(float(np.interp(math.log(limit), np.log(loads), np.log(ratios))))
        for block, ratios in curves.items()
    }
    return p_of(log_ratio_t(at, dict.fromkeys(at, 1.0)), 1.0)


def _corrected(parts: Sequence[Part], alpha: float) -> list[Part]:
    """The parts after Holm's correction over all that were tested and count."""
    found = holm([part.p if part.counts else math.nan for part in parts], alpha)
    corrected = []
    for part, p, confidence in zip(parts, found.adjusted, found.confidence, strict=True):
        if math.isnan(p):
            corrected.append(part)
            continue
        holds = p < alpha and part.answer != "inconclusive"
        widened = None
        if part.estimate is not None and "Student's t" in part.estimate.method:
            widened = rewiden(part.estimate, confidence)
        adjusted: Answer = part.answer if holds else "inconclusive"
        corrected.append(
            dataclasses.replace(part, adjusted=adjusted, p_adjusted=p, widened=widened)
        )
    return corrected
