"""Where rows lie: write-once run folders, atomic files, scanning.

::

    RUN/run.json                     records.Run
    RUN/study.toml                   the study as it was planned
    RUN/SESSION/session.json         records.Session
    RUN/SESSION/n0050-<id>.parquet   one cell's requests (closed loop, 50 users); its records.Cell
                                     is in the file's metadata
    RUN/SESSION/r0012.5-<id>.parquet the same of an open loop, 12.5 requests/s
    RUN/SESSION/probe-overlap.json   records.Probe, one a question put to the server
    RUN/SESSION/server-1.log         one log for each start of the server
    RUN/SESSION/session.ipynb        the executed notebook
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from heavyweight.errors import StoreError
from heavyweight.records import REQUEST_SCHEMA, SCHEMA_VERSION, Cell, Probe, Record, Run, Session

if TYPE_CHECKING:
    import pandas as pd

METADATA_KEY = b"heavyweight"
RUN_FILE = "run.json"
SESSION_FILE = "session.json"
PROBE_FILE = "probe-{}.json"
CELL_FILE = re.compile(r"(?:n\d+|r\d+\.\d)-[^.]+\.parquet")

R = TypeVar("R", bound=Record)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place, synced, if all went well.

    Raises:
        StoreError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path.name}: {error.strerror or error}",
            "a writable folder with free space",
            "free some space or choose another folder; what was finished is kept",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, record: Record) -> Path:
    """Write a record as JSON, atomically; an older version of the same record is replaced."""
    return write_text(path, record.model_dump_json(indent=2) + "\n")


def read_json(path: Path, kind: type[R]) -> R:
    """Read a record.

    Raises:
        StoreError: the file is missing, cut off, or of another schema.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(
            f"no {path.name} in {path.parent.name}/",
            "a run folder of this study",
            "check the folder's name; `heavyweight study list` prints the runs",
        ) from error
    except (ValidationError, ValueError) as error:
        raise StoreError(
            f"{path.parent.name}/{path.name} is cut off or of another schema "
            f"({str(error).splitlines()[0]})",
            f"a {kind.__name__} record of schema {SCHEMA_VERSION}",
            "restore the file from its source, or measure again",
        ) from error


def cell_file_name(cell: Cell) -> str:
    """File name of a cell: its users, or its rate in an open loop, and the start of its id."""
    load = f"n{cell.users:04d}" if cell.loop == "closed" else f"r{cell.rate_per_s or 0:06.1f}"
    return f"{load}-{cell.cell_id[:12]}.parquet"


def write_cell(folder: Path, cell: Cell, table: pa.Table) -> Path:
    """Write one cell's requests, atomically and once.

    Args:
        folder: the session's folder.
        cell: goes into the file's metadata.
        table: rows of :data:`heavyweight.records.REQUEST_SCHEMA`.

    Raises:
        StoreError: the cell is there already, or the file cannot be written.
    """
    path = _new(folder / cell_file_name(cell), "cell that was not measured yet")
    table = table.cast(REQUEST_SCHEMA).replace_schema_metadata(
        {METADATA_KEY: cell.model_dump_json().encode()}
    )
    deltas = [f.name for f in REQUEST_SCHEMA if f.type == pa.int64()]
    encoding = {name: "DELTA_BINARY_PACKED" for name in deltas}
    encoding["chunk_ns.list.element"] = "DELTA_BINARY_PACKED"
    plain = {f.name for f in REQUEST_SCHEMA} - set(deltas) - {"chunk_ns", "chunk_bytes"}
    with replacing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=[*plain, "chunk_bytes.list.element"],
            column_encoding=encoding,
        )
    return path


def write_probe(folder: Path, probe: Probe) -> Path:
    """Write what a probe saw, atomically and once; raises StoreError as :func:`write_cell`."""
    path = _new(folder / PROBE_FILE.format(probe.probe), "probe that was not asked yet")
    return write_json(path, probe)


def _new(path: Path, what: str) -> Path:
    """The path, if nothing lies there: what was measured is never replaced."""
    if path.exists():
        raise StoreError(
            f"{path.parent.name}/{path.name} exists already",
            f"a {what}",
            "what is finished is kept; delete nothing, choose another run or block",
        )
    return path


@dataclass(frozen=True)
class CellFile:
    """One finished cell."""

    path: Path

    @cached_property
    def cell(self) -> Cell:
        """What was measured; from the file's metadata.

        Raises:
            StoreError: the file is cut off, damaged, or of another schema.
        """
        try:
            metadata = pq.read_schema(self.path).metadata or {}
            return Cell.model_validate_json(metadata[METADATA_KEY])
        except (pa.ArrowException, OSError, KeyError, ValidationError) as error:
            raise self._damaged(error) from error

    def requests(self) -> pa.Table:
        """The rows, one a request.

        Raises:
            StoreError: the file is cut off, damaged, or of another schema.
        """
        try:
            return pq.read_table(self.path).cast(REQUEST_SCHEMA)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path.parent.name}/{self.path.name} cannot be read ({type(error).__name__})",
            f"a requests file of schema {SCHEMA_VERSION}",
            "move the file away; `heavyweight study run` measures that cell again",
        )


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
                "choose another place with --out",
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


def frame(source: CellFile | pa.Table) -> pd.DataFrame:
    """Rows as a DataFrame; integers are nullable, lists are numpy arrays."""
    import pandas as pd  # not above: the load generator starts sooner without it

    table = source.requests() if isinstance(source, CellFile) else source
    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=nullable.get)
