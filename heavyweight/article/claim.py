"""One claim of the article: what it says, what is measured, and the rules that decide it."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from heavyweight.article.rules import Band, Kind, Range, Rule
from heavyweight.article.toml import Strict

Answer = Literal["reproduced", "refuted", "inconclusive"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)

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
    "peak_memory",
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


class Asks(Strict):
    """The probe that answers a claim: by yes or no, or by its number."""

    probe: str  # its name
    servers: list[str] = Field(default_factory=list)  # kinds that are asked; each must answer
    arms: list[str] = Field(default_factory=list)  # only of these; empty: of the claim's, or all
    yes: Literal["reproduced", "refuted"] = "reproduced"  # what the claim is where it says yes
    mixed: Literal["refuted", "inconclusive"] = "inconclusive"  # ... where blocks contradict it
    unit: str | None = None  # of the probe's number, where the claim's rule is one of numbers

    @property
    def no(self) -> Literal["reproduced", "refuted"]:
        """What the claim is where the probe says no."""
        return "refuted" if self.yes == "reproduced" else "reproduced"


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
    asks: Asks | None = None
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
