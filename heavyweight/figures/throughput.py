"""Tokens a second by concurrent users, and the ratio of two arms."""

from __future__ import annotations

import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes

from heavyweight.article import Article
from heavyweight.figures.canvas import (
    GREY,
    StudyFigure,
    arms_in,
    dodge,
    look,
    make,
    nothing,
    series,
    style,
    users_axis,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import by_length, number

BESIDE = 1.045  # single blocks stand beside their mean
INTERVALS = (
    "Points: geometric mean over blocks. Bars: 95% interval (Student's t over blocks, log scale); "
    "no bar: a single block. Small dots: single blocks"
)


def throughput(table: pd.DataFrame, cells: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """Total tok/s of each arm by concurrent users.

    Args:
        table: of ``estimates.throughput_table``.
        cells: of the assessment, one row a cell; INVALID ones are crosses.
        provenance: of the run.
    """
    note = f"{INTERVALS}{'; crosses: INVALID cells, not averaged in' if _invalid(cells) else ''}."
    seen = cells["instrument_tokens_seen_fraction"].min()
    if pd.notna(seen):
        note += f" Of the tokens sent at these loads, the client by itself sees {seen:.2%} or more."
    alt = "Total throughput by concurrent users: " + "; ".join(
        f"{rows['label'].iloc[0]} "
        + ", ".join(f"{number(r.tok_s)} tok/s at {r.users}" for r in rows.itertuples())
        for _, rows in table.dropna(subset="tok_s").groupby("arm", sort=False)
    )
    with look():
        figure, (axes,) = make(
            provenance, "Throughput by concurrent users", alt, table, height_in=3.9, notes=[note]
        )
        if not (cells["users"] > 0).any():
            nothing(axes, "no closed loop")
            return figure
        arms = arms_in(provenance, cells)
        for place, arm in enumerate(arms):
            shift = dodge(place, len(arms))
            _dots(axes, cells[cells["arm"] == arm], shift, style(provenance, arm)["color"])
            mine = table[table["arm"] == arm].dropna(subset="tok_s").sort_values("users")
            for nth, (length, rows) in enumerate(by_length(mine)):
                label = ", ".join(filter(None, (provenance.labels[arm], length)))
                look_of = style(provenance, arm) | {"alpha": 0.6**nth}
                series(
                    axes, rows["users"] * shift, rows["tok_s"], rows["low"], rows["high"],
                    label=label, **look_of,
                )  # fmt: skip
        users_axis(axes, cells["users"])
        axes.set_ylabel("tokens a second, all users (tok/s)")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        _legend_above(axes)
    return figure


def ratio(
    tables: dict[str, pd.DataFrame],
    contrasts: dict[str, tuple[str, str]],
    provenance: Provenance,
    article: Article | None = None,
) -> StudyFigure:
    """The ratio of two arms' throughput by concurrent users, on a logarithmic scale.

    Args:
        tables: contrast: table of ``estimates.ratio_table``.
        contrasts: contrast: numerator, denominator.
        provenance: of the run.
        article: its published ratios are drawn beside contrast A.
    """
    names = {
        name: f"{provenance.labels[above]} / {provenance.labels[below]}"
        for name, (above, below) in contrasts.items()
        if name in tables
    }
    alt = "Ratio of throughputs by concurrent users: " + "; ".join(
        f"{names[name]} "
        + ", ".join(
            f"{number(r.ratio)} at {r.users}"
            for r in tables[name].dropna(subset="ratio").itertuples()
        )
        for name in names
    )
    alt = alt if names else "This run compares no two servers"
    note = (
        "Points: geometric mean over blocks, paired inside each block. Bars: 95% interval "
        "(Student's t over blocks, log scale); no bar: a single block. "
        "Above 1 the first-named server is faster."
    )
    parts = [tables[name].assign(contrast=label) for name, label in names.items()]
    data = pd.concat(parts) if parts else pd.DataFrame()
    with look():
        figure, (axes,) = make(
            provenance, "How many times the throughput", alt, data, height_in=3.9, notes=[note]
        )
        users = [n for name in names for n in tables[name]["users"]]
        if not users:
            nothing(axes, "no closed loop" if names else "this run compares no two servers")
            return figure
        axes.axhline(1, color=GREY, linewidth=1.2)
        for place, (name, label) in enumerate(names.items()):
            found = tables[name].dropna(subset="ratio").sort_values("users")
            for nth, (length, rows) in enumerate(by_length(found)):
                look_of = style(provenance, contrasts[name][1]) | {"alpha": 0.6**nth}
                series(
                    axes, rows["users"] * dodge(place, len(names)), rows["ratio"], rows["low"],
                    rows["high"], label=", ".join(filter(None, (label, length))), **look_of,
                )  # fmt: skip
        if article is not None:
            published = article.throughput_table()["advantage"]
            axes.plot(
                published.index, published, linestyle="none", marker="D", markersize=7,
                markerfacecolor="white", markeredgecolor=GREY, markeredgewidth=1.4,
                label=f"as published ({article.article.setting.split(',')[0]})",
            )  # fmt: skip
            users += list(published.index)
        users_axis(axes, users)
        _ratio_axis(axes)
        _legend_above(axes)
    return figure


def _dots(axes: Axes, cells: pd.DataFrame, shift: float, color: tuple[float, ...]) -> None:
    """Single cells: valid ones as dots, INVALID ones as crosses."""
    valid = cells["valid"].astype(bool)
    x, y = cells["users"].astype(float) * shift * BESIDE, cells["throughput_tok_s"]
    axes.scatter(x[valid], y[valid], s=9, color=color, alpha=0.55, linewidths=0, zorder=4)
    axes.scatter(x[~valid], y[~valid], s=34, color=color, marker="x", linewidths=1.2, zorder=4)


def _invalid(cells: pd.DataFrame) -> bool:
    return not cells["valid"].astype(bool).all()


def _ratio_axis(axes: Axes) -> None:
    """A logarithmic axis of ratios, with 1 always on it and ticks that a reader knows."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    low, high = min(low, 0.8), max(high, 1.25)
    axes.set_ylim(low, high)
    steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    if high / low < 12:
        steps += [0.3, 0.4, 0.6, 0.8, 1.5, 3, 4, 6, 8]
    axes.yaxis.set_major_locator(ticker.FixedLocator(sorted(s for s in steps if low <= s <= high)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}x"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_ylabel("ratio of throughputs (log scale)")


def _legend_above(axes: Axes) -> None:
    """The legend over the axes, where it hides nothing."""
    entries = len(axes.get_legend_handles_labels()[0])
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2 if entries > 2 else max(entries, 1),
        borderaxespad=0.2, handlelength=3, columnspacing=1.6,
    )  # fmt: skip
