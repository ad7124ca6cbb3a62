"""Where a cell's telemetry lies: ``n0050-<id>.telemetry.parquet`` beside the cell, written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from heavyweight.errors import StoreError
from heavyweight.records import SCHEMA_VERSION, TELEMETRY_SCHEMA, Telemetry
from heavyweight.store import METADATA_KEY, refuse_other_schema, write_table

SUFFIX = ".telemetry.parquet"


def path_beside(cell_path: Path) -> Path:
    """The file of the telemetry of a cell's file."""
    return cell_path.with_name(cell_path.name.removesuffix(".parquet") + SUFFIX)


def write_telemetry(cell_path: Path, record: Telemetry, table: pa.Table) -> Path:
    """Write the telemetry of a cell, atomically and once.

    Args:
        cell_path: the cell's file.
        record: goes into the file's metadata.
        table: rows of :data:`heavyweight.records.TELEMETRY_SCHEMA`; small if each series is whole.

    Raises:
        StoreError: it is there already, or cannot be written.
    """
    path = path_beside(cell_path)
    if path.exists():
        raise StoreError(
            f"{path.parent.name}/{path.name} exists already",
            "a cell whose telemetry was not written yet",
            "finished cells are kept; choose another run or block",
        )
    # Every series has the same stamps: a dictionary holds them once.
    words = [name for name in TELEMETRY_SCHEMA.names if name != "value"]
    return write_table(
        path,
        table.cast(TELEMETRY_SCHEMA),
        record,
        dictionary=words,
        encoding={},  # most values come again, whole
    )


@dataclass(frozen=True)
class Recording:
    """The telemetry of one cell, as it was written."""

    record: Telemetry
    table: pa.Table

    @classmethod
    def beside(cls, cell_path: Path) -> Recording | None:
        """The telemetry of a cell's file; None: none was recorded.

        Raises:
            StoreError: it is cut off, damaged, or of another schema.
        """
        path = path_beside(cell_path)
        if not path.exists():
            return None
        try:
            words = [f.name for f in TELEMETRY_SCHEMA if pa.types.is_dictionary(f.type)]
            table = pq.read_table(path, read_dictionary=words, page_checksum_verification=True)
            told = (table.schema.metadata or {})[METADATA_KEY]
            refuse_other_schema(told, f"{path.parent.name}/{path.name}")
            record = Telemetry.model_validate_json(told)
            return cls(record, table.cast(TELEMETRY_SCHEMA))
        except (pa.ArrowException, OSError, KeyError, ValueError, ValidationError) as error:
            raise StoreError(
                f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__})",
                f"telemetry of schema {SCHEMA_VERSION}",
                "move the file away; the cell stands without it",
            ) from error
