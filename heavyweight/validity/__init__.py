"""Named checks of a cell -> VALID, or INVALID with value, limit and remedy.

A check of kind "work" asks whether the work was done, complete and equal; one of kind "machine"
whether the machine let it be measured. A cell is VALID if it passes all of both. Of imported data
some cannot be told: those neither pass nor fail, and a cell with one is not called VALID.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal

import pandas as pd

from heavyweight.records import Cell, Session
from heavyweight.stats.requests import Requests
from heavyweight.stats.telemetry import Recorded
from heavyweight.validity import imported, instrument, machine, work
from heavyweight.validity.base import Check, Evidence, Part

__all__ = ["CHECK_NAMES", "Check", "check_cell"]

_Look = Callable[[Evidence], list[Part]]
_CHECKS: tuple[tuple[str, Literal["work", "machine"], _Look, str], ...] = (
    ("output tokens", "work", work.output_tokens,
     "prepare the models again (end tokens suppressed) and see that the context holds an answer"),
    ("prompt tokens", "work", work.prompt_tokens,
     "compare the chat templates of the arms; send a system message always"),
    ("errors", "work", work.errors, "read error_detail of the requests and the server's log"),
    ("requests", "work", work.requests,
     "raise cap_seconds in the profile, or ask for fewer tokens"),
    ("bookkeeping", "work", work.bookkeeping,
     "look at the users' pauses and at the stamps; the rows do not add up"),
    ("server", "work", work.server, "stop all servers, start a new run, and read the server's log"),
    ("steady state", "machine", machine.steady_state,
     "measure again in a new run (--new); where it stays, longer: raise min_seconds and min_waves "
     "of the profile in study.toml; see that clocks are not throttled"),
    ("client", "machine", machine.client,
     "stop other programs; on few cores measure again in a new run, or lower the load"),
    ("machine", "machine", machine.machine, 
     "stop other programs, see to cooling and power, and measure again in a new run"),
    ("instrument", "machine", instrument.error,
     "measure the client's own error at this load: `heavyweight study run` does, or execute "
     "notebooks/instrument.ipynb with this run; if it is too large, stop other programs or lower "
     "the load"),
)  # fmt: skip
CHECK_NAMES = tuple(name for name, *_ in _CHECKS)


def check_cell(
    cell: Cell,
    session: Session,
    requests: Requests,
    limits: Mapping[str, float],
    unequal_prompts: Collection[str] = (),
    calibration: pd.DataFrame | None = None,
    recorded: Recorded | None = None,
) -> list[Check]:
    """All checks of one cell.

    Args:
        cell: what was measured.
        session: the session that measured it.
        requests: its rows.
        limits: table [limits] of study.toml, as kept in run.json.
        unequal_prompts: prompts that have more than one token count in the run.
        calibration: the client's own error, rows of ``estimates.instrument_table``; None: unknown.
        recorded: its telemetry; None: none was recorded, and the machine is judged by two looks.

    Returns:
        The checks of :data:`CHECK_NAMES`, in that order. Where a check looks at several things,
        value and limit are those of the first that failed, or of the first.

    Raises:
        StoreError: a limit is missing.
    """
    evidence = Evidence(cell, session, requests, limits, unequal_prompts, calibration, recorded)
    untold = imported.untold(evidence)
    checks = []
    for name, kind, look, own in _CHECKS:
        remedy = imported.REMEDY if cell.imported else own
        parts = [untold[name]] if name in untold else look(evidence)
        passed = None if name in untold else all(part.passed for part in parts)
        shown = next((part for part in parts if not part.passed), parts[0])
        detail = "; ".join(part.detail for part in parts)
        checks.append(
            Check(name, kind, shown.value, shown.limit, shown.unit, passed, detail,
                  remedy if passed is False else "")
        )  # fmt: skip
    return checks
