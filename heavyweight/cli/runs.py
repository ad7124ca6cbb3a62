"""Runs by name: below data/runs, data/reference, or any folder."""

from __future__ import annotations

from pathlib import Path

from heavyweight.cli.output import progress
from heavyweight.errors import StoreError
from heavyweight.paths import study_root
from heavyweight.store import RUN_FILE, RunFolder


def all_runs() -> list[RunFolder]:
    """The committed runs and all runs below data/runs, oldest first."""
    root = study_root()
    committed = (root / "data" / name for name in ("reference", "reference-aa"))
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
        measured = [folder for folder in all_runs() if folder.path.parent.name == "runs"]
        if not measured:
            raise StoreError(
                "no run was measured here yet", "a run below data/runs", "`heavyweight study run`"
            )
        return measured[-1]
    for path in (root / "data" / "runs" / name, root / "data" / name, Path(name)):
        if path.is_dir():
            return RunFolder.open(path)
    return RunFolder.open(root / "data" / "runs" / name)
