"""A run's folder -> one row a cell, one row a check, one row a percentile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from heavyweight.errors import BadInput, StoreError
from heavyweight.estimates.frames import LOAD, readable, sessions_table, typed
from heavyweight.estimates.instrument import instrument_table
from heavyweight.estimates.rows import (
    CELL_COLUMNS,
    CHECK_COLUMNS,
    INSTRUMENT_COLUMNS,
    PERCENTILE_COLUMNS,
    cell_row,
    percentile_row,
)
from heavyweight.estimates.telemetry import TELEMETRY_CELL_COLUMNS, telemetry_columns
from heavyweight.recordings import Recording
from heavyweight.records import Run, Session
from heavyweight.sealing import Sums, changed_since
from heavyweight.stats.requests import QUANTITIES, Requests
from heavyweight.stats.telemetry import Recorded
from heavyweight.store import CellFile, RunFolder, frame
from heavyweight.validity import check_cell
from heavyweight.validity.instrument import row_at

PERCENTS = (50.0, 95.0, 99.0)


@dataclass(frozen=True, eq=False)
class Assessment:
    """A run, judged cell by cell.

    Args:
        run: the run's record.
        cells: one row a cell: what it is, whether it counts (no check failed: of imported cells
            some cannot be told, and are named in ``untold``), throughput, percentiles in ms. A
            percentile that is not estimable is NaN, one that failures reach is infinite.
        checks: one row a cell and check; passed is missing where it cannot be told.
        percentiles: one row a cell, quantity and percentile, with its interval.
        sessions: one row a session: what the server and machine are, and its first cold start, ms.
        missing: one row a cell that was planned and is not there; its lengths are missing where the
            run does not tell them.
        instrument: the client's own error, one row a setting and load; see ``instrument_table``.
        problems: files that could not be read, in words.
        folder: that it was read from.
    """

    run: Run
    cells: pd.DataFrame
    checks: pd.DataFrame
    percentiles: pd.DataFrame
    sessions: pd.DataFrame
    missing: pd.DataFrame
    instrument: pd.DataFrame
    problems: tuple[str, ...]
    folder: RunFolder
    _files: dict[str, CellFile] = field(repr=False)

    def requests(self, cell_id: str) -> pd.DataFrame:
        """The rows of one cell, one a request.

        Args:
            cell_id: as in ``cells``, or its beginning.

        Raises:
            BadInput: no cell, or more than one, begins so.
        """
        return frame(self._file(cell_id))

    def arrays(self, cell_id: str) -> Requests:
        """The requests of one cell as arrays, in order of completion.

        Args:
            cell_id: as in ``cells``, or its beginning.

        Raises:
            BadInput: no cell, or more than one, begins so.
        """
        file = self._file(cell_id)
        return Requests.read(file.requests(), file.cell)

    def _file(self, cell_id: str) -> CellFile:
        found = [name for name in self._files if name.startswith(cell_id)]
        if len(found) != 1:
            raise BadInput(
                f"{len(found)} cells of {self.run.run} begin with {cell_id!r}",
                "the id of one cell",
                "take it from the column cell_id of the assessment's cells",
            )
        return self._files[found[0]]

    @property
    def arms(self) -> list[str]:
        """Arms in the order of the plan, then those that only the data have."""
        return list(dict.fromkeys([*self.run.arms, *sorted(self.cells["arm"].unique())]))

    def label(self, arm: str) -> str:
        """How an arm is called on figures."""
        return self.run.labels.get(arm, arm)


def assess(run: RunFolder, percents: Sequence[float] = PERCENTS) -> Assessment:
    """Judge all cells of a run and compute what each of them says.

    A run that is incomplete is no error: what is missing or cannot be read is listed.

    Args:
        run: the run's folder.
        percents: percentiles of the latencies.

    Raises:
        StoreError: run.json is missing, cut off, or lacks a limit.
        BadInput: a percentile is not between 0 and 100.
    """
    if not all(0 < percent < 100 for percent in percents):
        raise BadInput(f"percentiles {list(percents)}", "numbers between 0 and 100, both excluded")
    found, problems = _read(run)
    try:
        instrument = instrument_table(run.path)
    except StoreError as error:
        problems.append(str(error))
        instrument = instrument_table(run.path / "not readable")
    unequal = _unequal_prompts(requests for _, _, requests in found.values())
    cells, checks, percentiles = [], [], []
    for cell_id, (file, session, requests) in found.items():
        recorded = _recorded(file, problems)
        verdicts = check_cell(
            requests.cell, session, requests, run.run.limits, unequal, instrument, recorded
        )
        rows = [percentile_row(requests, q, p) for q in QUANTITIES for p in percents]
        own = row_at(instrument, requests, session.machine_id)
        cells.append(cell_row(requests, session, verdicts, rows, run.run.labels, own))
        cells[-1] |= telemetry_columns(recorded, requests)
        percentiles += [{"cell_id": cell_id, **row} for row in rows]
        shared = {name: cells[-1][name] for name in ("cell_id", "session", "arm", *LOAD)}
        for verdict in verdicts:
            row = asdict(verdict)
            checks.append({**shared, "check": row.pop("name"), **row})
    quantiles = [f"{q}_p{p:g}_ms" for q in QUANTITIES for p in percents]
    order = ["block", "arm", *LOAD, "cell_id"]
    cell_frame = typed(
        cells, [*CELL_COLUMNS, *quantiles, *INSTRUMENT_COLUMNS, *TELEMETRY_CELL_COLUMNS]
    )
    cell_frame = cell_frame.sort_values(order, kind="stable", ignore_index=True)
    return Assessment(
        run=run.run,
        cells=cell_frame.astype({"valid": bool, "work_valid": bool}),
        checks=typed(checks, CHECK_COLUMNS).astype({"passed": "boolean"}),
        percentiles=typed(percentiles, PERCENTILE_COLUMNS),
        sessions=sessions_table(run),
        missing=_missing(run.run, cell_frame),
        instrument=instrument,
        problems=tuple(problems),
        folder=run,
        _files={cell_id: file for cell_id, (file, _, _) in found.items()},
    )


def _read(
    run: RunFolder,
) -> tuple[dict[str, tuple[CellFile, Session, Requests]], list[str]]:
    """All cells that can be read, by id, and what could not be read."""
    found: dict[str, tuple[CellFile, Session, Requests]] = {}
    problems: list[str] = []
    sums = _sums(run, problems)
    for folder, session in readable(run, problems):
        for file in folder.cells():
            try:
                if sums and sums.changed(file.path):
                    raise changed_since(run, [f"{folder.path.name}/{file.path.name}"])
                cell, table = file.cell, file.requests()
            except StoreError as error:
                problems.append(str(error))
                continue
            if cell.cell_id in found:
                problems.append(f"{folder.path.name}/{file.path.name} repeats a cell; left out.")
                continue
            found[cell.cell_id] = file, session, Requests.read(table, cell)
    return found, problems


def _sums(run: RunFolder, problems: list[str]) -> Sums | None:
    """The run's checksums; None: it was never sealed, or they cannot be read, which is told."""
    try:
        return Sums.read(run.path)
    except StoreError as error:
        problems.append(str(error))
        return None


def _recorded(file: CellFile, problems: list[str]) -> Recorded | None:
    """A cell's telemetry; one that cannot be read is told, and the cell stands without it."""
    try:
        recording = Recording.beside(file.path)
    except StoreError as error:
        problems.append(str(error))
        return None
    return None if recording is None else Recorded.read(recording, file.cell)


def _unequal_prompts(cells: Iterable[Requests]) -> set[str]:
    """Prompts that the servers of the run counted differently."""
    first: dict[str, float] = {}
    odd: set[str] = set()
    for r in cells:
        counted = ~np.isnan(r.prompt_tokens) & np.array(
            [one is not None for one in r.prompt_id], dtype=bool
        )
        for prompt, tokens in zip(r.prompt_id[counted], r.prompt_tokens[counted], strict=True):
            if first.setdefault(prompt, tokens) != tokens:
                odd.add(prompt)
    return odd


def _missing(run: Run, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that were planned and are not there; of any length where the run tells none."""
    known = LOAD if run.lengths else LOAD[:1]
    columns = ["block", "arm", *known]
    there = set(cells[columns].itertuples(index=False, name=None))
    lengths: list[tuple[int, ...]] = [(answered, asked) for asked, answered in run.lengths]
    planned = [
        (block, arm, users, *pair)
        for block in range(1, run.blocks + 1)
        for arm in run.arms
        for users in run.users
        for pair in lengths or [()]
    ]
    rows = [dict(zip(columns, cell, strict=True)) for cell in planned if cell not in there]
    return typed(rows, ("block", "arm", *LOAD))
