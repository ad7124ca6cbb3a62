"""Open loops at fractions of a server's capacity, as notebooks/openloop.ipynb calls them.

::

    closed loops    as in any session; the one with the most users gives the capacity
    open loops      Poisson arrivals at each fraction of it, in random order
    search          probes in SESSION/search/, decided by heavyweight.loadtest; they are no cells

The capacity is that of the same session, so that a server that is slow today is not drowned by
rates of another day. It is read from the closed loop's file, also when a session goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from heavyweight import design, store
from heavyweight.arrivals import NS_PER_S, schedule
from heavyweight.design import Load, Open
from heavyweight.errors import BadInput, StudyError
from heavyweight.load import Arrivals
from heavyweight.records import Probe
from heavyweight.session import Session
from heavyweight.session.cell import measure_cell

SEARCH_FOLDER = "search"
STEP_S = 1.0  # a schedule that is too short is made longer by whole steps
LONGEST_PROBE = 3.0  # times the length that is asked of a probe of the search


@dataclass(frozen=True)
class Share:
    """One open loop: its rate as a share of the capacity."""

    fraction: float

    def __str__(self) -> str:
        return f"{self.fraction:g} of the capacity"


class OpenLoopSession(Session):
    """One server under closed loops, then under open ones, then searched for its highest rate."""

    experiments: ClassVar[frozenset[str]] = frozenset({"openloop"})

    @property
    def open(self) -> Open:
        """What the profile says of the open loops."""
        open_ = self.setting.profile.open
        assert open_ is not None  # a profile of this experiment has it
        return open_

    @property
    def planned(self) -> Sequence[object]:
        """Closed loops, shares of the capacity, and the search."""
        return [
            *self.setting.loads,
            *self.shares,
            *([store.HIGHEST_RATE] if self.open.search else []),
        ]

    @property
    def missing(self) -> Sequence[object]:
        """What of it is still to be done."""
        searching = self.open.search and self.found is None
        return [
            *self.missing_loads,
            *self.missing_shares,
            *([store.HIGHEST_RATE] if searching else []),
        ]

    @property
    def shares(self) -> list[Share]:
        """The open loops in their random order."""
        fractions = self.open.fractions
        block, arm = self.setting.parameters.block, self.setting.arm.name
        order = design.stream(self.setting.study.seed, "rates", block, arm)
        return [Share(fractions[i]) for i in order.permutation(len(fractions))]

    @property
    def missing_shares(self) -> list[Share]:
        """Open loops that are still to be measured; all of them where the capacity is not known."""
        if not self._reached_per_s():
            return self.shares
        done = self.finished()
        return [one for one in self.shares if self._share_id(one) not in done]

    def _share_id(self, share: Share) -> str:
        arrivals = self._arrivals(self.rate_per_s(share.fraction), self.open.seconds)
        named = arrivals.model_dump(mode="json", exclude_none=True)
        return self.setting.cell_id(self.open_load, arrivals=named)

    @property
    def open_load(self) -> Load:
        """Lengths of the open loops: those of the closed loop that gives the capacity."""
        return replace(self._largest, users=0)

    @property
    def _largest(self) -> Load:
        return max(self.setting.loads, key=lambda one: one.users)

    @property
    def capacity_per_s(self) -> float:
        """Requests that ended well in the window of the closed loop with the most users, per s.

        Raises:
            StudyError: that loop was not measured yet, or not one of its requests ended well.
        """
        users = self._largest.users
        if (reached := self._reached_per_s()) is None:
            raise StudyError(
                f"the capacity is not known: no closed loop of {users} users was measured",
                "that one, since the rates are shares of what it reached",
                "session.measure() comes first",
            )
        if not reached:
            raise StudyError(
                f"no request of the closed loop of {users} users ended well in its window",
                "a server that answers: the rates are shares of what it can do",
                f"look into {self.path.name}/server-*.log; measure in another run",
            )
        return reached

    def _reached_per_s(self) -> float | None:
        """The capacity; 0 where nothing ended well, None where it was not measured."""
        file = self.finished().get(self.setting.cell_id(self._largest))
        if file is None:
            return None
        table, cell = file.requests(), file.cell
        done_ns = table["done_ns"].to_numpy()
        inside = (cell.window_start_ns < done_ns) & (done_ns <= cell.window_end_ns)
        good = int(np.count_nonzero(inside & ~table["error"].is_valid().to_numpy()))
        return good and good / ((cell.window_end_ns - cell.window_start_ns) / NS_PER_S)

    def capacity(self) -> pd.Series:
        """The capacity, and the rates that follow from it."""
        rates = {str(Share(f)): self.rate_per_s(f) for f in sorted(self.open.fractions)}
        return pd.Series(
            {"users": self._largest.users, "requests_per_s": self.capacity_per_s, **rates}
        )

    def rate_per_s(self, fraction: float) -> float:
        """A share of the capacity in requests/s, of four digits, as it can be typed."""
        return float(f"{fraction * self.capacity_per_s:.4g}")

    def _arrivals(
        self, rate_per_s: float, seconds: float, seed: int | None = None, most_s: float = math.inf
    ) -> Arrivals:
        """Poisson arrivals, for as long as asked, or as enough requests for the profile need.

        They are never longer than the profile's cap_seconds or ``most_s``, unless more was asked;
        and so long after the last one what was not answered is abandoned.
        """
        profile, open_ = self.setting.profile, self.open
        seed = self.setting.study.seed if seed is None else seed
        longest_s = max(seconds, min(profile.cap_seconds, most_s))
        made = Arrivals(
            process="poisson", rate_per_s=rate_per_s, seconds=longest_s,
            warmup_s=open_.warmup_s, drain_s=profile.cap_seconds,
        )  # fmt: skip
        # A shorter schedule has the same times, cut.
        due_s = schedule(made, seed, self.setting.parameters.block).due_ns / NS_PER_S
        inside = due_s[due_s >= open_.warmup_s]
        enough_s = longest_s
        if inside.size >= profile.min_requests:
            enough_s = STEP_S * math.ceil(inside[profile.min_requests - 1] / STEP_S)
        return made.model_copy(update={"seconds": min(max(seconds, enough_s), longest_s)})

    def measure_rates(self) -> pd.DataFrame:
        """Measure every open loop that is missing; each is on disk when it is done.

        Returns:
            One row a load: requests, errors, events counted.

        Raises:
            StudyError: the capacity is not known.
        """
        with self._told():
            for share in self.missing_shares:
                rate = self.rate_per_s(share.fraction)
                self._open(
                    rate, self._arrivals(rate, self.open.seconds), capacity_fraction=share.fraction
                )
                self.progress.cell_done()
        return self.summary()

    def _open(
        self, rate: float, arrivals: Arrivals, seed: int | None = None, **more: Any
    ) -> store.CellFile:
        """Measure one open loop, and see that the server is idle when it is over."""
        self.revive()
        spec = self._spec(self.open_load, arrivals=arrivals, **more)
        if seed is not None:
            spec = spec.model_copy(update={"seed": seed})

        def told(state: dict[str, Any]) -> None:
            phase = f"{rate:.3g} requests/s, {state.get('phase', 'start')}"
            self.progress.cell(0, state | {"phase": phase})

        file = store.CellFile(measure_cell(self.server, spec, told))
        self._settle(file)
        return file

    @property
    def _done_count(self) -> int:
        """Loads and probes of the search."""
        return super()._done_count + len(self.probes())

    @property
    def found(self) -> Probe | None:
        """What the search found; None: it is not over."""
        path = self.path / store.PROBE_FILE.format(store.HIGHEST_RATE)
        return store.read_json(path, Probe) if path.exists() else None

    def rates(self) -> list[store.CellFile]:
        """The open loops that are on disk, from the lowest rate up."""
        return [file for file in self.finished().values() if file.cell.loop == "open"]

    def probes(self) -> list[store.CellFile]:
        """The search's probes that are on disk, in the order in which they were measured."""
        found = store.SessionFolder(self.path / SEARCH_FOLDER).cells()
        # Not by the wall clock, which may be set meanwhile; each start has a number of its own.
        return sorted(found, key=lambda one: (one.cell.start_id, one.cell.origin_monotonic_ns))

    def probe(self, rate_per_s: float) -> store.CellFile:
        """Measure one rate for the search, with arrivals and prompts that no other cell has.

        Raises:
            BadInput: the rate cannot be.
        """
        if not 0 < rate_per_s < math.inf:
            raise BadInput(f"a rate of {rate_per_s:g} requests/s", "a number above 0")
        number = len(self.probes()) + 1
        seed = self._seed(number)
        seconds = self.open.search_seconds + self.open.warmup_s
        # At a low rate it may hold too few requests to show that the objectives hold; few can show
        # that they fail.
        arrivals = self._arrivals(rate_per_s, seconds, seed, LONGEST_PROBE * seconds)
        folder = self.path / SEARCH_FOLDER
        folder.mkdir(exist_ok=True)
        return self._open(
            rate_per_s, arrivals, seed, folder=folder, search=number,
            capacity_fraction=rate_per_s / self.capacity_per_s,
        )  # fmt: skip

    def _seed(self, number: int) -> int:
        """Of one probe: the same rate may be probed twice."""
        block = self.setting.parameters.block
        draw = design.stream(self.setting.study.seed, "search", block, number)
        return int(draw.integers(1 << 31))

    def finish_search(self, found: Probe) -> None:
        """Write down what the search found."""
        store.write_json(self.path / store.PROBE_FILE.format(store.HIGHEST_RATE), found)
        self.progress.cell_done()

    def watched(self) -> AbstractContextManager[None]:
        """While inside: on any failure the server is stopped, and who waits is told why."""
        return self._told()
