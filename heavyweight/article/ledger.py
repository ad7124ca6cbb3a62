"""The ledger of claims: what the article says, and the rule, older than any data, that decides it.

data/article/claims.toml explains the rules in words; judging by them is not done here.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from heavyweight.article.rules import Band, Contradiction, Kind, Range, Rule, Source, Threshold
from heavyweight.article.tables import load_article
from heavyweight.article.toml import Strict, article_folder, read_toml
from heavyweight.errors import BadInput

Need = Literal["article", "document", "run", "probe", "setting", "gpu", "gpus", "network"]
Measure = Literal[
    "throughput",  # tok/s over all users
    "throughput_growth",  # of one arm: the last load's throughput / the first one's
    "ttft_p50",
    "e2e_p95",
    "e2e_p99",
    "e2e_tail",  # p99 / p50
    "cold_start",  # restart to first token; the first request alone
    "memory",  # resident memory of the server's processes
    "vram",
    "crossover",  # the load from which the ratio of throughputs stays above 1
    "goodput",
    "single_user",  # throughput, TTFT, memory and set-up of one user
    "roofline_share",
    "answer_without_gpu",
    "set_up",
    "probe",
    "document",
    "arithmetic",
]
TUNED = "tuned"


class Published(Strict):
    """A number that the article prints: a value, or a range."""

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str

    @model_validator(mode="after")
    def _value_or_range(self) -> Self:
        is_range = self.low is not None and self.high is not None and self.low < self.high
        if (self.value is None) != is_range or (self.low is None) != (self.high is None):
            raise ValueError("give either value, or low < high")
        return self


class Judge(Strict):
    """What would judge a claim: a profile of study.toml, a notebook, or a person."""

    profile: str | None = None
    notebook: str | None = None
    hand: str | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(one is not None for one in (self.profile, self.notebook, self.hand)) != 1:
            raise ValueError("give one of profile, notebook, hand")
        return self


class Earlier(Strict):
    """Rules that a claim had up to a version of the ledger, and why they were changed."""

    up_to: int = Field(ge=1)
    reason: str
    rules: list[Rule] = Field(min_length=1)


class Claim(Strict):
    """One claim: where it stands, in our words, what is measured, and what decides it."""

    id: str = Field(pattern=r"^[A-Z]\d?[a-z]?$")
    place: str
    claim: str
    quantity: str
    measure: Measure
    judge: Judge | None = None  # None: nothing needs to be measured
    contrasts: list[str] = Field(default_factory=list)
    arms: list[str] = Field(default_factory=list)
    inverse: bool = False  # the quantity is denominator / numerator of the contrast
    users: int | None = None
    published: list[Published] = Field(default_factory=list)
    needs: list[Need] = Field(min_length=1)
    rules: list[Rule] = Field(min_length=1)
    since: int = 1  # the version of the ledger from which these rules hold
    earlier: list[Earlier] = Field(default_factory=list)  # oldest first

    def rules_of(self, version: int) -> list[Rule]:
        """The rules that held in a version of the ledger."""
        return next((old.rules for old in self.earlier if version <= old.up_to), self.rules)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of its rules, each once, in order."""
        return list(dict.fromkeys(rule.kind for rule in self.rules))

    @model_validator(mode="after")
    def _published_is_there(self) -> Self:
        names = [number.name for number in self.published]
        for rule in self.rules:
            if not isinstance(rule, Band | Range):
                continue
            numbers = [p for p in self.published if rule.of in (None, p.name)]
            if len(numbers) != 1:
                raise ValueError(f"a {rule.by} needs exactly one published number of {names}")
            if (numbers[0].value is None) != isinstance(rule, Range):
                raise ValueError("a band needs a published value, a range a published range")
        return self


class Version(Strict):
    """A state of the rules: since when it holds, why, and the checksum that keeps it."""

    version: int = Field(ge=1)
    date: datetime.date
    reason: str
    rules_sha256: str


class Setting(Strict):
    """The article's setting: where its absolute claims can be judged."""

    gpu: str
    model: str


class Contrast(Strict):
    """Two arms; the ratio is numerator / denominator."""

    about: str
    numerator: str
    numerator_without_gpu: str | None = None
    denominator: str
    needs_gpu: bool = False


class Tuned(Strict):
    """The better of several contrasts' denominators at each load."""

    best_of: list[str]
    slots: int


class Physics(Strict):
    """The article's model and GPU, for its bounds."""

    parameters: float
    weights_bytes: float
    read_bytes_per_step: float
    kv_bytes_per_token: float
    memory_bytes_per_s: float


class Ledger(Strict):
    """claims.toml."""

    version: int = Field(ge=1)
    schema_: Literal[1] = Field(alias="schema")
    confidence: float = Field(gt=0.5, lt=1)
    band_fraction: float = Field(gt=0)
    versions: list[Version] = Field(min_length=1)
    setting: Setting
    kinds: dict[Kind, str]
    needs: dict[Need, str]
    contrasts: dict[str, Contrast]
    tuned: Tuned
    physics: Physics
    claims: list[Claim] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        ids = [claim.id for claim in self.claims]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"claim {twice[0]} stands twice")
        contrasts = {*self.contrasts, TUNED}
        if strange := set(self.tuned.best_of) - set(self.contrasts):
            raise ValueError(f"tuned: no contrast {sorted(strange)[0]}")
        for claim in self.claims:
            for name in claim.contrasts:
                if name not in contrasts:
                    raise ValueError(f"claim {claim.id}: no contrast {name}")
            for rule in claim.rules:
                if isinstance(rule, Contradiction) and rule.other not in ids:
                    raise ValueError(f"claim {claim.id}: no claim {rule.other}")
                if isinstance(rule, Threshold) and rule.contrast not in (None, *claim.contrasts):
                    raise ValueError(f"claim {claim.id}: no contrast {rule.contrast} in it")
        return self

    @model_validator(mode="after")
    def _rules_are_those_of_their_versions(self) -> Self:
        if [one.version for one in self.versions] != list(range(1, self.version + 1)):
            raise ValueError(f"versions: one entry for each of 1 to {self.version}, in order")
        for claim in self.claims:
            ends = [old.up_to for old in claim.earlier]
            follows = not ends or claim.since == ends[-1] + 1
            if not follows or ends != sorted(set(ends)) or not 1 <= claim.since <= self.version:
                raise ValueError(f"claim {claim.id}: since does not follow its earlier rules")
        for one in self.versions:
            found = self.rules_sha256(one.version)
            if found != one.rules_sha256:
                raise ValueError(
                    f"the rules of version {one.version} are not those that were written down "
                    f"(sha256 {found}); a rule that changes needs a new version with the reason"
                )
        return self

    def rules_sha256(self, version: int) -> str:
        """Checksum of all that decided in a version: rules, published numbers, contrasts, bands."""
        decides: dict[str, Any] = {
            "confidence": self.confidence,
            "band_fraction": self.band_fraction,
            "contrasts": {name: c.model_dump() for name, c in sorted(self.contrasts.items())},
            "tuned": self.tuned.model_dump(),
            "claims": [
                {
                    **claim.model_dump(include={"id", "contrasts", "arms", "inverse", "users"}),
                    "published": [number.model_dump() for number in claim.published],
                    "rules": [rule.model_dump() for rule in claim.rules_of(version)],
                }
                for claim in self.claims
                if claim.earlier or version >= claim.since
            ],
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def thresholds(self) -> list[float]:
        """Ratios of throughputs at which a verdict turns: 1, and those of rules on contrasts."""
        found = {1.0}
        for claim in self.claims:
            for rule in claim.rules:
                if isinstance(rule, Threshold) and rule.kind == "ratio" and claim.contrasts:
                    sides = (rule.reproduced, rule.refuted)
                    found |= {side.value for side in sides if side and side.value > 1}
        return sorted(found)

    @cached_property
    def by_id(self) -> dict[str, Claim]:
        """The claims by their ids."""
        return {claim.id: claim for claim in self.claims}

    def table(self) -> pd.DataFrame:
        """The claims, one a row: id, place, claim, kinds, quantity, rules."""
        return pd.DataFrame(
            {
                "id": claim.id,
                "place": claim.place,
                "claim": claim.claim,
                "kinds": ", ".join(claim.kinds),
                "quantity": claim.quantity,
                "rules": ", ".join(rule.by for rule in claim.rules),
            }
            for claim in self.claims
        )


def load_claims(folder: Path | None = None) -> Ledger:
    """Read and check claims.toml, and that its documents are sources of tables.toml.

    Args:
        folder: where both files lie; data/article of the study by default.

    Raises:
        BadInput: a file is missing or does not fit; the message names the place.
    """
    folder = folder or article_folder()
    ledger = read_toml(folder / "claims.toml", Ledger)
    known = {source.id for source in load_article(folder).sources}
    for claim in ledger.claims:
        for rule in claim.rules:
            strange = set(rule.documents) - known if isinstance(rule, Source) else set()
            if strange:
                raise BadInput(
                    f"claims.toml, claims {claim.id}: no source {sorted(strange)[0]}",
                    "the ids of [[sources]] in tables.toml",
                    "add the source to tables.toml",
                )
    return ledger
