"""Run folders and the sessions in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from heavyweight.errors import StoreError
from heavyweight.records import Probe, Run, Session
from heavyweight.store.cells import CELL_FILE, PROBE_FILE, CellFile
from heavyweight.store.files import read_json, write_json

RUN_FILE = "run.json"
SESSION_FILE = "session.json"


@dataclass(frozen=True)
class SessionFolder:
    """One session of a run: a server's start and the cells measured on it."""

    path: Path

    @property
    def record(self) -> Session:
        """session.json."""
        return read_json(self.path / SESSION_FILE, Session)

    def cells(self) -> list[CellFile]:
        """The finished cells: closed loops by users, then open ones by rate."""
        found = sorted(self.path.glob("[nr][0-9]*.parquet"))
        return [CellFile(path) for path in found if CELL_FILE.fullmatch(path.name)]

    def probes(self) -> list[Probe]:
        """The questions that were put to its server, by name."""
        return [read_json(path, Probe) for path in sorted(self.path.glob(PROBE_FILE.format("*")))]


@dataclass(frozen=True)
class RunFolder:
    """One study's folder."""

    path: Path

    @classmethod
    def create(cls, path: Path, run: Run) -> RunFolder:
        """Make the folder, or open it if it is there and holds the same plan.

        Raises:
            StoreError: the folder holds a run of another plan, or cannot be made.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the run folder {path.name}: {error.strerror}",
                "a writable folder",
                "mend its owner or mode, or work in a folder that can be written to",
            ) from error
        if (path / RUN_FILE).exists():
            folder = cls.open(path)
            if not folder.same_plan(run):
                raise StoreError(
                    f"{path.name} holds a run of another plan",
                    "the same profile, seed, arms, loads and limits as when it was begun",
                    "choose another name with --run",
                )
            return folder
        write_json(path / RUN_FILE, run)
        return cls(path)

    @classmethod
    def replace(cls, path: Path, run: Run) -> RunFolder:
        """Write a run's record anew: a run made by hand grows with each session."""
        write_json(path / RUN_FILE, run)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run folder.

        Raises:
            StoreError: there is none, or it is cut off or of another schema.
        """
        if not path.is_dir():
            raise StoreError(
                f"no run folder {path.name}",
                "a folder below data/runs, or data/reference",
                "`heavyweight study list` prints the runs",
            )
        folder = cls(path)
        _ = folder.run
        return folder

    def same_plan(self, run: Run) -> bool:
        """Whether this run was begun with that plan; name, time and commit do not count."""
        apart = {"run", "created_utc", "commit", "clean"}
        return self.run.model_dump(exclude=apart) == run.model_dump(exclude=apart)

    @cached_property
    def run(self) -> Run:
        """run.json."""
        return read_json(self.path / RUN_FILE, Run)

    def sessions(self) -> list[SessionFolder]:
        """The sessions begun so far, in the order of their names."""
        return [SessionFolder(path.parent) for path in sorted(self.path.glob(f"*/{SESSION_FILE}"))]
