"""Runs by name: below data/runs, data/reference, or any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heavyweight.calibrations import InstrumentFolder
from heavyweight.cli.output import AsJson, emit, progress, say, table
from heavyweight.errors import StoreError
from heavyweight.paths import study_root
from heavyweight.records import imported_from
from heavyweight.store import RUN_FILE, RunFolder


def all_runs() -> list[RunFolder]:
    """The committed runs and all runs below data/runs, oldest first."""
    root = study_root()
    committed = sorted((root / "data").glob("reference*"))
    paths = [*committed, *(root / "data" / "runs").glob("*")]
    folders = []
    for path in paths:
        if (path / RUN_FILE).exists():
            try:
                folders.append(RunFolder.open(path))
            except StoreError as damaged:
                progress(f"left out: {damaged}")
    return sorted(folders, key=lambda folder: folder.run.created_utc)


def find_run(name: str) -> RunFolder:
    """A run by its name or folder; the newest measured here where the name is empty.

    Raises:
        StoreError: there is no such run.
    """
    root = study_root()
    if not name:
        here = [folder for folder in all_runs() if folder.path.parent.name == "runs"]
        measured = [folder for folder in here if not folder.run.imported]
        if not measured:
            raise StoreError(
                "no run was measured here yet", "a run below data/runs", "`heavyweight study run`"
            )
        return measured[-1]
    for path in (root / "data" / "runs" / name, root / "data" / name, Path(name)):
        if path.is_dir():
            return RunFolder.open(path)
    return RunFolder.open(root / "data" / "runs" / name)


def list_runs(as_json: AsJson = False) -> None:
    """The runs that are here."""
    rows: list[dict[str, Any]] = []
    for folder in all_runs():
        record = folder.run
        sessions = folder.sessions()
        try:
            done = sum(session.record.complete for session in sessions)
        except StoreError as damaged:
            progress(f"left out: {say(folder.path)}: {damaged}")
            continue
        planned = record.blocks * len(record.arms)
        instrument = InstrumentFolder.of(folder.path)
        rows.append(
            {
                "run": say(folder.path),
                "profile": record.profile,
                "created_utc": record.created_utc,
                "sessions_complete": done,
                "sessions_planned": planned,
                "calibrated": instrument.exists and instrument.record.complete,
                "emulated": record.emulated,
                "imported": imported_from(record.imported),
            }
        )
    if as_json:
        emit(rows)
    else:
        table(
            ["run", "profile", "begun (UTC)", "client's error", "sessions"],
            [
                [
                    r["run"],
                    r["profile"] + " EMULATED" * bool(r["emulated"]),
                    r["created_utc"],
                    "known" if r["calibrated"] else "not known",
                    f"{r['sessions_complete']}/{r['sessions_planned']}",
                ]
                for r in rows
            ],
        )
