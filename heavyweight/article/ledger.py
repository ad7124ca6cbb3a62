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

from heavyweight.article.claim import Claim, Need
from heavyweight.article.rules import Contradiction, Kind, Source, Threshold
from heavyweight.article.tables import load_article
from heavyweight.article.toml import Strict, article_folder, read_toml
from heavyweight.errors import BadInput

TUNED = "tuned"


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
                    f"(sha256 {found}); a rule that changes needs a new version with the reason "
                    "and this sha256, and all else that decides does not change"
                )
        return self

    @property
    def version(self) -> int:
        """The newest version of the rules."""
        return len(self.versions)

    def rules_sha256(self, version: int) -> str:
        """Checksum of what decides in a version: its rules, and what no version changes.

        Only rules have versions. Published numbers, contrasts, the setting and the width of bands
        are the same in all; where one must be another, that is a new claim.
        """
        kept = {"id", "measure", "contrasts", "arms", "inverse", "users"}
        named = {name for claim in self.claims for name in claim.contrasts}
        named |= set(self.tuned.best_of) if TUNED in named else set()
        decides: dict[str, Any] = {
            "confidence": self.confidence,
            "band_fraction": self.band_fraction,
            "setting": self.setting.model_dump(),
            "contrasts": {
                name: c.model_dump() for name, c in self.contrasts.items() if name in named
            },
            "tuned": self.tuned.model_dump(),
            "claims": [
                {
                    **claim.model_dump(include=kept),
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
