"""The rules that decide a claim; data/article/claims.toml explains them in words."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from heavyweight.article.toml import Strict

Kind = Literal["arithmetic", "source", "mechanism", "ratio", "shape", "absolute"]


class Condition(Strict):
    """One side of a threshold, to be met by the whole interval."""

    op: Literal["<", "<=", ">", ">="]
    value: float


class _Rule(Strict):
    kind: Kind
    of: str | None = None  # the published number, server or quantity, where there are several


class Band(_Rule):
    """The interval against a band around a published value, symmetric on the log scale."""

    by: Literal["band"]
    fraction: float | None = None  # the ledger's where it is not given


class Range(_Rule):
    """The interval against a published range, widened as a band is."""

    by: Literal["range"]
    fraction: float | None = None


class Threshold(_Rule):
    """The whole interval against a number on each side; a side that is not given never decides."""

    by: Literal["threshold"]
    reproduced: Condition | None = None
    refuted: Condition | None = None
    contrast: str | None = None
    every_contrast: bool = False
    noise: str | None = None
    what: str | None = None
    parameters: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sides_apart(self) -> Self:
        if self.reproduced is None and self.refuted is None:
            raise ValueError("give reproduced, refuted or both")
        if self.reproduced and self.refuted:
            up = self.reproduced.op.startswith(">")
            low, high = (self.refuted, self.reproduced) if up else (self.reproduced, self.refuted)
            both_at_once = low.value == high.value and low.op == "<=" and high.op == ">="
            facing = low.op.startswith("<") and high.op.startswith(">")
            if not facing or low.value > high.value or both_at_once:
                raise ValueError("reproduced and refuted overlap")
        return self


class Equivalence(_Rule):
    """Two one-sided tests: the (1 - 2 alpha) interval inside low..high."""

    by: Literal["equivalence"]
    low: float = Field(gt=0)
    high: float
    alpha: float = Field(gt=0, lt=0.5)

    @model_validator(mode="after")
    def _around_one(self) -> Self:
        if not self.low < 1 < self.high:
            raise ValueError("equality, 1, must lie between low and high")
        return self


class Agreement(_Rule):
    """Two numbers of the article's own for one thing, at most a fraction apart."""

    by: Literal["agreement"]
    what: str
    left: float
    right: float
    fraction: float = Field(gt=0)


class Bound(_Rule):
    """A published number against a limit from physics."""

    by: Literal["bound"]
    side: Literal["upper", "lower"]
    what: str
    value: float
    unit: str


class Contradiction(_Rule):
    """Refuted if another claim of the article's is reproduced."""

    by: Literal["contradiction"]
    other: str
    what: str


class _Told(_Rule):
    reproduced: str
    refuted: str
    inconclusive: str | None = None


class Probe(_Told):
    """What a machine does when asked."""

    by: Literal["probe"]
    each_server: bool = False
    parameters: dict[str, float] = Field(default_factory=dict)


class Source(_Told):
    """What a document says; documents are sources of tables.toml."""

    by: Literal["source"]
    documents: list[str]
    each_document: bool = False
    suffices: bool = False


Rule = Annotated[
    Band | Range | Threshold | Equivalence | Agreement | Bound | Contradiction | Probe | Source,
    Field(discriminator="by"),
]
