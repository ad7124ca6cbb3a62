"""One cell's requests in parquet, and one probe's answer in JSON: written once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from heavyweight.errors import StoreError
from heavyweight.records import IMPORTED_SCHEMA, REQUEST_SCHEMA, SCHEMA_VERSION, Cell, Probe
from heavyweight.store.files import METADATA_KEY, refuse_other_schema, write_json, write_table

if TYPE_CHECKING:
    import pandas as pd

PROBE_FILE = "probe-{}.json"
HIGHEST_RATE = "highest-rate"  # the probe that holds what a search for it found
UNIQUE = ("request_id", "response_id", "prompt_id")  # most begin as the one before
CELL_FILE = re.compile(r"(?:n\d+|r\d+\.\d)-[^.]+\.parquet")


def cell_file_name(cell: Cell) -> str:
    """File name of a cell: its users, or its rate in an open loop, and the start of its id."""
    load = f"n{cell.users:04d}" if cell.loop == "closed" else f"r{cell.rate_per_s or 0:06.1f}"
    return f"{load}-{cell.cell_id[:12]}.parquet"


def request_schema(cell: Cell) -> pa.Schema:
    """Columns of a cell's requests: of imported data more of them may be null."""
    return IMPORTED_SCHEMA if cell.imported else REQUEST_SCHEMA


def write_cell(folder: Path, cell: Cell, table: pa.Table) -> Path:
    """Write one cell's requests, atomically and once.

    Args:
        folder: the session's folder.
        cell: goes into the file's metadata.
        table: rows of :func:`request_schema`.

    Raises:
        StoreError: the cell is there already, or the file cannot be written.
    """
    path = _new(folder / cell_file_name(cell), "a cell")
    times = [f.name for f in REQUEST_SCHEMA if f.type == pa.int64()]
    lists = ["chunk_ns", "chunk_bytes"]
    words = [name for name in REQUEST_SCHEMA.names if name not in [*times, *lists, *UNIQUE]]
    return write_table(
        path,
        table.cast(request_schema(cell)),
        cell,
        dictionary=words,
        # From one answer to the next the times jump back, which makes their differences long.
        encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED")
        | dict.fromkeys(UNIQUE, "DELTA_BYTE_ARRAY")
        | {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists},
    )


def write_probe(folder: Path, probe: Probe) -> Path:
    """Write what came of one question, atomically and once.

    Raises:
        StoreError: it is there already, or the file cannot be written.
    """
    return write_json(_new(folder / PROBE_FILE.format(probe.probe), "a probe"), probe)


def _new(path: Path, what: str) -> Path:
    """The path, where nothing is yet; raises StoreError otherwise."""
    if path.exists():
        raise StoreError(
            f"{path.parent.name}/{path.name} exists already",
            f"{what} that was not measured yet",
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
            refuse_other_schema(metadata[METADATA_KEY], f"{self.path.parent.name}/{self.path.name}")
            return Cell.model_validate_json(metadata[METADATA_KEY])
        except (pa.ArrowException, OSError, KeyError, ValidationError) as error:
            raise self._damaged(error) from error

    def requests(self) -> pa.Table:
        """The rows, one a request.

        Raises:
            StoreError: the file is cut off, damaged, or of another schema.
        """
        try:
            table = pq.read_table(self.path, page_checksum_verification=True)
            return table.cast(request_schema(self.cell))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(error) from error

    def telemetry(self) -> pa.Table | None:
        """Rows of :data:`heavyweight.records.TELEMETRY_SCHEMA`; None: none was recorded."""
        from heavyweight.recordings import Recording  # it stands on this module

        found = Recording.beside(self.path)
        return None if found is None else found.table

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path.parent.name}/{self.path.name} cannot be read ({type(error).__name__})",
            f"a requests file of schema {SCHEMA_VERSION}",
            "move the file away; `heavyweight study run` measures that cell again",
        )


def frame(source: CellFile | pa.Table) -> pd.DataFrame:
    """Rows as a DataFrame; integers are nullable, lists are numpy arrays."""
    import pandas as pd  # not above: the load generator starts sooner without it

    table = source.requests() if isinstance(source, CellFile) else source
    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=nullable.get)
