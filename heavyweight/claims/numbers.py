"""Rules of numbers, applied to what a run measured."""

from __future__ import annotations

import dataclasses
import math

from heavyweight.article.claim import Claim
from heavyweight.article.ledger import Ledger
from heavyweight.article.rules import Condition, Equivalence, Threshold
from heavyweight.claims.crossing import p_of_crossing
from heavyweight.claims.holding import Held, NumberRule, hold, limits_of
from heavyweight.claims.holding import told as words
from heavyweight.claims.items import Item
from heavyweight.claims.measured import Measured
from heavyweight.claims.verdict import Part
from heavyweight.stats import Estimate, p_of, tost


def apply(claim: Claim, rule: NumberRule, measured: Measured, ledger: Ledger) -> list[Part]:
    """A rule of numbers, applied to everything that it speaks of.

    Args:
        claim: of the ledger.
        rule: of the claim.
        measured: the run.
        ledger: has the article's setting and the width of its bands.
    """
    items = measured.items(claim, absolute=rule.kind == "absolute", of=rule.of)
    return [part_of(claim, rule, item, measured, ledger) for item in items]


def part_of(claim: Claim, rule: NumberRule, item: Item, measured: Measured, ledger: Ledger) -> Part:
    """A rule of numbers, applied to one thing.

    Args:
        claim: of the ledger.
        rule: of the claim, or a number that its words stand for.
        item: what was measured.
        measured: the run.
        ledger: has the article's setting and the width of its bands.
    """
    part = Part(rule.kind, rule.by, item.of, "inconclusive", "", unit=item.unit,
                counts=item.counts, alike=item.alike, rule=rule)  # fmt: skip
    if item.estimate is None:
        return dataclasses.replace(part, why=f"{item.of}: {item.missing}.")
    rule = beyond_noise(rule, item.spread)
    limits = limits_of(rule, published(claim, rule), ledger.band_fraction)
    estimate, p = _tested(rule, item)
    here = f"{item.of}: {words(estimate, item.unit)}"
    note = f" ({item.note})" if item.note else ""
    if rule.kind == "absolute" and not measured.in_setting:
        setting = ledger.setting
        why = f"Measured here, and not on an {setting.gpu} with {setting.model}: {here}{note}."
        return dataclasses.replace(part, estimate=estimate, limits=limits, why=why)
    held = _without_restarts(rule, item, limits, hold(rule, estimate, limits))
    if item.curves is not None and len(limits) == 1:
        p = p_of_crossing(item.curves, limits[0], held.answer)
    return dataclasses.replace(
        part, rule=rule, answer=held.answer, adjusted=held.answer, estimate=estimate,
        limits=limits, p=held.p if math.isnan(p) and item.curves is None else p,
        curves=item.curves, why=f"{here}{note}; {held.why}.",
    )  # fmt: skip


def published(claim: Claim, rule: NumberRule) -> tuple[float, float] | None:
    """Lowest and highest published value that a rule compares with; None: it has its own limits."""
    if isinstance(rule, Threshold | Equivalence):
        return None
    found = next(p for p in claim.published if rule.of in (None, p.name))
    if found.value is not None:
        return found.value, found.value
    assert found.low is not None  # the ledger saw to it
    assert found.high is not None
    return found.low, found.high


def beyond_noise(rule: NumberRule, spread: float) -> NumberRule:
    """A rule that asks for more than noise: its limit is raised by what starts differ.

    Args:
        rule: of the ledger.
        spread: relative difference between starts of one configuration.
    """
    if not isinstance(rule, Threshold) or rule.noise is None or rule.reproduced is None:
        return rule
    raised = Condition(op=rule.reproduced.op, value=rule.reproduced.value * (1 + spread))
    return rule.model_copy(update={"reproduced": raised})


def _tested(rule: NumberRule, item: Item) -> tuple[Estimate, float]:
    """The estimate that a rule looks at, and its p where the rule has a test of its own.

    An equivalence has one-sided tests: of each limit that it must exclude, or of the one beyond
    which it lies.
    """
    assert item.estimate is not None
    if not isinstance(rule, Equivalence) or item.pairing is None:
        return item.estimate, math.nan
    pairing = item.pairing
    test = tost(pairing.numerator, pairing.denominator, rule.low, rule.high, rule.alpha)
    if rule.low <= test.estimate.value <= rule.high:
        return test.estimate, test.p
    outer = rule.low if test.estimate.value < rule.low else rule.high
    return test.estimate, p_of(test.estimate, outer) / 2


def _without_restarts(rule: NumberRule, item: Item, limits: tuple[float, ...], held: Held) -> Held:
    """Undecided where the answer rests on a block in which a server was started again."""
    if item.unbroken is None or held.answer == "inconclusive":
        return held
    without = hold(rule, item.unbroken, limits)
    if without.answer == held.answer:
        return held
    told = f"without the blocks of a second start {words(item.unbroken, item.unit)}"
    return dataclasses.replace(
        held, answer="inconclusive", why=f"{held.why}, but {told} is {without.answer}"
    )
