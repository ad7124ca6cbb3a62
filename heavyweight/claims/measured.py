"""What a run says on a claim: the quantities of the ledger, taken from its VALID cells."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from heavyweight.article.claim import Claim
from heavyweight.article.ledger import TUNED, Ledger
from heavyweight.claims import experiments, gpu
from heavyweight.claims.items import Item, absent, level_item, one_kind, ratio_item, unfair
from heavyweight.estimates import Assessment
from heavyweight.estimates.blocks import (
    Load,
    by_block,
    closed_loads,
    load_at,
    notes,
    over_sessions,
)
from heavyweight.estimates.crossings import ratios_by_block
from heavyweight.estimates.pairing import pair, paired
from heavyweight.records import imported_from
from heavyweight.stats import crossover
from heavyweight.text import count_of

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
DISADVANTAGES = {  # of Ollama, for one user: what is measured, and whether Ollama's comes first
    "tok/s, vLLM / Ollama": ("throughput_tok_s", False),
    "median TTFT, Ollama / vLLM": ("ttft_p50_ms", True),
    "resident memory, Ollama / vLLM": ("server_rss_bytes", True),
}
FEW, MANY = 1, 50  # users between which the article lets Ollama's throughput grow
RESIDENT = "resident memory at the end of a cell; pages that processes share count for each"


class Measured:
    """A run, asked for the quantities of the ledger.

    Args:
        assessment: of the run.
        ledger: names contrasts and their arms.
        versions: server -> version that the article speaks of.
    """

    def __init__(self, assessment: Assessment, ledger: Ledger, versions: Mapping[str, str]) -> None:
        cells = assessment.cells
        tail = cells["e2e_p99_ms"] / cells["e2e_p50_ms"]  # infinite where failures reach the p99
        self.assessment = dataclasses.replace(assessment, cells=cells.assign(e2e_tail=tail))
        self.ledger, self.versions = ledger, versions

    @property
    def name(self) -> str:
        """Of the run."""
        return self.assessment.run.run

    def complete_of(self, profile: str) -> bool:
        """Whether the run is of a profile and has nothing left to measure."""
        run = self.assessment.run
        return run.profile == profile and not len(self.assessment.missing)

    @property
    def experiment(self) -> str:
        """What the run measured."""
        return self.assessment.run.experiment

    @property
    def created(self) -> str:
        """When the run was begun, ISO 8601."""
        return self.assessment.run.created_utc

    @cached_property
    def has_gpu(self) -> bool:
        """Whether a machine of the run has a GPU."""
        return bool((self.assessment.sessions["gpus"].fillna("") != "").any())

    @cached_property
    def emulated(self) -> bool:
        """Whether any of it is imitated: then it is evidence of nothing."""
        sessions = self.assessment.sessions
        return bool(self.assessment.run.emulated or sessions["emulated"].any())

    @cached_property
    def imported(self) -> str:
        """Which other tools measured it, in words; empty: this study did."""
        return imported_from(self.assessment.run.imported)

    @cached_property
    def in_setting(self) -> bool:
        """Whether all of it was measured in the article's setting: GPU, model and versions."""
        setting, sessions = self.ledger.setting, self.assessment.sessions
        # Whole names: "A40" is neither "RTX A4000" nor a slice of one, "A40-8Q".
        card = sessions["gpus"].str.fullmatch(rf"(NVIDIA )?{re.escape(setting.gpu)}")
        versions = sessions["server"].map(self.versions) == sessions["version"]
        there = card & versions & (sessions["model"] == setting.model)
        return bool(len(sessions) and there.all())

    def arms(self, contrast: str) -> tuple[str, str]:
        """Numerator and denominator of a contrast of the ledger, on this machine."""
        found = self.ledger.contrasts[contrast]
        without = None if self.has_gpu else found.numerator_without_gpu
        return without or found.numerator, found.denominator

    def needs(self, claim: Claim) -> tuple[set[str], set[int]]:
        """Arms and users that a claim needs on this machine."""
        names = [name for name in claim.contrasts if name != TUNED]
        names += self.ledger.tuned.best_of if TUNED in claim.contrasts else []
        arms = {arm for name in names for arm in self.arms(name)} | set(claim.arms)
        if claim.measure == "throughput_growth":
            return arms, {FEW, MANY}
        return arms, set() if claim.users is None else {claim.users}

    def items(self, claim: Claim, *, absolute: bool, of: str | None) -> list[Item]:
        """All that a rule of a claim is applied to.

        Args:
            claim: of the ledger.
            absolute: a server's own number, and no ratio.
            of: which server or published number, where the rule says.
        """
        run = self.assessment
        ways: dict[str, Callable[[], list[Item]]] = {
            "cold_start": lambda: self._cold_starts(claim, absolute),
            "single_user": lambda: self._single_user(claim),
            "crossover": lambda: [self._crossover(contrast) for contrast in claim.contrasts],
            "throughput_growth": lambda: [self._growth(claim)],
            "goodput": lambda: [
                experiments.goodput(claim, run, self.arms(contrast)) for contrast in claim.contrasts
            ],
            "peak_memory": lambda: [experiments.peak_memory(self._server_arm(claim, of), run)],
            "roofline_share": lambda: [
                gpu.roofline_share(run, self._server_arm(claim, of), self._load(None)[0])
            ],
        }
        if claim.measure in ways:
            return ways[claim.measure]()
        if claim.id == "V7":
            return gpu.saved(run)
        if claim.id in experiments.SAME_KV:
            return [experiments.memory_ratio(claim, run)]
        if claim.asks is not None:
            return [experiments.probe_number(claim, claim.asks, run)]
        if claim.measure not in COLUMNS:
            return [Item(of or claim.quantity, missing="this run does not measure it")]
        column, unit, factor = COLUMNS[claim.measure]
        if absolute:
            return [self._level(self._server_arm(claim, of), claim.users, column, unit, factor)]
        return self._ratios(claim, column)

    def _ratios(self, claim: Claim, column: str) -> list[Item]:
        """A claim's ratios. Tuned Ollama is the better of two arms, so that vLLM's ratio to it is
        the smaller one: it is above a limit if both are, and below it if one is."""
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
        return f"{labels} at {count_of(users, 'user')}"

    def _load(self, users: int | None) -> tuple[Load | None, str]:
        """The load of a claim; where it names none, the largest."""
        wanted = users or max(closed_loads(self.assessment), default=0)
        load = load_at(self.assessment, wanted)
        return load, "" if load else f"{wanted} users were not measured with its length of text"

    def _missing(self, arms: Sequence[str], column: str = "") -> str:
        """Why two arms, or one, cannot be asked at all."""
        if gone := absent(arms, self.assessment):
            return gone
        if column == "server_rss_bytes" and self.has_gpu:
            return "memory of the GPU was not measured"
        sessions = self.assessment.sessions
        return one_kind(sessions[sessions["arm"].isin(arms)])

    def _ratio(self, arms: tuple[str, str], users: int | None, column: str) -> Item:
        of = self._named(arms, users)
        load, unmeasured = self._load(users)
        missing = self._missing(arms, column) or unmeasured
        if missing or load is None:
            return Item(of, missing=missing)
        found = pair(self.assessment, arms, load, column)
        item = ratio_item(of, found, self.assessment.run.blocks)
        told = notes(item.note, RESIDENT) if column == "server_rss_bytes" else item.note
        return dataclasses.replace(item, note=told)

    def _server_arm(self, claim: Claim, of: str | None) -> str:
        """The arm of one server: of the claim's, or of the article's contrast."""
        if claim.arms:
            return claim.arms[0]
        name = of or (claim.published[0].name if claim.published else "vllm")
        vllm, ollama = self.arms("A")
        return ollama if "ollama" in name or name == "q4" else vllm

    def _level(self, arm: str, users: int | None, column: str, unit: str, factor: float) -> Item:
        of = self._named([arm], users)
        load, unmeasured = self._load(users)
        missing = self._missing([arm], column) or unmeasured
        if missing or load is None:
            return Item(of, missing=missing)
        found = by_block(self.assessment, arm, load, column)
        return level_item(of, found, self.assessment.run.blocks, unit, factor)

    def _growth(self, claim: Claim) -> Item:
        """Throughput of one arm at the article's largest load over that at its smallest."""
        (arm,) = claim.arms
        of = f"{self.assessment.label(arm)}, {MANY} users / {FEW} user"
        loads = [load_at(self.assessment, users) for users in (MANY, FEW)]
        missing = self._missing([arm]) or ("" if all(loads) else f"{FEW} or {MANY} users not there")
        if missing:
            return Item(of, missing=missing)
        sides = [by_block(self.assessment, arm, load, "throughput_tok_s") for load in loads if load]
        both = paired((f"{MANY} users", f"{FEW} user"), sides)
        return ratio_item(of, both, self.assessment.run.blocks)

    def _cold_starts(self, claim: Claim, absolute: bool) -> list[Item]:
        """By each definition: restart to the first token, and the first request alone."""
        planned = self.assessment.run.blocks
        vllm, ollama = self.arms("A")
        arms = (self._server_arm(claim, None),) if absolute else (vllm, ollama)
        missing, items = self._missing(arms), []
        for words, column in STARTS.items():
            of = f"{self._named(arms, None)}, {words}"
            if missing:
                item = Item(of, missing=missing)
            else:
                sides = [over_sessions(self.assessment, arm, column) for arm in arms]
                if absolute:
                    item = level_item(of, sides[0], planned, "s", 1e-3)
                else:
                    item = ratio_item(of, paired(arms, sides), planned)
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
        arms, column = self.arms(contrast), "throughput_tok_s"
        of = f"{self._named(arms, None)}, N*"
        if missing := self._missing(arms):
            return Item(of, missing=missing)
        loads, curves, lacking = ratios_by_block(self.assessment, arms, column)
        if len(loads) < 2 or not curves:
            return Item(of, missing="fewer than two loads have both servers in one block")
        for users, load in closed_loads(self.assessment).items():
            pairing = pair(self.assessment, arms, load, column)
            planned = self.assessment.run.blocks
            if missing := unfair(pairing.left_out, pairing.spoiled, len(curves), planned):
                return Item(of, missing=f"at {users} users {missing}")
        one = crossover(loads, curves)
        note = notes(one.note, lacking)
        return Item(of, one.estimate, "users", note=note, curves=(loads, curves))
