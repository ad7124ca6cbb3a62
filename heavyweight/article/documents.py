"""What documents say: one reading for each claim and document, made by a person."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from heavyweight.article.claim import Answer
from heavyweight.article.ledger import load_claims
from heavyweight.article.tables import load_article
from heavyweight.article.toml import Strict, article_folder, read_toml
from heavyweight.errors import BadInput


class Reading(Strict):
    """What one document says of one claim, and where that can be looked up."""

    claim: str
    document: str  # a source of tables.toml; empty where the claim's rule names none
    where: str
    says: str
    verdict: Answer
    read: datetime.date
    decides: bool = False  # of a claim that a machine must judge: the part that no machine can
    package: Literal["ollama", "vllm"] | None = None  # whose installed files hold the words
    file: str | None = None  # path inside the package
    pattern: str | None = None  # regular expression that the file must match


class Documents(Strict):
    """documents.toml."""

    schema_: Literal[1] = Field(alias="schema")
    readings: list[Reading]

    def of(self, claim: str) -> list[Reading]:
        """The readings for a claim, in the order of the file."""
        return [reading for reading in self.readings if reading.claim == claim]


def load_documents(folder: Path | None = None) -> Documents:
    """Read and check documents.toml.

    Args:
        folder: where it, claims.toml and tables.toml lie; data/article of the study by default.

    Raises:
        BadInput: the file is missing or does not fit, or names a claim or document that is not
            there; the message names the place.
    """
    folder = folder or article_folder()
    documents = read_toml(folder / "documents.toml", Documents)
    claims = load_claims(folder).by_id
    sources = {source.id for source in load_article(folder).sources} | {""}
    for reading in documents.readings:
        for kind, name, known in (
            ("claim", reading.claim, claims),
            ("source", reading.document, sources),
        ):
            if name not in known:
                raise BadInput(
                    f"documents.toml, reading of {reading.claim}: no {kind} {name!r}",
                    "an id of claims.toml, and one of [[sources]] in tables.toml",
                    "mend the id",
                )
    return documents
