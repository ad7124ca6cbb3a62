"""Where a calibration of the client lies: write-once pairs of files, one pair a load.

::

    RUN/instrument/instrument.json                 records.Instrument
    RUN/instrument/busy/n0008-<id>.parquet         requests of one load as the client saw them
    RUN/instrument/busy/n0008-<id>.server.parquet  the same requests as the emulator logged them
    RUN/instrument/instrument-1.ipynb              the executed notebook

The log is written before the requests: a load whose requests are there is finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq

from heavyweight.errors import StoreError
from heavyweight.records import SERVER_LOG_SCHEMA, Instrument, Setting
from heavyweight.store import CELL_FILE, CellFile, read_json, write_table

FOLDER = "instrument"
INSTRUMENT_FILE = "instrument.json"
SETTINGS: tuple[Setting, ...] = get_args(Setting)
LOG_ENDING = ".server.parquet"


@dataclass(frozen=True)
class Pair:
    """One load in one setting: what the client saw and what the server did."""

    setting: Setting
    client: CellFile

    def server(self) -> pa.Table:
        """The emulator's log, one row a request.

        Raises:
            StoreError: it is missing, cut off, damaged, or of another schema.
        """
        path = log_path(self.client.path)
        try:
            return pq.read_table(path, page_checksum_verification=True).cast(SERVER_LOG_SCHEMA)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(
                f"{self.setting}/{path.name} cannot be read ({type(error).__name__})",
                "the emulator's log beside the client's rows",
                f"move {self.client.path.name} away; `heavyweight study run` measures it again",
            ) from error


@dataclass(frozen=True)
class InstrumentFolder:
    """One calibration, finished or begun."""

    path: Path

    @classmethod
    def of(cls, run: Path) -> InstrumentFolder:
        """The calibration of a run, whether it is there or not."""
        return cls(run / FOLDER)

    @property
    def exists(self) -> bool:
        """Whether it was begun."""
        return (self.path / INSTRUMENT_FILE).exists()

    @property
    def record(self) -> Instrument:
        """instrument.json."""
        return read_json(self.path / INSTRUMENT_FILE, Instrument)

    def pairs(self) -> list[Pair]:
        """The finished loads, by setting and load."""
        return [
            Pair(setting, CellFile(path))
            for setting in SETTINGS
            for path in sorted((self.path / setting).glob("*.parquet"))
            if CELL_FILE.fullmatch(path.name)
        ]


def log_path(requests: Path) -> Path:
    """Where the emulator's log lies beside the client's requests."""
    return requests.with_name(requests.name.removesuffix(".parquet") + LOG_ENDING)


def read_log(path: Path) -> pa.Table:
    """The JSON lines of an emulator's log as a table.

    Raises:
        StoreError: a line is no record of a request.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row["request_id"] is not None]
        return pa.Table.from_pylist(rows, schema=SERVER_LOG_SCHEMA)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StoreError(
            f"the emulator's log cannot be read ({type(error).__name__}: {error})",
            "one JSON object a request",
            "measure again",
        ) from error


def write_log(path: Path, table: pa.Table) -> Path:
    """Write an emulator's log as parquet, atomically; one without its requests is replaced."""
    table = table.cast(SERVER_LOG_SCHEMA)
    times = [f.name for f in SERVER_LOG_SCHEMA if f.type == pa.int64()]
    encoding = dict.fromkeys(times, "DELTA_BINARY_PACKED")
    encoding |= {"write_ns.list.element": "BYTE_STREAM_SPLIT", "request_id": "DELTA_BYTE_ARRAY"}
    return write_table(path, table, dictionary=["write_tokens.list.element"], encoding=encoding)
