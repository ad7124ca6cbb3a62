"""What a run says on a claim: the quantities of the ledger, taken from its VALID cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from heavyweight.article.ledger import TUNED, Claim, Ledger
from heavyweight.estimates import Assessment
from heavyweight.estimates.blocks import (
    INFINITE,
    Blocks,
    Load,
    by_block,
    load_at,
    notes,
    over_sessions,
    say,
)
from heavyweight.estimates.crossings import crossover_of, ratios_by_block
from heavyweight.estimates.pairing import Pairing, pair, paired
from heavyweight.stats import Estimate, mean_log_t

COLUMNS = {
    "throughput": ("throughput_tok_s", "tok/s", 1.0),
    "ttft_p50": ("ttft_p50_ms", "s", 1e-3),
    "e2e_p95": ("e2e_p95_ms", "s", 1e-3),
    "e2e_p99": ("e2e_p99_ms", "s", 1e-3),
    "e2e_tail": ("e2e_tail", "x", 1.0),
    "memory": ("server_rss_bytes", "GB", 1e-9),
}
"""Measure: column of the cells, unit in the ledger, factor from the one to the other."""

STARTS = {
    "restart to first token": "first_token_ms",
    "the first request alone": "first_request_ttft_ms",
}
DISADVANTAGES = {  # of Ollama, for one user: what is measured, and whether vLLM's comes first
    "tok/s, vLLM / Ollama": ("throughput_tok_s", False),
    "median TTFT, Ollama / vLLM": ("ttft_p50_ms", True),
    "resident memory, Ollama / vLLM": ("server_rss_bytes", True),
}
ZERO = "zero"


@dataclass(frozen=True)
class Item:
    """One thing that a rule is applied to.

    Args:
        of: what it is.
        estimate: None: it was not measured, or says nothing.
        unit: of the estimate.
        missing: why there is no estimate.
        note: what a reader must know of the estimate.
        counts: False: shown beside the others, decides nothing.
        alike: items of one name are readings of the same words.
        pairing: the blocks behind a ratio, for tests that need them.
        curves: loads, and block -> ratio at each of them, behind a crossing.
    """

    of: str
    estimate: Estimate | None = None
    unit: str = "x"
    missing: str = ""
    note: str = ""
    counts: bool = True
    alike: str = ""
    pairing: Pairing | None = None
    curves: tuple[list[int], dict[int, np.ndarray]] | None = None


class Measured:
    """A run, asked for the quantities of the ledger.

    Args:
        assessment: of the run.
        ledger: names contrasts and their arms.
    """

    def __init__(self, assessment: Assessment, ledger: Ledger) -> None:
        cells = assessment.cells
        tail = (cells["e2e_p99_ms"] / cells["e2e_p50_ms"]).where(np.isfinite(cells["e2e_p99_ms"]))
        self.assessment = dataclasses.replace(assessment, cells=cells.assign(e2e_tail=tail))
        self.ledger = ledger

    @cached_property
    def has_gpu(self) -> bool:
        """Whether a machine of the run has a GPU."""
        return bool((self.assessment.sessions["gpus"] != "").any())

    @cached_property
    def emulated(self) -> bool:
        """Whether any of it is imitated: then it is evidence of nothing."""
        sessions = self.assessment.sessions
        return self.assessment.run.emulated or bool(sessions["emulated"].any())

    @cached_property
    def in_setting(self) -> bool:
        """Whether all of it was measured in the article's setting."""
        setting, sessions = self.ledger.setting, self.assessment.sessions
        # "A40" must not be found in "RTX A4000".
        there = sessions["gpus"].str.contains(rf"\b{setting.gpu}\b", regex=True)
        return bool(len(sessions) and (there & (sessions["model"] == setting.model)).all())

    def arms(self, contrast: str) -> tuple[str, str]:
        """Numerator and denominator of a contrast of the ledger, on this machine."""
        found = self.ledger.contrasts[contrast]
        without = None if self.has_gpu else found.numerator_without_gpu
        return without or found.numerator, found.denominator

    def items(self, claim: Claim, *, absolute: bool, of: str | None) -> list[Item]:
        """All that a rule of a claim is applied to.

        Args:
            claim: of the ledger.
            absolute: a server's own number, and no ratio.
            of: which server or published number, where the rule says.
        """
        if claim.measure == "cold_start":
            return self._cold_starts(claim, absolute)
        if claim.measure == "single_user":
            return self._single_user(claim)
        if claim.measure == "crossover":
            return [self._crossover(contrast) for contrast in claim.contrasts]
        if claim.measure == "throughput_growth":
            return [self._growth(claim)]
        if claim.measure not in COLUMNS:
            return [Item(of or claim.quantity, missing="this run does not measure it")]
        column, unit, factor = COLUMNS[claim.measure]
        if absolute:
            return [self._level(self._server_arm(claim, of), claim.users, column, unit, factor)]
        return self._ratios(claim, column)

    def _ratios(self, claim: Claim, column: str) -> list[Item]:
        """A claim's ratios; tuned Ollama is its better arm, so that both must say the same."""
        if not claim.contrasts:
            above, below = claim.arms
            return [self._ratio((above, below), claim.users, column)]
        tuned = TUNED in claim.contrasts
        names = [name for name in claim.contrasts if name != TUNED]
        beside = [
            dataclasses.replace(
                self._ratio(self._turned(name, claim.inverse), claim.users, column),
                counts=not tuned,
            )
            for name in names
        ]
        best = self.ledger.tuned.best_of if tuned else []
        return beside + [self._ratio(self.arms(name), claim.users, column) for name in best]

    def _turned(self, contrast: str, inverse: bool) -> tuple[str, str]:
        above, below = self.arms(contrast)
        return (below, above) if inverse else (above, below)

    def _named(self, arms: Sequence[str], users: int | None) -> str:
        labels = " / ".join(self.assessment.label(arm) for arm in arms)
        if users is None:
            return labels
        return f"{labels} at {users} user{'s' if users > 1 else ''}"

    def _load(self, users: int | None) -> tuple[Load | None, str]:
        """The load of a claim; where it names none, the largest."""
        wanted = users or max(self.assessment.run.users, default=0)
        load = load_at(self.assessment, wanted)
        return load, "" if load else f"{wanted} users were not measured"

    def _absent(self, arms: Sequence[str]) -> str:
        there = set(self.assessment.arms)
        gone = [arm for arm in arms if arm not in there]
        return f"arm {' and '.join(gone)} is not in this run" if gone else ""

    def _ratio(self, arms: tuple[str, str], users: int | None, column: str) -> Item:
        of = self._named(arms, users)
        load, missing = self._load(users)
        missing = self._absent(arms) or missing
        if missing or load is None:
            return Item(of, missing=missing)
        return _ratio_item(of, pair(self.assessment, arms, load, column))

    def _server_arm(self, claim: Claim, of: str | None) -> str:
        """The arm of one server: of the claim's, or of the article's contrast."""
        if claim.arms:
            return claim.arms[0]
        name = of or (claim.published[0].name if claim.published else "vllm")
        vllm, ollama = self.arms("A")
        return ollama if "ollama" in name or name == "q4" else vllm

    def _level(self, arm: str, users: int | None, column: str, unit: str, factor: float) -> Item:
        of = self._named([arm], users)
        load, missing = self._load(users)
        missing = self._absent([arm]) or missing
        if missing or load is None:
            return Item(of, missing=missing)
        return _level_item(of, by_block(self.assessment, arm, load, column), unit, factor)

    def _growth(self, claim: Claim) -> Item:
        """Throughput of one arm at the article's largest load over that at its smallest."""
        (arm,) = claim.arms
        few, many = 1, 50
        of = f"{self.assessment.label(arm)}, {many} users / {few} user"
        loads = [load_at(self.assessment, users) for users in (many, few)]
        missing = self._absent([arm]) or ("" if all(loads) else f"{few} or {many} users not there")
        if missing:
            return Item(of, missing=missing)
        sides = [by_block(self.assessment, arm, load, "throughput_tok_s") for load in loads if load]
        return _ratio_item(of, paired((f"{many} users", f"{few} user"), sides))

    def _cold_starts(self, claim: Claim, absolute: bool) -> list[Item]:
        """By each definition: restart to the first token, and the first request alone."""
        items = []
        vllm, ollama = self.arms("A")
        for words, column in STARTS.items():
            if absolute:
                arm = self._server_arm(claim, None)
                of = f"{self.assessment.label(arm)}, {words}"
                item = Item(of, missing=self._absent([arm]))
                if not item.missing:
                    side = over_sessions(self.assessment, arm, column)
                    item = _level_item(of, side, "s", 1e-3)
            else:
                of = f"{self._named((vllm, ollama), None)}, {words}"
                item = Item(of, missing=self._absent((vllm, ollama)))
                if not item.missing:
                    sides = [over_sessions(self.assessment, arm, column) for arm in (vllm, ollama)]
                    item = _ratio_item(of, paired((vllm, ollama), sides))
            items.append(dataclasses.replace(item, alike="cold start"))
        return items

    def _single_user(self, claim: Claim) -> list[Item]:
        """Ollama's disadvantages for one user."""
        vllm, ollama = self.arms(claim.contrasts[0])
        items = []
        for words, (column, ollama_first) in DISADVANTAGES.items():
            arms = (ollama, vllm) if ollama_first else (vllm, ollama)
            item = self._ratio(arms, claim.users, column)
            items.append(dataclasses.replace(item, of=words))
        return [*items, Item("minutes of set-up", missing="set-up was not timed")]

    def _crossover(self, contrast: str) -> Item:
        """The load from which a contrast's ratio of throughputs stays above 1."""
        arms = self.arms(contrast)
        of = f"{self._named(arms, None)}, N*"
        missing = self._absent(arms)
        if missing:
            return Item(of, missing=missing)
        found = crossover_of(self.assessment, arms, "throughput_tok_s")
        if found is None:
            return Item(of, missing="fewer than two loads have both servers in one block")
        one, lacking = found
        loads, curves, _ = ratios_by_block(self.assessment, arms, "throughput_tok_s")
        note = notes(one.note, lacking)
        return Item(of, one.estimate, "users", note=note, curves=(loads, curves))


def _ratio_item(of: str, pairing: Pairing) -> Item:
    """A ratio; blocks in which it is infinite or zero are no blocks that may be left out."""
    broken = _broken(pairing.left_out)
    if broken:
        return Item(of, missing=broken, pairing=pairing)
    estimate = pairing.ratio()
    if estimate is None:
        return Item(of, missing=pairing.note or "no block has both servers")
    return Item(of, estimate, note=pairing.note, pairing=pairing)


def _level_item(of: str, found: Blocks, unit: str, factor: float) -> Item:
    """A server's own number."""
    broken = _broken(found.left_out)
    if broken or not found.values:
        return Item(of, missing=broken or say(found.left_out) or "no VALID cell", unit=unit)
    values = [value * factor for value in found.values.values()]
    return Item(of, mean_log_t(values), unit)


def _broken(left_out: dict[int, str]) -> str:
    """Why a number would mislead: failures reach it, or nothing was done, in some block."""
    for block, reason in left_out.items():
        if INFINITE in reason:
            return f"failures reach it in block {block}, so that it has no finite value"
        if ZERO in reason.split():
            return f"it is zero in block {block}, so that there is no ratio"
    return ""
