"""The article's numbers against bounds and against each other: no run stands behind these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from heavyweight import physics
from heavyweight.article import Article
from heavyweight.article.beside import printed
from heavyweight.audit import Need, published_totals, readings
from heavyweight.audit.finding import people
from heavyweight.audit.memory import CONTEXT, USERS
from heavyweight.figures.canvas import (
    DASHES,
    GREY,
    INK,
    MARKERS,
    StudyFigure,
    look,
    make,
    users_axis,
)
from heavyweight.tables import number

RED = "#b3261e"


class Computed:
    """What stands under a figure that no run is behind."""

    emulated = False
    imported = ""

    def footer(self) -> list[str]:
        """Where its numbers are from."""
        return [
            "Computed from the article's own numbers (data/article), data/hardware.toml and "
            "data/models.toml; nothing was measured."
        ]


def roofline(
    article: Article, gpus: Sequence[physics.Gpu], model: physics.Architecture
) -> StudyFigure:
    """vLLM's published totals by users, and what the memory of GPUs allows.

    Args:
        article: the published tables.
        gpus: the article's first.
        model: the article's, at 16 bits.
    """
    totals = published_totals(article)
    ends = min(totals) / 1.45, max(totals) * 1.25
    users = np.geomspace(*ends, 60)
    steps = {gpu.name: physics.steps_per_s_at_most(gpu, model) for gpu in gpus}
    first = gpus[0].name
    above = {n: tok_s for n, tok_s in totals.items() if tok_s > n * steps[first]}
    below = {n: tok_s for n, tok_s in totals.items() if n not in above}
    alt = (
        f"Published throughput of vLLM against the most that memory allows to {model.title}: "
        + "; ".join(
            f"{people(n)} {printed(tok_s)} tok/s, at most "
            + " and ".join(f"{number(n * step)} on the {name}" for name, step in steps.items())
            for n, tok_s in totals.items()
        )
    )
    note = (
        "Lines: users x memory bandwidth / weights read in a decode step; KV cache, compute and "
        "all overhead left out. Speculative decoding is outside of the bound."
    )
    data = pd.DataFrame(
        [
            {"users": n, "published_tok_s": tok_s}
            | {f"at most, {name} (tok/s)": n * step for name, step in steps.items()}
            for n, tok_s in totals.items()
        ]
    )
    with look():
        figure, (axes,) = make(
            Computed(), "Published throughput against the memory's bound", alt, data,
            height_in=3.9, notes=[note],
        )  # fmt: skip
        palette = sns.color_palette("colorblind")
        for place, (name, step) in enumerate(steps.items()):
            axes.plot(users, users * step, color=palette[place], linestyle=DASHES[place],
                      label=f"{name}: at most")  # fmt: skip
        axes.fill_between(users, users * steps[first], 1e5, color=GREY, alpha=0.10, linewidth=0)
        _points(axes, above, "X", RED, f"published for the {first}: impossible")
        _points(axes, below, "o", INK, f"published for the {first}: possible")
        for n, tok_s in totals.items():
            axes.annotate(
                printed(tok_s), (n, tok_s), xytext=(-7, 5), textcoords="offset points",
                ha="right", color=INK,
            )  # fmt: skip
        axes.annotate(
            f"more than the memory\nof the {first} allows", (0.03, 0.93), xycoords="axes fraction",
            va="top", color=GREY,
        )  # fmt: skip
        users_axis(axes, totals)
        axes.set_xlim(*ends)
        axes.set_yscale("log")
        axes.set_ylim(30, 5000)
        axes.yaxis.set_major_locator(ticker.FixedLocator([50, 100, 200, 500, 1000, 2000, 5000]))
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
        axes.set_ylabel("tokens a second, all users (tok/s)")
        _legend(axes)
    return figure


def ollama_curve(article: Article) -> StudyFigure:
    """Ollama's published totals by users, for each reading of the row of 8."""
    curves = readings(article)
    single = next(iter(next(iter(curves.values())).values()))
    users = list(next(iter(curves.values())))
    alt = "Ollama's published throughput by users: " + "; ".join(
        f"the row of 8 read as {way}: {', '.join(f'{x:,.0f} at {n}' for n, x in curve.items())}"
        for way, curve in curves.items()
    )
    note = (
        "The row of 8 users gives no total for Ollama; three readings are possible. One slot gives "
        "all users together what it gives to one."
    )
    with look():
        figure, (axes,) = make(
            Computed(), "Ollama's published throughput, three ways to read a row", alt,
            pd.DataFrame(curves).rename_axis("users").reset_index(), height_in=3.7, notes=[note],
        )  # fmt: skip
        palette = sns.color_palette("colorblind")
        axes.axhline(single, color=GREY, linewidth=1.2)
        axes.annotate(
            f"one slot: about {printed(single)} tok/s", (max(users), single), xytext=(0, -5),
            textcoords="offset points", ha="right", va="top", color=GREY,
        )  # fmt: skip
        for place, (way, curve) in enumerate(curves.items()):
            axes.plot(
                users, list(curve.values()), color=palette[place], marker=MARKERS[place],
                linestyle=DASHES[place], markersize=7, markeredgecolor="white", label=way,
            )  # fmt: skip
        _read_as(axes, curves)
        users_axis(axes, users)
        axes.set_ylim(0, 1.12 * max(max(curve.values()) for curve in curves.values()))
        axes.set_ylabel("tokens a second, all users (tok/s)")
        _legend(axes, "row of 8 users read as")
    return figure


def vram(needs: Sequence[Need]) -> StudyFigure:
    """The published FP16 memory as a multiple of the bare weights, in both units.

    Args:
        needs: of ``audit.needs``.
    """
    units = {"GB, 10⁹ bytes": (1e9, "o"), "GiB, 2³⁰ bytes": (2**30, "s")}
    alt = "Published FP16 memory as a multiple of the weights: " + "; ".join(
        f"{need.size} {need.fp16 * 1e9 / need.weights_bytes:.2f} as GB, "
        f"{need.fp16 * 2**30 / need.weights_bytes:.2f} as GiB, "
        f"{need.with_cache_bytes / need.weights_bytes:.2f} needed with KV cache"
        for need in needs
    )
    note = (
        "Left of the line the published figure does not hold the weights. Bars: weights and the KV "
        f"cache of {USERS} user with {CONTEXT:,} tokens; activations and the runtime need more."
    )
    data = pd.DataFrame(
        [
            {"row": need.row, "model": need.model.name, "published": need.fp16,
             "weights_bytes": need.weights_bytes, "with_kv_cache_bytes": need.with_cache_bytes}
            for need in needs
        ]
    )  # fmt: skip
    with look():
        figure, (axes,) = make(
            Computed(), "Published FP16 memory against the bare weights", alt, data,
            height_in=1.5 + 0.42 * len(needs), notes=[note],
        )  # fmt: skip
        palette = sns.color_palette("colorblind")
        lanes = np.arange(len(needs))[::-1]
        need_most = [need.with_cache_bytes / need.weights_bytes for need in needs]
        axes.barh(lanes, [times - 0.8 for times in need_most], left=0.8, height=0.5, color=GREY,
                  alpha=0.18, linewidth=0)  # fmt: skip
        axes.axvspan(0, 1, color=RED, alpha=0.07, linewidth=0)
        axes.axvline(1, color=INK, linewidth=1.2)
        for place, (unit_bytes, marker) in enumerate(units.values()):
            for lane, need in zip(lanes, needs, strict=True):
                times = need.fp16 * unit_bytes / need.weights_bytes
                axes.plot(
                    times, lane + 0.13 - 0.26 * place, color=palette[place], markersize=8,
                    marker=marker, markeredgecolor="white", zorder=4,
                )  # fmt: skip
        axes.set_yticks(
            lanes, [f"{need.model.name}\n{need.fp16:g} for {need.row}" for need in needs]
        )
        axes.set_ylim(-0.6, len(needs) - 0.4)
        most = max(need.fp16 * 2**30 / need.weights_bytes for need in needs)
        axes.set_xlim(0.85, max(most, *need_most) + 0.02)
        axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
        axes.set_xlabel("of the weights alone, at 16 bits")
        axes.grid(visible=False, axis="y")
        handles = [
            Line2D([], [], color=palette[place], marker=marker, linestyle="none", markersize=8,
                   label=f"published, as {unit}")
            for place, (unit, (_, marker)) in enumerate(units.items())
        ]  # fmt: skip
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2,
                    borderaxespad=0.2)  # fmt: skip
    return figure


def _points(axes: Axes, points: Mapping[int, float], marker: str, color: str, label: str) -> None:
    if points:
        axes.plot(
            list(points), list(points.values()), linestyle="none", marker=marker, markersize=9,
            color=color, markeredgecolor="white", label=label, zorder=4,
        )  # fmt: skip


def _read_as(axes: Axes, curves: Mapping[str, Mapping[int, float]]) -> None:
    """The numbers at the points, those that all readings share once, beside no line."""
    points = {point for curve in curves.values() for point in curve.items()}
    loads = sorted({users for users, _ in points})
    for users, tok_s in sorted(points):
        shared = all(curve[users] == tok_s for curve in curves.values())
        where: dict[str, Any] = {"xytext": (0, 7), "ha": "center"}
        if users == loads[-1]:
            where = {"xytext": (0, -8), "ha": "center", "va": "top"}
        elif shared:
            where = {"xytext": (-6, 6), "ha": "right"}
        axes.annotate(
            f"{tok_s:,.0f}", (users, tok_s), textcoords="offset points", color=INK, **where
        )


def _legend(axes: Axes, title: str | None = None) -> None:
    """Above the axes, where it hides nothing."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2 if title is None else 3, title=title,
        alignment="left", borderaxespad=0.2, handlelength=3, columnspacing=1.6,
    )  # fmt: skip
