"""The VRAM table against parameters x bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from heavyweight import physics
from heavyweight.article import Article
from heavyweight.article.beside import printed
from heavyweight.audit.finding import Finding, listed, table_by
from heavyweight.tables import number

# Models that a row of the table is about: the smallest and the largest of common ones.
MODELS = {
    "7B to 8B": ("mistral-7b", "llama-3.1-8b"),
    "13B to 14B": ("llama-2-13b", "qwen2.5-14b"),
    "32B": ("qwen2.5-32b",),
    "70B": ("llama-3.1-70b",),
}
USERS, CONTEXT = 1, 4096  # what a server should hold at least beside the weights


@dataclass(frozen=True)
class Need:
    """What a row of the table says of one model, and what the model needs.

    Args:
        row: of the table.
        model: one that the row is about.
        fp16, q4: the published figures, taken as GB or as GiB.
    """

    row: str
    model: physics.Architecture
    fp16: float
    q4: tuple[float, float]

    @property
    def weights_bytes(self) -> float:
        """At 16 bits."""
        return physics.weights_bytes(self.model)

    @property
    def q4_bytes(self) -> float:
        """At 4 bits, as Ollama's Q4_K_M has them."""
        return physics.weights_bytes(self.model, physics.PRECISIONS["q4"])

    @property
    def with_cache_bytes(self) -> float:
        """Weights at 16 bits and the KV cache of one user."""
        return physics.memory_bytes(self.model, USERS, CONTEXT)

    @property
    def size(self) -> str:
        """Its parameters: ``14.8B``."""
        return f"{self.model.parameters / 1e9:.1f}B"


def needs(article: Article, models: physics.Models) -> list[Need]:
    """The VRAM table's rows, a line for each model they are about."""
    return [
        Need(row.models, models.model(name), row.fp16_gb, row.q4_gb)
        for row in article.vram
        for name in MODELS.get(row.models, ())
    ]


def vram(article: Article, models: physics.Models) -> Finding:
    """Whether the published memory holds the weights, in either unit.

    Args:
        article: the published tables.
        models: the architectures.
    """
    found = needs(article, models)
    largest = list({need.row: need for need in found}.values())
    short_gb = [n for n in largest if n.fp16 * 1e9 < n.weights_bytes]
    short_gib = [n for n in largest if n.fp16 * 2**30 < n.weights_bytes]
    q4_short = [n for n in largest if n.q4[0] * 2**30 < n.q4_bytes]
    left = [n.fp16 - physics.gib(n.weights_bytes) for n in largest if n not in short_gib]
    sentence = (
        f"Taken as GB, {len(short_gb)} of {len(largest)} FP16 figures are below the bare weights "
        "of the row's largest model"
        + (f" ({_against(short_gb, physics.gb)} GB)" if short_gb else "")
        + f". Taken as GiB, {len(short_gib)} "
        + ("is" if len(short_gib) == 1 else "are")
        + (f" ({_against(short_gib, physics.gib)} GiB)" if short_gib else "")
        + f"; the others leave {number(min(left))} to {number(max(left))} GiB for KV cache, "
        "activations and the runtime: the column is parameters x 2 bytes and nothing else. "
        + (
            f"The Q4 figures hold the weights, taken as GiB, except {_rows(q4_short)}."
            if q4_short
            else "The Q4 figures, taken as GiB, hold the weights in every row."
        )
    )
    return Finding(
        id="vram",
        title="Memory for weights and nothing else",
        severity="impossible" if short_gib else "unsupported" if short_gb else "ok",
        formula="weights (bytes) = parameters x bits / 8, 16 bits or 4.89 (Q4_K_M); GB = 10^9, "
        f"GiB = 2^30; KV cache: {USERS} user with {CONTEXT:,} tokens at 16 bits",
        sentence=sentence,
        table=table_by((_line(need) for need in found), "row"),
    )


def held(article: Article, models: physics.Models, memory_bytes: float) -> pd.DataFrame:
    """The VRAM table's rows: how much of each figure is weights alone, and what a machine can hold.

    Args:
        article: the published tables.
        models: the architectures.
        memory_bytes: that the machine's servers can use: of its GPUs, or its RAM.

    Returns:
        One row for each model that a row is about: row, model, fp16_gb and q4_gb (published, the
        lower end), fp16_share and q4_share (of the figure, in GB, that the weights alone take),
        fp16_held and q4_held (whether weights and the KV cache of one user fit the memory).
    """
    rows = []
    for need in needs(article, models):
        q4 = physics.memory_bytes(need.model, USERS, CONTEXT, bits=physics.PRECISIONS["q4"])
        rows.append(
            {
                "row": need.row,
                "model": need.model.name,
                "fp16_gb": need.fp16,
                "q4_gb": need.q4[0],
                "fp16_share": need.weights_bytes / (need.fp16 * 1e9),
                "q4_share": need.q4_bytes / (need.q4[0] * 1e9),
                "fp16_held": need.with_cache_bytes <= memory_bytes,
                "q4_held": q4 <= memory_bytes,
            }
        )
    return pd.DataFrame(rows)


def _line(need: Need) -> dict[str, str]:
    weights, cached = need.weights_bytes, need.with_cache_bytes
    return {
        "row": need.row,
        "model": need.model.name,
        "FP16, published": printed(need.fp16),
        "weights": f"{number(physics.gb(weights))} GB = {number(physics.gib(weights))} GiB",
        "and KV cache": f"{number(physics.gb(cached))} GB = {number(physics.gib(cached))} GiB",
        "weights fit": _fits(need.fp16, weights),
        "Q4, published": f"{need.q4[0]:g} to {need.q4[1]:g}",
        "Q4 weights": f"{number(physics.gb(need.q4_bytes))} GB = "
        f"{number(physics.gib(need.q4_bytes))} GiB",
        "Q4 weights fit": _fits(need.q4[0], need.q4_bytes),
    }


def _fits(figure: float, needed: float) -> str:
    """In which unit a figure holds some bytes."""
    return "yes" if needed <= figure * 1e9 else "as GiB" if needed <= figure * 2**30 else "no"


def _against(short: list[Need], unit: Callable[[float], float]) -> str:
    return listed(f"{printed(n.fp16)} of {number(unit(n.weights_bytes))}" for n in short)


def _rows(short: list[Need]) -> str:
    return listed(need.row for need in short)
