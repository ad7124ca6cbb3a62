"""Estimates and checks on a terminal."""

from __future__ import annotations

from typing import Any

import pandas as pd

from heavyweight import tables
from heavyweight.cli.output import console, table
from heavyweight.estimates import Assessment, ratio_table, summary, throughput_table
from heavyweight.exporting import UNTOLD, cell_rows
from heavyweight.records import imported_from
from heavyweight.text import count_of


def print_summary(assessment: Assessment) -> None:
    """Throughput of each arm, the ratio of each contrast, and what is INVALID or missing."""
    run = assessment.run
    emulated = " EMULATED: says nothing of any server." if run.emulated else ""
    imported = f" {imported_from(run.imported)}" if run.imported else ""
    console.print(
        f"{run.run}: profile {run.profile}, {count_of(run.blocks, 'block')}.{emulated}{imported}",
        markup=False,
    )
    if run.imported:
        _print_imported(assessment)
    closed = throughput_table(assessment)  # empty where all loads are open loops
    if not closed.empty:
        speeds = tables.throughput(closed).rename_axis(index="users")
        print_frame(speeds, "Throughput, tok/s [95%]")
    for contrast in run.contrasts if not closed.empty else ():
        found = ratio_table(assessment, contrast)
        rows = [
            [
                ", ".join(filter(None, (str(row["users"]), length))),
                tables.interval(row["ratio"], row["low"], row["high"]),
                row["blocks"],
                "; ".join(part for part in (row["note"], row["blocks_left_out"]) if part),
            ]
            for length, part in tables.by_length(found)
            for row in part.to_dict("records")
        ]
        label = tables.contrast_label(assessment, contrast)
        table(["users", "ratio [95%]", "blocks", "note"], rows, f"{contrast}: {label}, tok/s")
    for finding in tables.findings(assessment):
        console.print(finding, markup=False)
    result = summary(assessment)
    cells = result["cells"]
    console.print(
        f"{cells['measured']} cells measured: {cells['valid']} VALID, {cells['invalid']} INVALID; "
        + f"{cells['untold']} cannot be told; " * bool(cells["untold"])
        + f"{cells['missing']} planned and not there."
    )
    if told := tables.failures(assessment):
        console.print(told, markup=False)
    _print_failed(result)


def _print_imported(assessment: Assessment) -> None:
    """Every cell as the other tool measured it, INVALID ones too: nothing is averaged."""
    shown = {
        "users": "users", "rate_per_s": "requests/s", "requests": "requests", "errors": "errors",
        "throughput_tok_s": "tok/s", "ttft_p50_ms": "TTFT p50, ms", "e2e_p50_ms": "E2E p50, ms",
        "tpot_p50_ms": "TPOT p50, ms", "validity": "validity", "reasons": "failed",
        "untold": "cannot be told",
    }  # fmt: skip
    rows = [
        [row["session"], *(_shown(row[name]) for name in shown)] for row in cell_rows(assessment)
    ]
    table(["session", *shown.values()], rows, "As imported, cell by cell")


def _shown(value: object) -> object:
    return tables.number(value) if isinstance(value, float) else value


def print_checks(assessment: Assessment) -> None:
    """Which checks each cell passed, and what failed."""
    checks = assessment.checks
    if not checks.empty:
        checks = checks.assign(passed=checks["passed"].map({True: "ok", False: "FAILED"}))
        checks["passed"] = checks["passed"].fillna(UNTOLD)
        wide = checks.pivot(index="cell_id", columns="check", values="passed")
        order = list(dict.fromkeys(checks["check"]))
        loads = assessment.cells.set_index("cell_id")
        named = wide[order].assign(load=loads.apply(tables.load_of, axis=1))
        named = named.assign(session=loads["session"]).set_index(["session", "load"]).sort_index()
        print_frame(named, "Checks by cell")
    result = summary(assessment)
    _print_failed(result)
    for row in assessment.missing.to_dict("records"):
        known = {name: value for name, value in row.items() if value is not pd.NA}
        console.print(f"missing: {known}", markup=False)
    whole = "The work is whole and equal."
    if result["invalid"]:
        whole += " What is INVALID above is so for the machine's sake alone, and enters no number."
    if assessment.run.imported:
        whole = "No check of the work failed that can be made of imported data."
    console.print(whole if result["work_ok"] else "Work is missing, wrong or unequal: see above.")


def _print_failed(result: dict[str, Any]) -> None:
    for row in result["invalid"]:
        console.print(
            f"INVALID {row['session']} at {count_of(row['users'], 'user')}: {row['check']}: "
            f"{row['detail']}. Remedy: {row['remedy']}",
            markup=False,
        )
    for session, ports in result["open_ports"].items():
        console.print(f"{session}: its server listened where other machines may reach it: {ports}")
    for problem in result["problems"]:
        console.print(f"cannot be read: {problem}", markup=False)


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """A frame as a table, its index as columns."""
    if frame.index.nlevels == 1 and frame.index.name is None:
        # A table for a reader has the name of its index in the row of the columns' names.
        frame = frame.rename_axis(index=str(frame.columns.name or ""), columns=None)
    flat = frame.reset_index()
    head = [" ".join(map(str, c)).strip() if isinstance(c, tuple) else str(c) for c in flat.columns]
    table(head, flat.astype(object).to_numpy().tolist(), title)
