"""The ledger of claims: what the article says, and the rule, older than any data, that decides it.

data/article/claims.toml explains the rules in words; judging by them is not done here.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from heavyweight.article.rules import Band, Contradiction, Kind, Range, Rule, Source, Threshold
from heavyweight.article.tables import load_article
from heavyweight.article.toml import Strict, article_folder, read_toml
from heavyweight.errors import BadInput

Need = Literal["article", "document", "run", "probe", "setting", "gpu", "gpus", "network"]
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


class Claim(Strict):
    """One claim: where it stands, in our words, what is measured, and what decides it."""

    id: str = Field(pattern=r"^[A-Z]\d?[a-z]?$")
    place: str
    claim: str
    quantity: str
    contrasts: list[str] = Field(default_factory=list)
    arms: list[str] = Field(default_factory=list)
    inverse: bool = False  # the quantity is denominator / numerator of the contrast
    users: int | None = None
    published: list[Published] = Field(default_factory=list)
    needs: list[Need] = Field(min_length=1)
    rules: list[Rule] = Field(min_length=1)

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
