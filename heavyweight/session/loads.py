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

from heavyweight import load, store
from heavyweight.design import Load
from heavyweight.errors import ServerError
from heavyweight.load import LoadSpec
from heavyweight.records import ErrorClass, measured
from heavyweight.session.base import ServerSession
from heavyweight.session.cell import measure_cell
from heavyweight.workload import RESERVED

SETTLE_S = 120.0  # for a server to end what was abandoned, and to answer once more
TIMEOUTS = frozenset(kind.value for kind in ErrorClass if kind.value.startswith("timeout_"))


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

        A server that died or hangs is started again for the loads that are left, and the rows say
        so.

        Returns:
            One row a load: requests, errors, events counted.
        """
        with self._told():
            for one in self.missing_loads:
                self.revive()
                self._measure(one, self.path)
                self._settle(self.finished()[self.setting.cell_id(one)])
                self.progress.cell_done()
        return self.summary()

    def _settle(self, file: store.CellFile) -> None:
        """See that a cell leaves a server that is idle and answers; any other is stopped.

        A cell that came to its end without a time-out leaves one. What was abandoned may go on: one
        request is waited for, which comes to its turn when those before it are done. A server that
        lives and does not answer it hangs. The next load starts it again.
        """
        cell, errors = file.cell, set(file.requests().column("error").to_pylist())
        whole = cell.ended == "complete" and cell.idle_after is not False
        if (whole and not errors & TIMEOUTS) or not self.server.alive():
            return
        self.progress.phase("waiting until the server is idle")
        setting, server = self.setting, self.server
        try:
            load.first_token(
                server.base_url, server.served_model, server.extra_body,
                seed=setting.study.seed, block=setting.parameters.block,
                start_id=RESERVED["settling"][self._done_count], timeout_s=SETTLE_S,
                allow_remote=setting.parameters.allow_remote,
            )  # fmt: skip
            busy = server.idle() is False
        except ServerError:
            if not self._survived():
                return  # whoever starts it again counts that
            self._save(hangs=(self.record.hangs or 0) + 1)
            busy = True
        if busy:
            server.stop()

    @property
    def _done_count(self) -> int:
        """How many loads lie on disk."""
        return len(self.finished())

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
