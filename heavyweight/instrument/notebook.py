"""The calibration of a run, as notebooks/instrument.ipynb calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pandas as pd

from heavyweight import design
from heavyweight.calibrations import FOLDER, InstrumentFolder
from heavyweight.errors import StudyError
from heavyweight.instrument.calibrating import calibrate, cells_of
from heavyweight.parameters import InstrumentParameters
from heavyweight.paths import study_file, study_root
from heavyweight.progress import Progress
from heavyweight.run import commit_of, open_run_to_calibrate


class Calibration:
    """The client measured at the loads of a run.

    Args:
        parameters: which run and loads; see :class:`heavyweight.parameters.InstrumentParameters`.

    Raises:
        BadInput: a parameter cannot be used.
    """

    def __init__(self, parameters: InstrumentParameters) -> None:
        self.parameters = parameters
        self._root = root = study_root()
        self.study = study = design.load_study(study_file(root / parameters.runs / parameters.run))
        profile = study.profile(parameters.profile)
        self.timing = study.calibration(profile)
        if parameters.seconds is not None:
            self.timing = self.timing.model_copy(update={"seconds": parameters.seconds})
        self.users = parameters.users or profile.users
        self.rates = parameters.rates or []
        self.run = open_run_to_calibrate(root, study, profile, parameters)
        self.folder = InstrumentFolder.of(self.run.path)
        self.progress = Progress(self.run.path, FOLDER)

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """The calibration that a notebook's parameters describe; unknown names are refused."""
        return cls(InstrumentParameters.from_namespace(namespace))

    def measure(self) -> pd.DataFrame:
        """Measure what is missing; each load is on disk when it is done.

        Returns:
            One row a load and setting: requests and errors; analysis/ computes the rest.
        """
        loads = cells_of(self.users, self.rates)
        self.progress.begin(len(loads), 0)
        try:
            with self.progress.interruptible():
                calibrate(
                    self.folder.path,
                    self.timing,
                    run=self.run.run.run,
                    seed=self.study.seed,
                    users=self.users,
                    rates=self.rates,
                    prompt_tokens=self.study.same.prompt_tokens,
                    commit=commit_of(self._root),
                    stop_path=self.progress.stop_path,
                    on_progress=self._report,
                )
        except BaseException as error:
            self.progress.fail(error if isinstance(error, StudyError) else repr(error))
            raise
        self.progress.state["cells_done"] = len(loads)
        self.progress.end()
        return self.summary()

    def _report(self, setting: str, done: int, state: dict[str, Any]) -> None:
        self.progress.state["cells_done"] = done
        self.progress.cell(0, state | {"phase": f"{setting}, {state.get('phase', 'start')}"})

    def summary(self) -> pd.DataFrame:
        """What lies on disk: counts only."""
        rows = []
        for pair in self.folder.pairs():
            cell, table = pair.client.cell, pair.client.requests()
            rows.append(
                {
                    "setting": pair.setting,
                    "users": cell.users or None,
                    "rate_per_s": cell.rate_per_s,
                    "requests": len(table),
                    "errors": len(table) - table.column("error").null_count,
                    "window_s": round((cell.window_end_ns - cell.window_start_ns) / 1e9, 1),
                    "file": pair.client.path.name,
                }
            )
        return pd.DataFrame(rows)
