"""Rules of probes: what servers did when they were asked, in all blocks of a run."""

from __future__ import annotations

import dataclasses

import pandas as pd

from heavyweight.article.claim import Answer, Asks, Claim
from heavyweight.article.rules import Probe
from heavyweight.claims import gpu
from heavyweight.claims.measured import Measured
from heavyweight.claims.numbers import part_of
from heavyweight.claims.verdict import Part
from heavyweight.estimates import probes_over_blocks
from heavyweight.estimates.kv_cache import kv_cache_frame, kv_waste_by_block
from heavyweight.estimates.pairing import paired
from heavyweight.stats import p_of
from heavyweight.tables import interval
from heavyweight.text import count_of


def judge(claim: Claim, rule: Probe, measured: Measured) -> list[Part]:
    """A claim of probes by a run.

    Args:
        claim: of the ledger.
        rule: of the claim.
        measured: the run.
    """
    if claim.id == "Q4":
        return [_kv_cache(claim, rule, measured)]
    if claim.id == "T1":
        return [gpu.ranks(rule, measured.assessment)]
    if claim.id == "D7":
        return [
            part_of(claim, acts, item, measured, measured.ledger)
            for item, acts in gpu.control(measured.assessment)
        ]
    asks = claim.asks
    if asks is None:
        return [_nothing(rule, claim.quantity, f"It needs a probe: {claim.quantity}.")]
    over = probes_over_blocks(measured.assessment.folder)
    over = over[over["probe"] == asks.probe]
    if arms := asks.arms or claim.arms:
        over = over[over["arm"].isin(arms)]
    return [_server(rule, asks, kind, over) for kind in asks.servers]


def _server(rule: Probe, asks: Asks, server: str, over: pd.DataFrame) -> Part:
    """What the arms of one server said."""
    mine = over[over["server"] == server]
    known = mine[mine["answer"] != "unknown"]
    if known.empty:
        why = "; ".join(mine["why"]) or f"{server} was not asked ({asks.probe})"
        return _nothing(rule, server, f"{why}.")
    answers: dict[str, Answer] = {"yes": asks.yes, "no": asks.no}
    found = [answers.get(told, asks.mixed) for told in known["answer"]]
    answer: Answer = found[0] if len(set(found)) == 1 else "inconclusive"
    least = int((rule.parameters or {}).get("trials_needed", 0))
    told = "; ".join(_said(row) for _, row in known.iterrows())
    if answer == "reproduced" and (known["of"] < least).any():
        answer, told = "inconclusive", f"{told}; {least} trials are needed"
    of = ", ".join(known["label"])
    return Part(rule.kind, rule.by, of, answer, f"{told}.", adjusted=answer, from_run=True)


def _said(row: pd.Series) -> str:
    """One arm's answer in words."""
    blocks = count_of(row["blocks"], "block")
    trials = f", {row['yes']} of {row['of']} trials" if row["of"] > 1 else ""
    return f"{row['label']}: {row['why'].rstrip('.')} ({row['answer']} in {blocks}{trials})"


def _nothing(rule: Probe, of: str, why: str) -> Part:
    return Part(rule.kind, rule.by, of, "inconclusive", why)


def _kv_cache(claim: Claim, rule: Probe, measured: Measured) -> Part:
    """Whether vLLM wastes at most some blocks a sequence, and much less of its share than Ollama.

    Both are asked with as many sequences of equal lengths; the arms are those of the run's own
    contrast, whose KV caches are of one size.
    """
    assessment = measured.assessment
    arms = assessment.run.contrasts.get(claim.contrasts[0])
    frame = kv_cache_frame(assessment.folder)
    if arms is None or not set(arms) <= set(frame["arm"]):
        return _nothing(rule, claim.quantity, "The KV cache was not looked at in this run.")
    most_blocks, share = (
        float((rule.parameters or {})[name]) for name in ("blocks_per_sequence", "share_of_ollama")
    )
    mine = frame[(frame["arm"] == arms[0]) & (frame["fault"] == "")]
    wasted = float((mine["most_wasted_per_sequence"] / mine["block_tokens"]).max())
    pairing = paired(arms, [kv_waste_by_block(assessment, frame, arm) for arm in arms])
    estimate = pairing.ratio()
    if estimate is None:
        return _nothing(rule, claim.quantity, f"No block has both servers: {pairing.note}.")
    answer: Answer = "inconclusive"
    if wasted > most_blocks or estimate.low > share:
        answer = "refuted"
    elif estimate.high < share:
        answer = "reproduced"
    labels = " / ".join(map(assessment.label, arms))
    shown = interval(estimate.value, estimate.low, estimate.high)
    why = (
        f"{labels}, share of the assigned KV cache that was not used: {shown} x (at most {share:g} "
        f"is asked); a sequence of the first wasted at most {wasted:.2f} of a block."
    )
    return dataclasses.replace(
        _nothing(rule, labels, why), answer=answer, adjusted=answer, estimate=estimate, unit="x",
        limits=(share,), p=p_of(estimate, share),
    )  # fmt: skip
