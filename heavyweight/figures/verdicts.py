"""The scoreboard: what the article printed, what was measured, and the verdict; and the counts."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from heavyweight.article.rules import Band, Equivalence, Range, Threshold
from heavyweight.claims import ANSWERS, Part, Verdict
from heavyweight.figures.canvas import GREY, INK, StudyFigure, look, make
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import interval, load_interval

COLORS = {"reproduced": "#0173b2", "refuted": "#d55e00", "inconclusive": GREY}
MARKERS = {"reproduced": "o", "refuted": "X", "inconclusive": "s"}
HATCHES = {"reproduced": "", "refuted": "//", "inconclusive": ".."}
ROW_IN = 0.34
NOTHING = "No claim could be held against a measured number."
Row = tuple[Verdict, Part]


def scoreboard(verdicts: Sequence[Verdict], provenance: Provenance) -> StudyFigure:
    """Each claim that was held against a measured number, on one logarithmic axis.

    Args:
        verdicts: of ``claims.judge``.
        provenance: of the run.
    """
    rows: list[Row] = [
        (verdict, part)
        for verdict in verdicts
        for part in verdict.measured
        if part.kind != "absolute" and part.counts
    ]
    alt = "Claims held against measured numbers: " + (
        "; ".join(f"{v.claim.id} {_told(p)}, {p.answer}" for v, p in rows) or NOTHING
    )
    notes = [
        "Filled mark and bar: measured ratio with its interval over blocks (95%, Student's t; N* "
        "near the edge of the loads by inversion; E1: 90%, as its rule asks). Shaded: where the "
        "claim is reproduced, by a rule that is older than the data. Open diamond: as published. "
        "An arrow: the interval goes on. In brackets: what is left after Holm's correction over "
        "all tests.",
    ]
    with look():
        figure, (axes,) = make(
            provenance, "The article's claims against what was measured", alt, _data(rows),
            height_in=1.0 + ROW_IN * max(len(rows), 2), notes=notes,
        )  # fmt: skip
        if rows:
            _draw(axes, rows)
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, NOTHING, ha="center", va="center", transform=axes.transAxes)
    return figure


def _data(rows: Sequence[Row]) -> pd.DataFrame:
    """What the board shows, one row a mark."""
    made = []
    for verdict, part in rows:
        assert part.estimate is not None  # rows have one
        published = [p.value for p in verdict.claim.published if p.value is not None]
        made.append(
            {
                "claim": verdict.claim.id, "of": part.of, "unit": part.unit,
                "published": published[0] if len(published) == 1 else None,
                "value": part.estimate.value, "low": part.estimate.low, "high": part.estimate.high,
                "answer": part.answer, "after_holm": part.adjusted,
            }
        )  # fmt: skip
    return pd.DataFrame(made)


def _draw(axes: Axes, rows: Sequence[Row]) -> None:
    """All rows, from the top."""
    low, high = _span(rows)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color=GREY, linewidth=0.9)
    for y, (verdict, part) in enumerate(rows):
        _row(axes, y, verdict, part, (low, high))
    axes.set_yticks(range(len(rows)), [_label(verdict, part) for verdict, part in rows])
    axes.tick_params(axis="y", labelsize=7.2, length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("ratio, or users for N* (log scale)")
    axes.legend(
        handles=[
            *(Line2D([], [], color=COLORS[a], marker=MARKERS[a], label=a) for a in ANSWERS),
            Line2D([], [], linestyle="none", marker="D", markerfacecolor="white",
                   markeredgecolor=INK, label="published"),
            Patch(facecolor="#dcdcdc", label="would reproduce"),
        ],
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, fontsize=7.6, handlelength=1.6,
        columnspacing=1.0, borderaxespad=0.2,
    )  # fmt: skip


def _row(axes: Axes, y: int, verdict: Verdict, part: Part, span: tuple[float, float]) -> None:
    """One claim: the region of its rule, the published number, the measured interval, the word."""
    estimate = part.estimate
    assert estimate is not None  # rows have one
    begin, end = _region(verdict, part)
    axes.barh(y, min(end, span[1]) - max(begin, span[0]), left=max(begin, span[0]), height=0.74,
              color="#dcdcdc", zorder=1)  # fmt: skip
    for published in verdict.claim.published:
        if published.value is not None and len(verdict.claim.published) == 1:
            axes.plot(published.value, y, marker="D", markersize=5.5, markerfacecolor="white",
                      markeredgecolor=INK, linestyle="none", zorder=4)  # fmt: skip
    color = COLORS[part.answer]
    if estimate.has_interval:
        left, right = max(estimate.low, span[0]), min(estimate.high, span[1])
        axes.plot([left, right], [y, y], color=color, linewidth=2.4, solid_capstyle="butt",
                  zorder=3)  # fmt: skip
        for edge, beyond, mark in (
            (left, estimate.low < span[0], "<"),
            (right, estimate.high > span[1], ">"),
        ):
            axes.plot(edge, y, marker=mark if beyond else "|", color=color, markersize=7,
                      markeredgewidth=1.6, zorder=3)  # fmt: skip
    if span[0] <= estimate.value <= span[1]:
        axes.plot(estimate.value, y, marker=MARKERS[part.answer], color=color, markersize=6.5,
                  markeredgecolor="white", zorder=5)  # fmt: skip
    after = "" if part.adjusted == part.answer else f"\n[{part.adjusted}]"
    axes.text(1.01, y, f"{_told(part)}\n{part.answer}{after.replace(chr(10), ' ')}",
              transform=axes.get_yaxis_transform(), fontsize=7, va="center", color=color,
              linespacing=1.15)  # fmt: skip


def _label(verdict: Verdict, part: Part) -> str:
    """The claim in our words, or what its rule was applied to where there are several."""
    several = sum(p.counts and p.kind != "absolute" for p in verdict.measured) > 1
    words = f"{verdict.claim.id}  {part.of if several else verdict.claim.claim}"
    return "\n".join(textwrap.wrap(textwrap.shorten(words, 96, placeholder=" ..."), 50))


def _told(part: Part) -> str:
    estimate = part.estimate
    assert estimate is not None  # rows have one
    ends = (estimate.value, estimate.low, estimate.high)
    return f"{load_interval(*ends)} users" if part.unit == "users" else f"{interval(*ends)}x"


def _region(verdict: Verdict, part: Part) -> tuple[float, float]:
    """Where a rule reproduces the claim."""
    rule = next(r for r in verdict.claim.rules if r.by == part.by and r.kind == part.kind)
    if isinstance(rule, Band | Range | Equivalence):
        return part.limits[0], part.limits[1]
    if isinstance(rule, Threshold) and rule.reproduced is not None:
        value = rule.reproduced.value
        return (value, math.inf) if rule.reproduced.op.startswith(">") else (0.0, value)
    return 0.0, 0.0


def _span(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of the axis: all values, published numbers and finite ends, but no endless interval."""
    seen = [1.0]
    for verdict, part in rows:
        assert part.estimate is not None  # rows have one
        seen += [part.estimate.value, part.estimate.low, part.estimate.high, *part.limits]
        seen += [p.value for p in verdict.claim.published if p.value is not None]
    usable = [v for v in seen if math.isfinite(v) and 0.02 <= v <= 500]
    return min(usable) / 1.3, max(usable) * 1.3


def tally(counts: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """How many claims of each kind have which verdict.

    Args:
        counts: of ``claims.counts``.
        provenance: of the run.
    """
    kinds = counts.drop(index="all")
    alt = "Claims by kind: " + "; ".join(
        f"{kind} " + ", ".join(f"{row[a]} {a}" for a in ANSWERS) for kind, row in kinds.iterrows()
    )
    note = (
        "Arithmetic and source need no machine; ratio and shape hold for the machine measured; "
        "mechanism is judged by a probe; absolute only in the article's own setting. "
        "A claim of several kinds stands under the one that decided it, an open one under the "
        "first."
    )
    with look():
        figure, (axes,) = make(
            provenance, f"{counts.loc['all', 'claims']} claims by kind and verdict", alt,
            counts.rename_axis("kind").reset_index(),
            height_in=2.9, notes=[note],
        )  # fmt: skip
        left = pd.Series(0, index=kinds.index)
        for answer in ANSWERS:
            bars = axes.barh(
                list(kinds.index), kinds[answer], left=left, color=COLORS[answer],
                hatch=HATCHES[answer], edgecolor="white", label=answer, height=0.7,
            )  # fmt: skip
            axes.bar_label(
                bars, labels=[str(n) if n else "" for n in kinds[answer]], label_type="center",
                fontsize=9, fontweight="bold", color="white",
                bbox={"facecolor": COLORS[answer], "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
            left = left + kinds[answer]
        axes.invert_yaxis()
        axes.set_xlabel("claims")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return figure
