"""What a run says, in short: for the command line and for continuous integration."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.tables import ratio_table, throughput_table


def summary(assessment: Assessment) -> dict[str, Any]:
    """Throughput, ratios and what is INVALID or missing, as values that JSON can hold.

    Returns:
        run, profile, experiment, emulated, imported; cells (measured, valid, invalid, untold: no
        check failed and some cannot be told, missing); work_ok:
        every planned cell is there, could be read, and passes all checks of kind "work" (where
        none was planned, every session is complete); throughput and ratios:
        the rows of their tables (tok/s; ratio); invalid: the failed checks with value, limit and
        remedy; problems: what could not be read; open_ports: by
        session, those that other machines may reach. Numbers that do not exist are None.
    """
    run, cells = assessment.run, assessment.cells
    failed = assessment.checks[~assessment.checks["passed"]]
    invalid = failed[
        ["session", "arm", *LOAD, "check", "kind", "value", "limit", "unit", "detail", "remedy"]
    ]
    ratios = [ratio_table(assessment, contrast) for contrast in run.contrasts]
    reached = assessment.sessions[assessment.sessions["open_ports"] != ""]
    complete = assessment.missing.empty and not assessment.problems and _whole(assessment)
    return {
        "run": run.run,
        "profile": run.profile,
        "experiment": run.experiment,
        "emulated": run.emulated,
        "imported": [record.model_dump(mode="json") for record in run.imported],
        "cells": {
            "measured": len(cells),
            "valid": int((cells["valid"] & (cells["untold"] == "")).sum()),
            "untold": int((cells["valid"] & (cells["untold"] != "")).sum()),
            "invalid": int((~cells["valid"]).sum()),
            "missing": len(assessment.missing),
        },
        "work_ok": bool(complete and cells["work_valid"].all()),
        "throughput": plain_records(throughput_table(assessment)),
        "ratios": [row for table in ratios for row in plain_records(table)],
        "invalid": plain_records(invalid),
        "problems": list(assessment.problems),
        "open_ports": dict(zip(reached["session"], reached["open_ports"], strict=True)),
    }


def _whole(assessment: Assessment) -> bool:
    """Whether there are cells, or, where none was planned, all sessions to their end."""
    run, sessions = assessment.run, assessment.sessions
    if run.users or run.imported:
        return not assessment.cells.empty
    return int(sessions["complete"].sum()) == run.blocks * len(run.arms)


def plain_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; NaN, infinity and missing are None."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
