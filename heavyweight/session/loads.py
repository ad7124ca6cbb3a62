"""A session of closed loops.

The notebooks session, parallel and lengths are made of calls into this module; one execution is one
session.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from heavyweight import store
from heavyweight.design import Load
from heavyweight.load import LoadSpec
from heavyweight.records import measured
from heavyweight.session.base import ServerSession
from heavyweight.session.cell import measure_cell


class Session(ServerSession):
    """One server measured under all its loads; see :class:`ServerSession`."""

    experiments: ClassVar[frozenset[str]] = frozenset({"session", "parallel", "lengths"})

    @property
    def planned(self) -> Sequence[object]:
        """Its loads in their order."""
        return self.setting.loads

    @property
    def missing(self) -> Sequence[object]:
        """Loads that are still to be measured, in their order."""
        return self.missing_loads

    @property
    def missing_loads(self) -> list[Load]:
        """Closed loops that are still to be measured, in their order."""
        done = self.finished()
        return [one for one in self.setting.loads if self.setting.cell_id(one) not in done]

    def finished(self) -> dict[str, store.CellFile]:
        """The cells that are on disk, by id."""
        return {file.cell.cell_id: file for file in store.SessionFolder(self.path).cells()}

    def measure(self) -> pd.DataFrame:
        """Measure every closed loop that is missing; each is on disk when it is done.

        A server that died is started again for the loads that are left, and the rows say so.

        Returns:
            One row a load: requests, errors, events counted.
        """
        with self._told():
            for one in self.missing_loads:
                self.revive()
                self._measure(one, self.path)
                self.progress.cell_done()
        return self.summary()

    def _measure(self, one: Load, folder: Path) -> Path:
        """Measure one load; its cell is written to the folder."""
        told = functools.partial(self.progress.cell, one.users)
        return measure_cell(self.server, self._spec(one, folder), told)

    def _spec(self, one: Load, folder: Path | None = None, **more: Any) -> LoadSpec:
        """What the load generator is to do for one cell.

        Args:
            one: its load.
            folder: of the cell; None: the session's.
            more: of :meth:`heavyweight.setting.Setting.load_spec`.
        """
        spec = self.setting.load_spec(
            one,
            self.server,
            run=self.folder.run.run,
            model=measured(self.record.model),
            folder=self.path,
            start_id=len(self.record.starts),
            stop_path=self.progress.stop_path,
            **more,
        )
        return spec if folder is None else spec.model_copy(update={"out_dir": folder})

    def summary(self) -> pd.DataFrame:
        """What lies on disk for this session: counts only; analysis/ computes the rest."""
        rows = []
        for file in store.SessionFolder(self.path).cells():
            table, cell = file.requests(), file.cell
            failed = len(table) - table.column("error").null_count
            rows.append(
                {
                    "users": cell.users,
                    "rate_per_s": cell.rate_per_s,
                    "of_capacity": cell.capacity_fraction,
                    "prompt_tokens": cell.prompt_tokens_target,
                    "output_tokens": cell.output_tokens,
                    "requests": len(table),
                    "errors": failed,
                    "window_s": round((cell.window_end_ns - cell.window_start_ns) / 1e9, 1),
                    "ended": cell.ended,
                    "file": file.path.name,
                }
            )
        return pd.DataFrame(rows)
