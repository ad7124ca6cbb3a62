"""Rules that need no machine: the article's own numbers against each other, physics, documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heavyweight.article.claim import Answer, Claim
from heavyweight.article.documents import Reading
from heavyweight.article.ledger import Setting
from heavyweight.article.rules import Agreement, Bound, Contradiction, Source
from heavyweight.article.tables import Article
from heavyweight.claims.verdict import Part
from heavyweight.tables import number


def agreement(rule: Agreement) -> Part:
    """Two numbers of the article's for one thing, at most a fraction apart, relative to the right
    one."""
    apart = abs(rule.left / rule.right - 1)
    answer: Answer = "reproduced" if apart <= rule.fraction else "refuted"
    why = (
        f"{rule.what}: {number(rule.left)} against {number(rule.right)} is {apart:.0%} apart, "
        f"where {rule.fraction:.0%} would agree."
    )
    return Part(rule.kind, rule.by, "the article's own numbers", answer, why, adjusted=answer)


def bound(rule: Bound, claim: Claim, setting: Setting) -> Part:
    """A published number against a limit from physics, which can refute and never reproduce.

    Args:
        rule: of the claim.
        claim: has the published number.
        setting: of the article, for which an upper limit holds.
    """
    published = next(p for p in claim.published if rule.of in (None, p.name))
    value = published.value if published.value is not None else published.low
    assert value is not None  # the ledger has one of them
    beyond = value > rule.value if rule.side == "upper" else value < rule.value
    limit = f"{rule.value:,g} {rule.unit}"
    printed = f"{value:,g} {published.unit}"
    side = {"upper": "above", "lower": "below"}[rule.side]
    answer: Answer = "refuted" if beyond else "inconclusive"
    there = ""
    if rule.side == "upper":
        there = (
            f" of an {setting.gpu} with {setting.model} at 16 bits, without speculative decoding"
        )
    why = (
        f"The published {printed} {'lies' if beyond else 'does not lie'} {side} {limit}{there} "
        f"({rule.what}): {'impossible' if beyond else 'possible, which is no proof'}."
    )
    return Part(rule.kind, rule.by, "physics", answer, why, limits=(rule.value,), adjusted=answer,
                counts=beyond)  # fmt: skip


def contradiction(
    rule: Contradiction, answers: Mapping[str, Answer], adjusted: Mapping[str, Answer]
) -> Part:
    """Refuted if another claim of the article's is reproduced; else it says nothing.

    Args:
        rule: of a claim.
        answers: of all claims.
        adjusted: the same after Holm's correction.
    """
    found: list[Answer] = [
        "refuted" if known[rule.other] == "reproduced" else "inconclusive"
        for known in (answers, adjusted)
    ]
    why = f"{rule.what}: {rule.other} is {answers[rule.other]}."
    return Part(rule.kind, rule.by, rule.other, found[0], why, adjusted=found[1],
                counts=found[0] == "refuted")  # fmt: skip


def documents(rule: Source, readings: Sequence[Reading], article: Article) -> list[Part]:
    """What each document that a rule names says.

    Args:
        rule: of a claim.
        readings: of the same claim.
        article: its sources have the documents' titles.
    """
    titles = {source.id: source.publisher for source in article.sources}
    parts = []
    for name in rule.documents or [""]:
        found = [reading for reading in readings if reading.document == name]
        of = titles.get(name, "documents")
        if not found:
            why = f"{of}: no reading of it is in documents.toml."
            parts.append(Part(rule.kind, rule.by, of, "inconclusive", why))
        for reading in found:
            parts.append(_read(rule, reading, of))
    return parts


def beside(readings: Sequence[Reading], article: Article) -> list[Part]:
    """Readings for a claim that a machine must judge: shown, and most decide nothing."""
    titles = {source.id: source.publisher for source in article.sources}
    rule = Source(kind="source", by="source", reproduced="", refuted="", documents=[])
    return [
        _read(rule, reading, titles.get(reading.document, "documents"), counts=reading.decides)
        for reading in readings
    ]


def _read(rule: Source, reading: Reading, of: str, *, counts: bool = True) -> Part:
    why = f"{of}: {reading.says} ({reading.where}; read {reading.read})."
    return Part(
        rule.kind, rule.by, of, reading.verdict, why, adjusted=reading.verdict, counts=counts,
        suffices=rule.suffices,
    )  # fmt: skip
