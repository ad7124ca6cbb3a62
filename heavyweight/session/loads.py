"""A session of closed loops.

The notebooks session, parallel and lengths are made of calls into this module; one execution is one
session.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd

from heavyweight import load, store
from heavyweight.design import Experiment, Load
from heavyweight.session.base import ServerSession


class Session(ServerSession):
    """One server measured under all its loads; see :class:`ServerSession`."""

    experiments: ClassVar[frozenset[Experiment]] = frozenset({"session", "parallel", "lengths"})

    @property
    def planned(self) -> Sequence[object]:
        """Its loads in their order."""
        return self.setting.loads

    @property
    def missing(self) -> Sequence[object]:
        """What is still to be measured, in its order."""
        return self.loads_left

    @property
    def loads_left(self) -> list[Load]:
        """Loads that are still to be measured, in their order."""
        done = self._cells()
        return [one for one in self.setting.loads if self.setting.cell_id(one) not in done]

    def _cells(self) -> set[str]:
        """Ids of the cells that lie on disk."""
        return {file.cell.cell_id for file in store.SessionFolder(self.path).cells()}

    def measure(self) -> pd.DataFrame:
        """Measure every load that is missing; each is on disk when it is done.

        A server that died is started again for the loads that are left, and the rows say so.

        Returns:
            One row a load: requests, errors, events counted.
        """
        with self._told():
            for one in self.loads_left:
                self.revive()
                self._measure(one, self.path)
                self.progress.cell_done()
        return self.summary()

    def _measure(self, one: Load, folder: Path) -> Path:
        """Measure one load; its cell is written to the folder."""
        spec = self.setting.load_spec(
            one,
            self.server,
            run=self.folder.run.run,
            model=self.record.model,
            folder=self.path,
            start_id=len(self.record.starts),
            stop_path=self.progress.stop_path,
        ).model_copy(update={"out_dir": folder})
        return load.measure(spec, functools.partial(self.progress.cell, one.users))

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
