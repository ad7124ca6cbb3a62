"""What all checks have in common: what they look at, and what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from heavyweight.errors import StoreError
from heavyweight.records import Cell, Session
from heavyweight.stats.requests import Requests
from heavyweight.stats.telemetry import Recorded


@dataclass(frozen=True)
class Check:
    """One named check of one cell.

    Args:
        name: as in the study's table of checks.
        kind: what a failure means: the work was not as stated, or the machine was not quiet.
        value: what was found; None: it could not be found.
        limit: the largest value that passes, or the smallest for "requests".
        unit: of both.
        passed: whether it holds; None: it cannot be told.
        detail: what was found, in words.
        remedy: what to do; empty unless it fails.
    """

    name: str
    kind: Literal["work", "machine"]
    value: float | None
    limit: float | None
    unit: str
    passed: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Part:
    """One of several things that a check looks at."""

    value: float | None
    limit: float | None
    unit: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class Evidence:
    """All that the checks of one cell look at."""

    cell: Cell
    session: Session
    requests: Requests
    limits: Mapping[str, float]
    unequal_prompts: Collection[str]
    calibration: pd.DataFrame | None = None
    recorded: Recorded | None = None

    def limit(self, name: str) -> float:
        """A limit of the run.

        Raises:
            StoreError: run.json does not hold it.
        """
        try:
            return self.limits[name]
        except KeyError as error:
            raise StoreError(
                f"run.json has no limit {name!r}",
                "all limits of the table [limits] of study.toml",
                "add the limit to the run's run.json, with the value of its study.toml",
            ) from error
