"""The client's own error by load, on idle and on busy cores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from heavyweight.figures.canvas import (
    DASHES,
    GREY,
    MARKERS,
    StudyFigure,
    dodge,
    look,
    make,
    series,
    users_axis,
)
from heavyweight.figures.provenance import Provenance
from heavyweight.tables import number

SETTINGS = {
    "alone": "on a core of its own",
    "busy": "on cores kept busy",
}
PANELS = {
    "lag": "Sent late",
    "ttft_error": "First text",
    "itl_error": "Between chunks",
    "tpot_error": "Per output token",
    "e2e_error": "End to end",
}
DECADE = 10**0.5  # an axis covers at least a decade, so that noise does not look like a trend
WANTED = {("ttft_error", 8): 0.6}  # ms on idle cores at so many users: what this client is to reach


def instrument(table: pd.DataFrame, provenance: Provenance) -> StudyFigure:
    """p99 of the client's absolute error by concurrent users, and its CPU; a line a setting.

    Args:
        table: of ``estimates.instrument_table``.
        provenance: of the run.
    """
    rows = table[(table["loop"] == "closed") & table["setting"].isin(list(SETTINGS))]
    title = "The client's own error, p99"
    if rows.empty:
        with look():
            figure, (axes,) = make(
                provenance, title, "The client was not calibrated", rows, height_in=1
            )
            axes.set_axis_off()
            axes.text(0, 0.5, "not measured in this run", color=GREY, va="center")
        return figure
    alt = f"{title}, by concurrent users: " + "; ".join(
        f"{PANELS[name]} {setting} "
        + ", ".join(f"{number(r[f'{name}_p99_ms'])} ms at {r['users']}" for _, r in mine.iterrows())
        for name in PANELS
        for setting, mine in rows.groupby("setting", sort=False)
    )
    with look():
        figure, panels = make(
            provenance, title, alt, rows, notes=[_note(rows)], height_in=5.0, nrows=2, ncols=3,
        )  # fmt: skip
        for axes, (name, heading) in zip(panels, PANELS.items(), strict=False):
            _errors(axes, rows, name)
            axes.set_title(heading)
        _cpu(panels[-1], rows)
        panels[-1].set_title("CPU of the client")
        panels[-1].set_ylabel("cores")
        for axes in (panels[0], panels[3]):
            axes.set_ylabel("milliseconds (log scale)")
        panels[4].set_xlabel("concurrent users")
        figure.legend(
            handles=[Line2D([], [], label=SETTINGS[s], **_style(s)) for s in _settings(rows)],
            loc="outside upper right", ncols=2, handlelength=3,
        )  # fmt: skip
    return figure


def _settings(rows: pd.DataFrame) -> list[str]:
    return [setting for setting in SETTINGS if setting in set(rows["setting"])]


def _style(setting: str) -> dict[str, Any]:
    place = list(SETTINGS).index(setting)
    color = sns.color_palette("colorblind")[place]
    return {"color": color, "marker": MARKERS[place], "linestyle": DASHES[place]}


def _note(rows: pd.DataFrame) -> str:
    """How it was measured, and how to read it."""
    timing = rows.iloc[0]
    wanted = any(users in set(rows["users"]) for _, users in WANTED)
    return (
        "How far the client's stamps are from an emulated server's, on the same clock"
        f" (server: {timing['server_ttft_ms']:g} ms to the first token, then"
        f" {timing['server_itl_ms']:g} ms each, {timing['output_tokens']} tokens)."
        " Points: p99, of fewer than 100"
        " values their maximum. Bars: 95% interval of order statistics; no bar: too few values."
        + (" Diamond: what the client is to reach on idle cores." if wanted else "")
    )


def _errors(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    """One quantity in both settings."""
    settings = _settings(rows)
    axes.set_yscale("log")
    for place, setting in enumerate(settings):
        mine = rows[rows["setting"] == setting].sort_values("users")
        y, low, high = (
            mine[f"{name}_{end}_ms"].to_numpy(float) for end in ("p99", "p99_low", "p99_high")
        )
        drawn = np.isfinite(y) & (y > 0)
        x = mine["users"].to_numpy(float) * dodge(place, len(settings))
        low = np.where(low > 0, low, np.nan)
        series(axes, x[drawn], y[drawn], low[drawn], high[drawn], **_style(setting))
    for (quantity, users), limit_ms in WANTED.items():
        if quantity == name and users in set(rows["users"]):
            axes.plot(
                [users], [limit_ms], marker="D", markersize=7, markerfacecolor="none",
                markeredgecolor=GREY, markeredgewidth=1.4, linestyle="none",
            )  # fmt: skip
    bottom, top = axes.get_ylim()
    middle = (bottom * top) ** 0.5
    axes.set_ylim(min(bottom, middle / DECADE), max(top, middle * DECADE))
    users_axis(axes, rows["users"], label=False)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.tick_params(axis="x", labelsize=8.5)


def _cpu(axes: Axes, rows: pd.DataFrame) -> None:
    """How much of a core the client takes."""
    none = np.full(len(rows), np.nan)
    for setting in _settings(rows):
        mine = rows[rows["setting"] == setting].sort_values("users")
        series(
            axes, mine["users"], mine["client_cpu_share"], none[: len(mine)], none[: len(mine)],
            **_style(setting),
        )  # fmt: skip
    users_axis(axes, rows["users"], label=False)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", labelsize=8.5)
