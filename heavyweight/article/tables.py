"""The article's published tables and the sources of its numbers."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from heavyweight.article.toml import Strict, article_folder, read_toml


class About(Strict):
    """What the article is and what it says of its setting."""

    title: str
    site: str
    date: datetime.date
    ollama_version: str
    vllm_version: str
    setting: str
    lengths: str
    credited_to: str
    approximate: bool


class Throughput(Strict):
    """One row of the throughput table; totals over all users, tok/s."""

    users: int = Field(gt=0)
    vllm_tok_s: float | None = None
    ollama_tok_s: float | None = None
    vllm_per_request_tok_s: float | None = None
    ollama_per_request_tok_s: float | None = None
    advantage: float
    note: str = ""


class Latency(Strict):
    """One row of the latency table, ms."""

    users: int = Field(gt=0)
    quantity: Literal["ttft", "e2e"]
    statistic: Literal["p50", "p95", "p99"]
    title: str
    vllm_ms: float
    ollama_ms: float


class ColdStart(Strict):
    """Restart to the first answer, s."""

    vllm_s: float
    ollama_s: float


class Vram(Strict):
    """One row of the VRAM table, GB."""

    models: str
    fp16_gb: float
    q4_gb: tuple[float, float]


class System(Strict):
    """One row of the system table, in our words."""

    what: str
    ollama: str
    vllm: str


class Decision(Strict):
    """One row of the decision table."""

    when: str
    choose: Literal["ollama", "vllm", "either"]


class Sentences(Strict):
    """Two sentences of the article's on one thing, in our words."""

    on: str
    one: str
    another: str


class Origin(Strict):
    """A document: where the article's numbers were looked for, or a version's own word."""

    id: str
    title: str
    publisher: str
    date: datetime.date | None = None
    address: str = ""
    setting: str = ""
    says: str = ""
    finding: str


class Article(Strict):
    """tables.toml."""

    schema_: Literal[1] = Field(alias="schema")
    article: About
    throughput: list[Throughput] = Field(min_length=1)
    latency: list[Latency] = Field(min_length=1)
    cold_start: ColdStart
    vram: list[Vram]
    system: list[System]
    decision: list[Decision]
    sentences: list[Sentences]
    sources: list[Origin]

    @model_validator(mode="after")
    def _rows_once(self) -> Self:
        for what, keys in (
            ("throughput", [row.users for row in self.throughput]),
            ("latency", [(row.users, row.quantity, row.statistic) for row in self.latency]),
            ("sources", [row.id for row in self.sources]),
        ):
            if len(set(keys)) < len(keys):
                raise ValueError(f"{what}: a row stands twice")
        return self

    def throughput_table(self) -> pd.DataFrame:
        """The throughput table as it is printed; index: users."""
        return pd.DataFrame([row.model_dump() for row in self.throughput]).set_index("users")

    def latency_table(self) -> pd.DataFrame:
        """The latency table as it is printed, ms; index: users, quantity, statistic."""
        rows = pd.DataFrame([row.model_dump() for row in self.latency])
        return rows.set_index(["users", "quantity", "statistic"])


def load_article(folder: Path | None = None) -> Article:
    """Read and check tables.toml.

    Args:
        folder: where it lies; data/article of the study by default.

    Raises:
        BadInput: the file is missing or does not fit; the message names the place.
    """
    return read_toml((folder or article_folder()) / "tables.toml", Article)
