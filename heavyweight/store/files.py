"""Files that are whole or not there: text and JSON records, written beside and put in place."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from heavyweight.errors import StoreError
from heavyweight.records import SCHEMA_VERSION, Record

R = TypeVar("R", bound=Record)
METADATA_KEY = b"heavyweight"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place, synced, if all went well.

    Raises:
        StoreError: it cannot be written.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync(path.parent)  # without it the name may be gone when the power fails
        _sync(path.parent.parent)  # of a session that has its first file now
    except OSError as error:
        raise StoreError(
            f"cannot write {path.name}: {error.strerror or error}",
            "a writable folder with free space",
            "free some space or choose another folder; what was finished is kept",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # a folder above the study's may be closed
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, record: Record) -> Path:
    """Write a record as JSON, atomically; an older version of the same record is replaced."""
    return write_text(path, record.model_dump_json(indent=2) + "\n")


def write_table(
    path: Path,
    table: pa.Table,
    record: Record | None = None,
    *,
    dictionary: Sequence[str],
    encoding: Mapping[str, str],
) -> Path:
    """Write a table as parquet, atomically and small: a study keeps hundreds of them.

    Two fifths of a short cell's file would be its Arrow schema, with each column's description, and
    statistics of its pages. Both are left out: whoever reads casts to the schema that
    heavyweight.records declares and data/README.md describes.

    Args:
        path: of the file; one that is there is replaced.
        table: its rows.
        record: goes into the file's metadata.
        dictionary: columns of few distinct values, as parquet names them.
        encoding: of the other columns; those not named are plain.

    Raises:
        StoreError: it cannot be written.
    """
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            table.schema,
            compression="brotli",
            compression_level=11,
            use_dictionary=list(dictionary),
            column_encoding=dict(encoding),
            write_statistics=False,
            write_page_checksum=True,
            store_schema=False,
        ) as writer,
    ):
        writer.write_table(table)
        if record is not None:
            writer.add_key_value_metadata({METADATA_KEY: record.model_dump_json().encode()})
    return path


def refuse_other_schema(text: str | bytes, name: str) -> None:
    """Raise StoreError where a record says that it is of another version of the schema."""
    try:
        told = json.loads(text)
        version = told.get("schema_version", SCHEMA_VERSION)
    except (ValueError, AttributeError):
        return  # whoever reads it says what is wrong
    if version != SCHEMA_VERSION:
        commit = told.get("commit")
        raise StoreError(
            f"{name} is of schema {version}",
            f"schema {SCHEMA_VERSION}, which this version of heavyweight writes and reads",
            "read it with the code that measured it" + (f": commit {commit}" if commit else ""),
        )


def read_json(path: Path, kind: type[R]) -> R:
    """Read a record.

    Raises:
        StoreError: the file is missing, cut off, or of another schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
        refuse_other_schema(text, f"{path.parent.name}/{path.name}")
        return kind.model_validate_json(text)
    except FileNotFoundError as error:
        raise StoreError(
            f"no {path.name} in {path.parent.name}/",
            "a run folder of this study",
            "check the folder's name; `heavyweight study list` prints the runs",
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path.parent.name}/{path.name} cannot be read: {error.strerror or error}",
            "a file that this user may read",
            "mend its owner or mode",
        ) from error
    except (ValidationError, ValueError) as error:
        raise StoreError(
            f"{path.parent.name}/{path.name} is cut off or of another schema "
            f"({str(error).splitlines()[0]})",
            f"a {kind.__name__} record of schema {SCHEMA_VERSION}",
            "restore the file from its source, or measure again",
        ) from error
