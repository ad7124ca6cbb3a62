"""What servers do: answers to questions, a join seen from the running stream, slots that free."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from heavyweight.figures.canvas import GREY, INK, StudyFigure, arms_in, look, make, style
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import interval, number
from heavyweight.tables.probes import answer, several

FILLS = {"yes": "#0173b2", "no": "#d55e00", "mixed": "#efd9ea", "unknown": "#e6e6e6"}
INKS = {"yes": "white", "no": "white", "mixed": INK, "unknown": INK}
QUESTION_CHARACTERS = 40
ROW_POINTS = 540.0  # of the numbers in one row: letters times their size
NUMBERS = {
    "overlap": "x the other's TTFT",
    "same-step": "of tokens in one step",
    "slot-recycling": "steps",
    "joining": "x as long a step",
    "prefix-cache": "x the first TTFT",
    "queue": "of requests refused",
    "queue-loading": "of requests refused",
    "abandoned": "ms until it stopped",
    "swap": "ms to first token",
    "memory-at-start": "MB after first token",
    "offline": "s to first token",
}
"""What the number in a cell is; probes that are not named show none."""
LIMIT_STEPS = 2


def mechanisms(over: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Servers by questions, with the answer, the trials and the number in each cell.

    Args:
        over: of ``estimates.probes_over_blocks``.
        provenance: of the run.
    """
    arms = arms_in(provenance, over)
    questions = dict(zip(over["probe"], over["question"], strict=True))
    alt = "; ".join(
        f"{question} "
        + ", ".join(
            f"{row['label']} {answer(row)}"
            for _, row in over[over["probe"] == probe].iterrows()
        )
        for probe, question in questions.items()
    )  # fmt: skip
    note = (
        "In a cell: the answer of all blocks together; trials of all blocks that say yes, of those"
        " that say anything; the probe's number with its 95% interval over blocks (Student's t),"
        " where it has one. Empty: the question says nothing of that server, or was not put to it."
    )
    with look():
        figure, (axes,) = make(
            provenance, "What the servers do", alt or "No probe", over,
            height_in=0.75 + 0.53 * max(len(questions), 2), notes=[note],
        )  # fmt: skip
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for x, arm in enumerate(arms):
            for y, probe in enumerate(questions):
                mine = over[(over["arm"] == arm) & (over["probe"] == probe)]
                _cell(axes, x, y, None if mine.empty else mine.iloc[0], ROW_POINTS / len(arms))
        labels = [textwrap.fill(provenance.labels[arm], 16) for arm in arms]
        axes.set_xticks(range(len(arms)), labels, fontsize=8.2, fontweight="bold")
        axes.xaxis.tick_top()
        told = [textwrap.fill(text, QUESTION_CHARACTERS) for text in questions.values()]
        axes.set_yticks(range(len(questions)), told, fontsize=7.4)
        axes.tick_params(length=0)
        axes.set_xlim(-0.5, max(len(arms), 1) - 0.5)
        axes.set_ylim(max(len(questions), 1) - 0.5, -0.5)
    return figure


def _cell(axes: Axes, x: int, y: int, row: pd.Series | None, points: float) -> None:
    """One answer, in words and in colour; its number is so small that it fits.

    Args:
        axes: to draw on.
        x: column.
        y: row.
        row: of the answer; None: the question was not put.
        points: letters that fit beside each other, times their size.
    """
    if row is None:
        axes.text(x, y, "·", ha="center", va="center", color=GREY)
        return
    said = str(row["answer"])
    axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=FILLS[said]))
    words = said if said != "mixed" else f"{row['blocks_yes']} yes, {row['blocks_no']} no"
    words += f"  {row['yes']}/{row['of']}" if several(row) else ""
    number_of = NUMBERS.get(str(row["probe"])) if pd.notna(row["value"]) else None
    lines = [(0.0, words, 8.4, "bold")]
    if number_of:
        shown = interval(row["value"], row["low"], row["high"])
        fits = min(7.2, points / len(shown))
        lines = [(-0.22, words, 8.4, "bold"), (0.07, shown, fits, "normal"),
                 (0.3, number_of, 6.2, "normal")]  # fmt: skip
    for below, text, size, weight in lines:
        axes.text(x, y + below, text, ha="center", va="center", color=INKS[said], fontsize=size,
                  fontweight=weight)  # fmt: skip


def joining(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """The time between two tokens of a running stream, before, at and after another one joins.

    Args:
        table: of ``estimates.joining_table``.
        provenance: of the run.
    """
    arms = arms_in(provenance, table)
    alt = "Time between tokens of a running stream around a join: " + "; ".join(
        _told(table[table["arm"] == arm], provenance.labels[arm]) for arm in arms
    )
    note = (
        "Each dot: a token of the running stream, all trials of all blocks. Dark band: from the"
        " joining request to its first token (its prompt is computed); light band: to its last"
        " token; medians over trials. Where the bands begin after the dots end, it waited."
    )
    rows = max(1, -(-len(arms) // 2))
    with look():
        figure, axes = make(
            provenance, "A request joins a running one", alt, table,
            height_in=0.7 + 1.75 * rows, notes=[note], nrows=rows,
            ncols=2 if len(arms) > 1 else 1, sharey=True,
        )  # fmt: skip
        for panel, arm in zip(axes, arms, strict=False):
            _joined(panel, table[table["arm"] == arm], provenance, arm)
        for panel in axes[len(arms) :]:
            panel.set_axis_off()
        for place, panel in enumerate(axes[: len(arms)]):
            if place % 2 == 0:
                panel.set_ylabel("ms between tokens\n(log scale)")
            if place >= len(arms) - 2:
                panel.set_xlabel("s after the joining request")
    return figure


def _told(rows: pd.DataFrame, label: str) -> str:
    """The median gap alone and while both run, in words."""
    before = rows.loc[rows["at_ms"] < 0, "gap_ms"].median()
    meanwhile = rows[(rows["at_ms"] > rows["first_ms"]) & (rows["at_ms"] <= rows["last_ms"])]
    later = f"{number(meanwhile['gap_ms'].median())} ms while both run"
    return f"{label} {number(before)} ms alone, " + (later if len(meanwhile) else "never together")


def _joined(axes: Axes, rows: pd.DataFrame, provenance: Provenance, arm: str) -> None:
    """One server's panel."""
    look_of = style(provenance, arm)
    trials = rows.drop_duplicates(["block", "trial"])
    first, last = (trials[name].median() / 1e3 for name in ("first_ms", "last_ms"))
    axes.axvspan(0, first, color="#c9c9c9", zorder=0, linewidth=0)
    axes.axvspan(first, last, color="#ededed", zorder=0, linewidth=0)
    axes.scatter(rows["at_ms"] / 1e3, rows["gap_ms"].clip(lower=0.05), s=5, alpha=0.45,
                 color=look_of["color"], linewidths=0)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.9)
    before = rows.loc[rows["at_ms"] < 0, "gap_ms"].median()
    if np.isfinite(before):
        axes.axhline(before, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(labelleft=True)
    axes.set_title(provenance.labels[arm], fontsize=9)


def recycling(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Steps from the end of a stream to the first token of the request that takes its slot.

    Args:
        table: of ``estimates.recycling_table``.
        provenance: of the run.
    """
    arms = arms_in(provenance, table)
    counts = table.groupby(["arm", "steps"]).size() if len(table) else pd.Series(dtype=int)
    alt = "Steps until a freed slot is taken: " + "; ".join(
        f"{provenance.labels[arm]} "
        + ", ".join(f"{n} trials {step:g}" for step, n in counts[arm].items())
        for arm in arms
    )
    note = (
        "Two slots, both taken, and a third request that waits. Counted are the steps of the"
        " stream that runs on, from the end of the other one to the first token of the third: 1 is"
        " the very next step, the third's whole prompt included. A disc: how many trials. Left of"
        " the dashed line: at once, by the rule of the claim."
    )
    with look():
        figure, (axes,) = make(
            provenance, "How soon a freed slot is taken", alt, table,
            height_in=0.9 + 0.5 * max(len(arms), 1), notes=[note],
        )  # fmt: skip
        for y, arm in enumerate(arms):
            color = style(provenance, arm)["color"]
            total = counts[arm].sum()
            for step, count in counts[arm].items():
                axes.scatter(step, y, s=90 + 420 * count / total, color=color, zorder=3)
                axes.text(step, y, str(count), ha="center", va="center", color="white",
                          fontsize=7.5, fontweight="bold", zorder=4)  # fmt: skip
        axes.axvline(LIMIT_STEPS + 0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(arms)), [provenance.labels[arm] for arm in arms])
        axes.set_ylim(max(len(arms), 1) - 0.4, -0.6)
        highest = max([LIMIT_STEPS + 2, *(table["steps"].astype(float))])
        axes.set_xlim(-0.6, highest + 0.6)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("decoding steps")
    return figure
