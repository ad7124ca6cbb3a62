"""A load test in its folder: measured by one process or a fleet, judged, written.

::

    DIR/session.json             records.Session: the server as far as it is known, the machine
    DIR/n0008-<id>.parquet       one cell (r0012.5-... in an open loop); a search has several
    DIR/instrument/              the client's own error at this load
    DIR/load.json                what it says, as `heavyweight load --json` prints it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from heavyweight import __version__, load, store
from heavyweight.errors import BadInput, StudyError
from heavyweight.load.spec import LoadSpec
from heavyweight.loadtest import plan
from heavyweight.loadtest.calibration import calibrated
from heavyweight.loadtest.objective import Objective
from heavyweight.loadtest.plan import Load
from heavyweight.loadtest.result import finite, judge_load, limits_for
from heavyweight.loadtest.search import Range, Search
from heavyweight.loadtest.target import Target
from heavyweight.records import Session
from heavyweight.stats.requests import Requests

if TYPE_CHECKING:
    from heavyweight.loadtest.crew import Crew

LOAD_FILE = "load.json"
OnProgress = Callable[[dict[str, Any]], None]
OnProbe = Callable[[float, dict[str, Any]], None]


@dataclass
class LoadTest:
    """One load test.

    Args:
        target: the server.
        asked: what the user asked.
        folder: where it is kept; it must not hold another one.
        limits: of the validity checks, from study.toml.
        crew: workers that make the load together; None: one process here.
        calibrate: whether to measure the client's own error as well.
    """

    target: Target
    asked: Load
    folder: Path
    limits: Mapping[str, float]
    crew: Crew | None = None
    calibrate: bool = True

    def measure(self, load_: float | None, on_progress: OnProgress | None = None) -> dict[str, Any]:
        """Measure one load, and the client's own error at it, and judge it.

        Args:
            load_: users, or requests per second; None: a trace.
            on_progress: as of :func:`heavyweight.load.measure`.

        Returns:
            As of :func:`heavyweight.loadtest.result.judge_load`.

        Raises:
            BadInput: it cannot be made; nothing was written.
            Stopped, StudyError: nothing is kept of it.
        """
        spec = self.asked.spec(self.target, self.folder, load_)
        session = self._begin([spec.users])
        file, requests = self._cell(spec, on_progress)
        calibration, problem = self._calibrated(requests, on_progress)
        said = self._judged(file, requests, session, calibration)
        return said | {"instrument_problem": problem}

    def _judged(
        self, file: str, requests: Requests, session: Session,
        calibration: pd.DataFrame | None, *, instrument_too: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        limits = limits_for(self.limits, session, self.target.here)
        return judge_load(
            file, requests, session, limits, calibration, instrument_too=instrument_too
        )

    def _calibrated(
        self, requests: Requests, on_progress: OnProgress | None
    ) -> tuple[pd.DataFrame | None, str]:
        """The client's own error at a load, or why it is not known."""
        if not self.calibrate:
            return None, "it was not asked for"
        try:
            return calibrated(requests, self.folder, on_progress), ""
        except StudyError as error:  # also a stop: the load itself was measured and is kept
            return None, str(error)

    def search(
        self, objectives: list[Objective], range_: Range,
        on_progress: OnProgress | None = None, on_probe: OnProbe | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Find the highest load at which all objectives hold.

        Args:
            objectives: what must hold.
            range_: what is searched.
            on_progress: as of :func:`heavyweight.load.measure`.
            on_probe: called with the load and the result of each probe.

        Returns:
            The answer and all probes.

        Raises:
            As :meth:`measure`.
        """
        search = Search(range_, tuple(one.allowed for one in objectives))
        self.asked.spec(self.target, self.folder, range_.highest)  # refuse it before it begins
        session = self._begin([])
        probes: list[tuple[float, dict[str, Any]]] = []
        rows: list[Requests] = []
        notes: list[str] = []
        while (at := search.next()) is not None:
            spec = self.asked.spec(self.target, self.folder, at, search.probes + 1)
            try:
                file, requests = self._cell(spec, on_progress)
            except StudyError as error:  # what was probed before is an answer, if a wider one
                if not probes:
                    raise
                notes.append(f"the search ended early, at {at:g}: {error}")
                break
            said = self._judged(file, requests, session, None, instrument_too=False)
            tallies = [one.tally(requests) for one in objectives]
            punctual = on_time(requests, said)
            search.add(at, tallies, punctual)
            said |= {
                "at": at,
                "verdict": search.verdict(at),
                "client_on_time": punctual,
                "objectives": [
                    {"objective": o.text, "allowed": o.allowed, **asdict(t)}
                    for o, t in zip(objectives, tallies, strict=True)
                ],
            }
            probes.append((at, said))
            rows.append(requests)
            if on_probe is not None:
                on_probe(at, said)
        highest = max(range(len(probes)), key=lambda i: probes[i][0])
        calibration, problem = (
            (None, "the search was ended early")
            if notes
            else self._calibrated(rows[highest], on_progress)
        )
        for (_, probe), requests in zip(probes, rows, strict=True):
            probe.update(self._judged(probe["file"], requests, session, calibration))
        answer = search.answer()
        return {
            "objectives": [one.text for one in objectives],
            "unit": "users" if range_.whole else "requests/s",
            "highest_that_holds": answer.low,
            "lowest_that_fails": answer.high,
            "estimate": answer.point,
            "confidence": range_.confidence,
            "notes": [*answer.notes, *notes],
            "instrument_problem": problem,
            "probes": [said for _, said in probes],
        }

    def _begin(self, users: list[int]) -> Session:
        """Make the folder and say there what is measured."""
        folder = self.folder
        session = plan.session_of(self.target, folder.name, users)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = any(folder.iterdir())
        except OSError as error:
            raise BadInput(
                f"the folder {folder.name} cannot be made: {error.strerror}",
                "a folder that can be written to",
                "choose another one with --out",
            ) from error
        if taken:
            raise BadInput(
                f"the folder {folder.name} is not empty",
                "a new one, since nothing that was measured is overwritten",
                "choose another one with --out",
            )
        store.write_json(folder / store.SESSION_FILE, session)
        return session

    def _cell(self, spec: LoadSpec, on_progress: OnProgress | None) -> tuple[str, Requests]:
        """Measure one cell; its file's name and its rows."""
        if self.crew is None:
            path = load.measure(spec, on_progress)
        else:
            from heavyweight.loadtest import fleet  # not above: Dask takes a second to load

            path = fleet.measure(self.crew, spec, on_progress)
        file = store.CellFile(path)
        return path.name, Requests.read(file.requests(), file.cell)

    def write(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write load.json.

        Args:
            result: of :meth:`measure` or :meth:`search`.

        Returns:
            What was written: the result, and what was asked of whom; no header's value.
        """
        target, asked = self.target, self.asked
        said: dict[str, Any] = finite(
            {
                "heavyweight": __version__,
                "url": target.public_url,
                "server": {
                    "kind": target.server,
                    "version": target.version,
                    "model": target.public_model,
                    "emulated": target.emulated,
                    "headers": sorted(target.headers),
                },
                "asked": {
                    **{k: v for k, v in vars(asked).items() if k not in ("timeouts", "trace")},
                    "trace": asked.trace and asked.trace.name,
                    "timeouts": asked.timeouts.model_dump(),
                },
                **result,
            }
        )
        store.write_text(self.folder / LOAD_FILE, json.dumps(said, indent=2, default=str) + "\n")
        return said

    def discard(self) -> None:
        """Take away a folder in which nothing was measured."""
        if not self.folder.is_dir():
            return
        if all(path.name == store.SESSION_FILE for path in self.folder.iterdir()):
            (self.folder / store.SESSION_FILE).unlink(missing_ok=True)
            self.folder.rmdir()


def on_time(requests: Requests, said: Mapping[str, Any]) -> bool:
    """Whether the client sent when it had to; where nothing succeeded, that is not its fault.

    Args:
        requests: of a cell.
        said: of :func:`heavyweight.loadtest.result.judge_load`.
    """
    if not (requests.in_window & ~requests.failed).any():
        return not (requests.error == "client").any()
    return all(check["passed"] for check in said["checks"] if check["name"] == "client")


def new_folder(loads: Path, name: str) -> Path:
    """The next free folder ``<name>-<n>``.

    Raises:
        StudyError: they cannot be listed.
    """
    try:
        taken = {path.name for path in loads.iterdir()} if loads.is_dir() else set()
    except OSError as error:
        raise StudyError(f"{loads.name} cannot be listed: {error.strerror}") from error
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    return loads / f"{name}-{number}"
