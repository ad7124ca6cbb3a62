"""What all figures have in common: size, colours, footer, stamp, and how a notebook shows them."""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike
from PIL import Image

from heavyweight.figures.provenance import Provenance

WIDTH_IN = 6.8
DPI = 160
MARGIN = 0.012  # of the width, left and right of title and footer
LINE_IN = 0.135  # of the footer
FOOTER_CHARACTERS, FOOTER_POINTS = 130, 7.2
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
INK = "#222222"
GREY = "#6b6b6b"
OVER_BLOCKS = "95% interval over blocks (Student's t)"


class StudyFigure(Figure):
    """A figure that knows its description, which a notebook and a page show to who cannot see it.

    It is made without pyplot: nothing is kept open, nothing is shown twice.
    """

    alt = ""
    data = pd.DataFrame()

    def csv(self) -> str:
        """The numbers that it shows, six significant digits, one header line; empty: none."""
        if self.data.empty:
            return ""
        return str(self.data.to_csv(index=False, float_format="%.6g", lineterminator="\n"))

    def png(self, dpi: int = DPI) -> bytes:
        """The figure as PNG: the same bytes on each run of the same versions."""
        drawn, image = io.BytesIO(), io.BytesIO()
        with look():
            self.savefig(drawn, format="png", dpi=dpi)
        # 256 colours are enough for a diagram, and the notebook is a third of the size.
        Image.open(drawn).convert("RGB").quantize(256).save(image, format="png", optimize=True)
        return image.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """PNG, description and data, for Jupyter."""
        width, height = self.get_size_inches()
        size = {"width": round(width * 100), "height": round(height * 100), "alt": self.alt}
        size["name"] = re.sub(r"\W+", "-", self.get_suptitle().lower()).strip("-")
        encoded = base64.b64encode(self.png()).decode()
        shown = {"image/png": encoded, "text/plain": f"Figure. {self.alt}"}
        if csv := self.csv():
            shown["text/csv"] = csv
        return shown, {"image/png": size}


def look() -> AbstractContextManager[None]:
    """The study's look; DejaVu Sans comes with matplotlib, so it is the same everywhere."""
    return mpl.rc_context(
        {
            **sns.axes_style("whitegrid"),
            "text.parse_math": False,  # a name with dollar signs is a name, and no formula
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9.5,
            "axes.edgecolor": "#bbbbbb",
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": "#e4e4e4",
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        }
    )


class Footing(Protocol):
    """What a figure is told of its data."""

    @property
    def emulated(self) -> bool:
        """Whether servers were imitated: stamped on it."""

    @property
    def imported(self) -> str:
        """Which other tools measured it, in words: stamped on it; empty: this study did."""

    def footer(self) -> list[str]:
        """What stands under it."""


def make(
    provenance: Footing,
    title: str,
    alt: str,
    data: pd.DataFrame,
    *,
    height_in: float = 3.6,
    notes: Iterable[str] = (),
    **grid: Any,
) -> tuple[StudyFigure, Sequence[Axes]]:
    """An empty figure with title, footer and, where it is due, the stamp.

    Args:
        provenance: of the data.
        title: above the axes.
        alt: description for who cannot see it, without a closing stop.
        data: the numbers that it shows, for who wants to have them.
        height_in: of the axes, in inches; the footer comes on top.
        notes: how to read it; before the setting.
        **grid: for ``Figure.subplots``.

    Returns:
        The figure and its axes, row by row.
    """
    lines = [line for paragraph in (*notes, *provenance.footer()) for line in wrapped(paragraph)]
    footer_in = LINE_IN * len(lines) + 0.12
    height = height_in + footer_in
    layout = ConstrainedLayoutEngine(
        rect=(0, footer_in / height, 1, 1 - footer_in / height), w_pad=0.06, h_pad=0.06
    )
    figure = StudyFigure(figsize=(WIDTH_IN, height), layout=layout)
    figure.data = data
    figure.alt = f"{alt}. {' '.join(provenance.footer())}"
    axes = figure.subplots(squeeze=False, **grid).ravel()
    figure.suptitle(title, x=MARGIN, ha="left", fontsize=11.5, fontweight="bold")
    figure.text(
        MARGIN, 0.06 / height, "\n".join(lines), fontsize=FOOTER_POINTS, color=GREY, va="bottom",
        linespacing=1.25,
    )  # fmt: skip
    stamp = "EMULATED" if provenance.emulated else "IMPORTED" if provenance.imported else ""
    if stamp:
        figure.text(
            0.5, 0.55, stamp, rotation=24, fontsize=58, fontweight="bold", color="#c00000",
            alpha=0.13, ha="center", va="center", zorder=10,
        )  # fmt: skip
    return figure, axes


def wrapped(paragraph: str) -> list[str]:
    """A paragraph of the footer in lines that end before the figure's right edge."""
    font = FontProperties(family="DejaVu Sans", size=FOOTER_POINTS)
    room = 72 * WIDTH_IN * (1 - 2 * MARGIN)
    for characters in range(FOOTER_CHARACTERS, 1, -2):
        lines = textwrap.wrap(paragraph, characters)
        widths = (text_to_path.get_text_width_height_descent(x, font, False)[0] for x in lines)
        if max(widths, default=0.0) <= room:
            break
    return lines


def arms_in(provenance: Provenance, table: pd.DataFrame) -> list[str]:
    """The arms of a table, in the order of the plan."""
    there = set(table["arm"])
    return [arm for arm in provenance.labels if arm in there]


def style(provenance: Provenance, arm: str) -> dict[str, Any]:
    """Colour, marker and dashes of an arm: the same on every figure of a run."""
    place = list(provenance.labels).index(arm)
    palette = sns.color_palette("colorblind")
    return {
        "color": palette[place % len(palette)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[place % len(DASHES)],
    }


def arms_legend(figure: StudyFigure, arms: Sequence[str], provenance: Provenance) -> None:
    """Which arm looks how, above the figure's panels."""
    figure.legend(
        handles=[
            Line2D([], [], label=provenance.labels[arm], **style(provenance, arm)) for arm in arms
        ],
        loc="outside upper right", ncols=min(len(arms), 2) or 1, handlelength=3,
    )  # fmt: skip


def users_axis(axes: Axes, users: Iterable[int], *, label: bool = True) -> None:
    """A logarithmic axis of users with a tick at each load."""
    loads = sorted(set(users))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(loads))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(loads[0] / 1.25, loads[-1] * 1.25)
    if label:
        axes.set_xlabel("concurrent users")


def dodge(place: int, places: int) -> float:
    """Factor by which a series is moved on a logarithmic axis so that intervals do not overlap."""
    return float(1.035 ** (place - (places - 1) / 2))


def series(
    axes: Axes, x: ArrayLike, y: ArrayLike, low: ArrayLike, high: ArrayLike, **line: Any
) -> None:
    """A line through estimates, with their intervals where there are any."""
    x, y, low, high = (np.asarray(v, dtype=float) for v in (x, y, low, high))
    known = np.isfinite(low) & np.isfinite(high)
    axes.plot(x, y, markeredgecolor="white", markeredgewidth=0.8, zorder=3, **line)
    axes.errorbar(
        x[known], y[known], yerr=[(y - low)[known], (high - y)[known]], fmt="none",
        ecolor=line["color"], elinewidth=1.6, capsize=4, capthick=1.6, zorder=2,
    )  # fmt: skip


def nothing(axes: Axes, why: str = "no VALID cell") -> None:
    """Say that there is nothing to draw, in place of an empty grid."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=GREY)
