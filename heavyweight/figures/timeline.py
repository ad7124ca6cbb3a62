"""The requests of a cell in time: where queueing and batching can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from heavyweight.errors import BadInput
from heavyweight.figures.canvas import GREY, StudyFigure, look, make, style
from heavyweight.figures.provenance import Provenance
from heavyweight.figures.strips import NOTE, STRIP_IN, same_scales, strips_of, used
from heavyweight.recordings import Recording
from heavyweight.records import Cell
from heavyweight.stats.telemetry import Recorded
from heavyweight.store import CellFile, RunFolder, frame
from heavyweight.tables import number
from heavyweight.text import count_of

SPANS = 1.6  # of the slowest cell's median response
MARKS_APART = 0.0035  # of the panel's width, below which arrivals run together


@dataclass(frozen=True)
class Shown:
    """One cell of a timeline.

    Args:
        cell: what was measured.
        requests: its rows, of ``store.frame``.
        recorded: its telemetry; None: none was recorded.
    """

    cell: Cell
    requests: pd.DataFrame
    recorded: Recorded | None = None

    @property
    def median_s(self) -> float:
        """Median response of the requests that succeeded, s; 0 if none did."""
        good = self.requests[self.requests["error"].isna()]
        spans = (good["done_ns"] - good["sent_ns"]).astype(float) / 1e9
        return float(spans.median()) if len(good) else 0.0


def cells_at(folder: RunFolder, users: int, block: int) -> list[Shown]:
    """The cells of all arms in one block at the largest load, up to ``users``, that all have.

    Args:
        folder: a run.
        users: the load wanted; where no arm has so few, the smallest. Arms that share no load are
            each shown at their own.
        block: which repetition; where it was not measured, the first that was.

    Raises:
        BadInput: the run has no cell.
    """
    files = [file for session in folder.sessions() for file in session.cells()]
    blocks = sorted({file.cell.block for file in files})
    if not blocks:
        raise BadInput(
            f"run {folder.run.run} has no cell",
            "a run that was measured",
            "let `heavyweight study run` go on",
        )
    block = block if block in blocks else blocks[0]
    loads: dict[str, dict[int, CellFile]] = {}
    for file in files:
        if file.cell.block == block:
            loads.setdefault(file.cell.arm, {})[file.cell.users] = file
    common = set.intersection(*map(set, loads.values()))
    shown = []
    for arm in (arm for arm in Provenance.of(folder).labels if arm in loads):
        possible = sorted(common or loads[arm])
        file = loads[arm][max((n for n in possible if n <= users), default=possible[0])]
        recording = Recording.beside(file.path)
        recorded = None if recording is None else Recorded.read(recording, file.cell)
        shown.append(Shown(file.cell, frame(file), recorded))
    return shown


def timeline(cells: Sequence[Shown], provenance: Provenance) -> StudyFigure:
    """Each request as a bar in its user's row, one panel a cell, from the start of its window.

    Where there is telemetry, what server and machine did meanwhile is drawn below the requests.

    Args:
        cells: of one load; one for each arm.
        provenance: of the run.
    """
    span_s = SPANS * max(shown.median_s for shown in cells) or 1.0
    users = cells[0].cell.users
    title = f"Requests in time, {count_of(users, 'user')}, block {cells[0].cell.block}"
    alt = (
        f"Timeline of {number(span_s)} s of requests with {users} concurrent users; "
        "median response "
        + ", ".join(f"{provenance.labels[s.cell.arm]} {number(s.median_s)} s" for s in cells)
    )
    notes = [
        "One row a user. Light: sent, no text yet (waiting for a slot, then reading the prompt). "
        "Dark: text is streaming. White marks, where there is room: arrivals of text. Red: failed. "
        "Dashed line: end of the window."
    ]
    strips = [strips_of(shown.recorded) for shown in cells]
    if any(strips):
        notes.append(NOTE)
        alt += "; below, the server's use of the machine meanwhile" + "".join(
            f", {provenance.labels[s.cell.arm]} {told}" for s in cells if (told := used(s.recorded))
        )
    tall_in = 0.75 + min(0.16 * users, 2.3)
    heights = [h for own in strips for h in (tall_in, *[STRIP_IN] * len(own))]
    with look():
        figure, panels = make(
            provenance, title, alt, _data(cells, span_s), notes=notes, nrows=len(heights),
            sharex=True, height_in=0.9 + sum(heights), gridspec_kw={"height_ratios": heights},
        )  # fmt: skip
        free = iter(panels)
        for shown, own in zip(cells, strips, strict=True):
            _panel(next(free), shown, span_s, provenance)
            for strip in own:
                strip(next(free), shown, style(provenance, shown.cell.arm)["color"])
        same_scales(figure.axes)
        panels[-1].set_xlabel("time from the start of the window (s)")
    return figure


def _data(cells: Sequence[Shown], span_s: float) -> pd.DataFrame:
    """The requests that are drawn: times in s from the start of the window."""
    tables = []
    for shown in cells:
        rows = shown.requests.dropna(subset="sent_ns")
        first_ns = [c[0] if len(c) else np.nan for c in rows["chunk_ns"]]
        times = {"sent_s": rows["sent_ns"], "first_text_s": first_ns, "done_s": rows["done_ns"]}
        table = pd.DataFrame(
            {"arm": shown.cell.arm, "user": rows["user"]}
            | {
                name: (np.asarray(ns, dtype=float) - shown.cell.window_start_ns) / 1e9
                for name, ns in times.items()
            }
            | {"error": rows["error"]}
        )
        tables.append(table[(table["done_s"] > 0) & (table["sent_s"] < span_s)])
    return pd.concat(tables)


def _panel(axes: Axes, shown: Shown, span_s: float, provenance: Provenance) -> None:
    """One cell's requests."""
    color = style(provenance, shown.cell.arm)["color"]
    origin = shown.cell.window_start_ns
    rows = shown.requests.dropna(subset="sent_ns")
    sent, done = ((rows[c].to_numpy(float) - origin) / 1e9 for c in ("sent_ns", "done_ns"))
    seen = (done > 0) & (sent < span_s)
    rows, sent, done = rows[seen], sent[seen], done[seen]
    chunks = [(np.asarray(stamps, float) - origin) / 1e9 for stamps in rows["chunk_ns"]]
    first = np.array([c[0] if len(c) else end for c, end in zip(chunks, done, strict=True)])
    lanes = rows["user"].to_numpy(float) + 1
    failed = rows["error"].notna().to_numpy()
    waiting = np.where(failed[:, None], (0.8, 0.1, 0.1, 0.45), (*color, 0.30))
    streaming = np.where(failed[:, None], (0.8, 0.1, 0.1, 1.0), (*color, 1.0))
    axes.barh(lanes, first - sent, left=sent, height=0.72, color=waiting, linewidth=0)
    axes.barh(lanes, done - first, left=first, height=0.72, color=streaming, linewidth=0)
    gaps = np.concatenate([np.diff(stamps) for stamps in chunks]) if chunks else np.empty(0)
    if len(gaps) and np.median(gaps) > MARKS_APART * span_s:
        marks = [
            [(x, lane - 0.3), (x, lane + 0.3)]
            for stamps, lane in zip(chunks, lanes, strict=True)
            for x in stamps[(stamps > 0) & (stamps < span_s)]
        ]
        axes.add_collection(LineCollection(marks, colors="white", linewidths=0.35, alpha=0.8))
    axes.axvline((shown.cell.window_end_ns - origin) / 1e9, color=GREY, linestyle="--", zorder=4)
    axes.set_xlim(0, span_s)
    axes.set_ylim(shown.cell.users + 0.6, 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(visible=False, axis="y")
    axes.set_ylabel("user")
    axes.set_title(provenance.labels[shown.cell.arm])
    light, dark = Patch(color=(*color, 0.30)), Patch(color=color)
    axes.legend(
        [light, dark], ["waiting", "streaming"],
        loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, borderaxespad=0.1, handlelength=1.2,
        labelcolor=GREY,
    )  # fmt: skip
