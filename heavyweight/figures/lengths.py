"""How a ratio and times move with the lengths of prompts and answers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patheffects import withStroke

from heavyweight.figures.canvas import (
    INK,
    StudyFigure,
    arms_in,
    arms_legend,
    dodge,
    look,
    make,
    nothing,
    series,
    style,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import number
from heavyweight.tables.curves import MEASURES

ORANGE, BLUE = "#d55e00", "#0173b2"  # told apart with every kind of colour vision
AHEAD = LinearSegmentedColormap.from_list("ahead", [ORANGE, "#ffffff", BLUE])
LESS_IS_BETTER = ("_ms", "_bytes")
NEAR = 0.15  # of two labels, on the log scale: they are told in one
LEAST = 1.25  # the colours reach to this ratio at least, so that noise looks like noise


def lengths_map(
    table: pd.DataFrame, provenance: Provenance, quantities: tuple[str, ...] = ("throughput_tok_s",)
) -> StudyFigure:
    """A contrast's ratios over the lengths of prompts and answers, a panel a measure.

    Blue: the first-named server is ahead; orange: the other. Every cell has its ratio and interval.

    Args:
        table: of ``estimates.lengths_table``, of one contrast and number of users.
        provenance: of the run.
        quantities: measures of the table.
    """
    rows = table[table["quantity"].isin(quantities)].dropna(subset="ratio")
    names = [provenance.labels[arm] for arm in table[["numerator", "denominator"]].iloc[0]]
    alt = f"{' / '.join(names)} by tokens in and out: " + "; ".join(
        f"{MEASURES[str(quantity)]} "
        + ", ".join(f"{number(r.ratio)} at {r.prompt_tokens} in, {r.output_tokens} out"
                    for r in mine.itertuples())
        for quantity, mine in rows.groupby("quantity", sort=False)
    )  # fmt: skip
    note = (
        "In each cell: the ratio, geometric mean over blocks, paired inside each block, and below "
        "it the 95% interval (Student's t over blocks, log scale; none: a single block). Blue: "
        f"{names[0]} is ahead; orange: {names[1]}; white: as good. Of times, less is better. "
        "Empty: not measured. *: the interval excludes 1."
    )
    with look():
        figure, panels = make(
            provenance, " / ".join(names), alt, rows, height_in=3.1, notes=[note],
            ncols=len(quantities), sharey=True,
        )  # fmt: skip
        asked = sorted(set(rows["prompt_tokens"].astype(int)))
        answered = sorted(set(rows["output_tokens"].astype(int)))
        reach = max([LEAST, *rows["ratio"], *(1 / rows["ratio"])])
        for axes, quantity in zip(panels, quantities, strict=True):
            if rows.empty:
                nothing(axes)
                continue
            _map(axes, rows[rows["quantity"] == quantity], asked, answered, reach, quantity)
        panels[0].set_ylabel("tokens of the answer")
    return figure


def length_times(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """TTFT by the length of prompts and TPOT by that of answers, with intervals.

    Args:
        table: of ``estimates.length_times_table``, of one number of users.
        provenance: of the run.
    """
    panels_of = (
        ("ttft_p50_ms", "prompt_tokens", "output_tokens", "Time to first text", "prompt", "out"),
        ("tpot_p50_ms", "output_tokens", "prompt_tokens", "Time per output token", "answer", "in"),
    )
    known = table.dropna(subset="value")
    alt = "; ".join(
        f"{title} in ms, {label}: "
        + ", ".join(f"{number(r.value)} at {r.prompt_tokens} in, {r.output_tokens} out"
                    for r in mine.itertuples())
        for quantity, _, _, title, _, _ in panels_of
        for label, mine in known[known["quantity"] == quantity].groupby("label", sort=False)
    )  # fmt: skip
    note = (
        "Medians: geometric mean over blocks. Bars: 95% interval (Student's t over blocks, log "
        "scale); no bar: a single block. A line joins the loads that differ in one length only; "
        "the other stands at its end."
    )
    with look():
        figure, panels = make(
            provenance, "Reading and writing", alt, known, height_in=3.7, notes=[note], ncols=2
        )
        for axes, (quantity, along, other, title, what, word) in zip(
            panels, panels_of, strict=True
        ):
            mine = known[known["quantity"] == quantity]
            if mine.empty:
                nothing(axes)
                continue
            for arm in provenance.labels:
                _lines(axes, mine[mine["arm"] == arm], along, other, word, style(provenance, arm))
            axes.set_title(f"{title} (ms)")
            axes.set_xlabel(f"tokens of the {what} (log scale)")
            _axis(axes, mine[along])
        arms_legend(figure, arms_in(provenance, known), provenance)
    return figure


def _map(
    axes: Axes, rows: pd.DataFrame, asked: list[int], answered: list[int], reach: float,
    quantity: str,
) -> None:  # fmt: skip
    """One measure: cells of ratios, white at 1."""
    better = -1.0 if quantity.endswith(LESS_IS_BETTER) else 1.0
    grid = np.full((len(answered), len(asked)), np.nan)
    for r in rows.itertuples():
        x, y = asked.index(int(r.prompt_tokens)), answered.index(int(r.output_tokens))
        grid[y, x] = better * np.log(r.ratio)
    span = np.log(reach)
    axes.imshow(
        grid, origin="lower", aspect="auto", cmap=AHEAD, interpolation="nearest",
        norm=Normalize(-span, span),
    )  # fmt: skip
    for r in rows.itertuples():
        x, y = asked.index(int(r.prompt_tokens)), answered.index(int(r.output_tokens))
        told = np.isfinite(r.low) and np.isfinite(r.high)
        sure = "*" if told and (r.low > 1 or r.high < 1) else ""
        text = f"{number(r.ratio)}{sure}" + f"\n{number(r.low)} to {number(r.high)}" * bool(told)
        dark = abs(grid[y, x]) > 0.75 * span
        axes.text(x, y, text, ha="center", va="center", fontsize=7.6,
                  color="white" if dark else INK)  # fmt: skip
    for x, y in product(range(len(asked)), range(len(answered))):
        if np.isnan(grid[y, x]):
            axes.text(x, y, "-", ha="center", va="center", fontsize=8, color="#999999")
    axes.set_xticks(range(len(asked)), [str(n) for n in asked])
    axes.set_yticks(range(len(answered)), [str(n) for n in answered])
    axes.set_xlabel("tokens of the prompt")
    axes.set_title(f"{MEASURES[quantity]}")
    axes.grid(visible=False)


def _lines(
    axes: Axes, rows: pd.DataFrame, along: str, other: str, word: str, form: dict[str, Any]
) -> None:
    """One server: a line for each length of the other kind, which is told where it ends."""
    told: list[tuple[float, float, list[str]]] = []
    lines = [(length, part.sort_values(along)) for length, part in rows.groupby(other)]
    for nth, (length, line) in enumerate(lines):
        shift = dodge(nth, len(lines))
        series(axes, line[along].astype(float) * shift, line["value"], line["low"], line["high"],
               **form, alpha=max(0.75**nth, 0.4))  # fmt: skip
        x, y = float(line[along].iloc[-1]), float(line["value"].iloc[-1])
        near = [names for at, high, names in told if at == x and abs(np.log(high / y)) < NEAR]
        if near:
            near[0].append(str(length))
        else:
            told.append((x, y, [str(length)]))
    for x, y, names in told:
        axes.annotate(
            f"{', '.join(names)} {word}", (x, y), xytext=(9, 5), textcoords="offset points",
            fontsize=7.2, color=form["color"], va="bottom",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _axis(axes: Axes, lengths: pd.Series) -> None:
    """Both axes logarithmic, a tick at each length."""
    ticks = sorted({int(n) for n in lengths})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(ticker.FixedLocator(ticks))
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.0f}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlim(ticks[0] / 1.4, ticks[-1] * 3.4)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 1.25)
