"""The article audited without a machine: its numbers against physics and against each other.

Each finding is computed from data/article, data/hardware.toml and data/models.toml; its sentence
is made of the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from heavyweight import physics
from heavyweight.article import Article
from heavyweight.audit.finding import Finding, Severity
from heavyweight.audit.memory import Need, held, needs, vram
from heavyweight.audit.roofline import published_totals, roofline
from heavyweight.audit.throughput import eight_users, one_slot, ratios, readings, shape
from heavyweight.audit.waiting import lengths, same_figure, slots
from heavyweight.audit.words import Figure, figures, origin, sentences

__all__ = [
    "FIRST", "Figure", "Finding", "Need", "Severity", "eight_users", "figures", "findings",
    "first_three", "held", "lengths", "needs", "one_slot", "origin", "overview", "published_totals",
    "ratios", "readings", "roofline", "same_figure", "sentences", "shape", "slots", "vram",
]  # fmt: skip

# Three kinds of evidence, none of which needs another: physics excludes the numbers, a pocket
# calculator shows that a row contradicts itself, and the numbers are older than the article, from
# another GPU. What remains bears on details.
FIRST = ("roofline", "eight-users", "origin")


def findings(
    article: Article,
    hardware: physics.Hardware,
    models: physics.Models,
    *,
    gpu: str = "A40",
    model: str = "llama-3.1-8b",
    other_gpu: str = "RTX 4090",
) -> dict[str, Finding]:
    """All findings by their ids, in the order in which they are told.

    Args:
        article: the published tables.
        hardware: of data/hardware.toml.
        models: of data/models.toml.
        gpu: the article's.
        model: the article's.
        other_gpu: on which the numbers stood before.

    Raises:
        BadInput: no such GPU or model.
    """
    card, what = hardware.gpu(gpu), models.model(model)
    found = [
        roofline(article, card, hardware.gpu(other_gpu), what),
        eight_users(article),
        ratios(article),
        shape(article),
        one_slot(article),
        lengths(article),
        slots(article, card, what),
        same_figure(article),
        vram(article, models),
        sentences(article),
        origin(article),
    ]
    return {one.id: one for one in found}


def first_three(found: Mapping[str, Finding]) -> tuple[Finding, ...]:
    """The findings that a reader should see first: FIRST says why these."""
    return tuple(found[name] for name in FIRST)


def overview(found: Mapping[str, Finding]) -> pd.DataFrame:
    """All findings in a table: what they are, and how they are judged."""
    rows = {one.title: one.severity for one in found.values()}
    return pd.DataFrame({"judged": rows}).rename_axis(index=None, columns="finding")
