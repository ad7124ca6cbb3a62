"""A run as CSV or JSON lines, for other programs: one row a request, and one row a cell."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates import Assessment
from heavyweight.estimates.summary import plain_records
from heavyweight.store import frame, replacing

Format = Literal["csv", "jsonl"]
Row = dict[str, Any]

CELLS = "-cells"  # in the name of the second file
UNTOLD = "cannot be told"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes text that begins so for a formula
OF_CELL = (
    "run", "imported", "session", "arm", "block", "loop", "users", "rate_per_s", "cell_id",
    "validity",
)  # fmt: skip
OF_REQUEST = (
    "request_id", "response_id", "user", "prompt_id", "start_id", "in_window", "due_ns", "sent_ns",
    "done_ns", "chunks", "ttft_ms", "e2e_ms", "tpot_ms", "prompt_tokens", "completion_tokens",
    "output_tokens_asked", "finish_reason", "status", "error", "error_detail",
)  # fmt: skip
"""Times in ns from the cell's origin; latencies are missing where a request failed."""
OF_SUMMARY = (
    "output_tokens", "prompt_tokens", "reasons", "untold", "requests", "errors", "window_s",
    "throughput_tok_s", "requests_per_s", "ttft_p50_ms", "ttft_p95_ms", "e2e_p50_ms", "e2e_p95_ms",
    "itl_p50_ms", "itl_p95_ms", "tpot_p50_ms", "tpot_p95_ms",
)  # fmt: skip
"""Percentiles that are not estimable are missing; one that failures reach is "infinite"."""


def cell_rows(assessment: Assessment) -> list[Row]:
    """One row a cell: what it is, whether it counts, and what it came to.

    Returns:
        Plain values under the names of :data:`OF_CELL` and :data:`OF_SUMMARY`; missing: None.
    """
    found = []
    for cell in assessment.cells.to_dict("records"):
        values = {str(name): value for name, value in cell.items()}
        row = {name: _plain(values.get(name)) for name in (*OF_CELL, *OF_SUMMARY)}
        imported = {one.tool for one in assessment.run.imported}
        found.append(row | {
            "run": assessment.run.run, "imported": ", ".join(sorted(imported)) or None,
            "validity": validity(values),
        })  # fmt: skip
    return found


def validity(cell: dict[str, Any]) -> str:
    """VALID, INVALID, or that it cannot be told: no check failed and some could not be made."""
    if not cell["valid"]:
        return "INVALID"
    return UNTOLD if cell["untold"] else "VALID"


def request_rows(assessment: Assessment) -> Iterator[Row]:
    """One row a request of every cell, in the order in which they ended.

    Yields:
        Plain values under the names of :data:`OF_CELL` and :data:`OF_REQUEST`; missing: None.
    """
    for cell in cell_rows(assessment):
        requests = assessment.arrays(cell["cell_id"])
        table = frame(requests.table)
        table["in_window"] = requests.in_window
        table["chunks"] = [_chunks(stamps) for stamps in requests.table["chunk_ns"].to_pylist()]
        for quantity in ("ttft", "e2e", "tpot"):
            values = requests.of_all(quantity)
            table[f"{quantity}_ms"] = np.where(requests.failed, np.nan, values)
        shared = {name: cell[name] for name in OF_CELL}
        for row in plain_records(table[list(OF_REQUEST)]):
            yield shared | row


def _chunks(stamps: list[int | None] | None) -> int | None:
    """How many chunks an answer had; None: not told."""
    return None if stamps is None or None in stamps else len(stamps)


def export(assessment: Assessment, to: Format, out: Path, *, force: bool = False) -> list[Path]:
    """Write two files: the requests, and beside them the cells, with ``-cells`` in its name.

    Text that a spreadsheet would take for a formula has an apostrophe before it in CSV.

    Args:
        assessment: of the run.
        to: csv or jsonl (one JSON object a line).
        out: the file of the requests.
        force: whether files that are there are replaced.

    Returns:
        Both paths.

    Raises:
        BadInput: a file is there, or the folder is not.
        StoreError: they cannot be written.
    """
    paths = [out, out.with_name(f"{out.stem}{CELLS}{out.suffix}")]
    if not out.parent.is_dir():
        raise BadInput(f"no folder {out.parent.name}", "a folder for the files", "make it")
    if there := [path.name for path in paths if path.exists() and not force]:
        raise BadInput(f"there is a file {there[0]} already", "names that are free",
                       "choose another with --out, or replace it with --force")  # fmt: skip
    write = _csv if to == "csv" else _jsonl
    with ExitStack() as stack:
        files = [stack.enter_context(replacing(path)) for path in paths]
        _written(files[0], write, (*OF_CELL, *OF_REQUEST), request_rows(assessment))
        _written(files[1], write, (*OF_CELL, *OF_SUMMARY), cell_rows(assessment))
    return paths


Writer = Callable[[TextIO, tuple[str, ...], Iterable[Row]], None]


def _written(path: Path, write: Writer, names: tuple[str, ...], rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write(file, names, rows)


def _csv(file: TextIO, names: tuple[str, ...], rows: Iterable[Row]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([harmless(row[name]) for name in names] for row in rows)


def _jsonl(file: TextIO, names: tuple[str, ...], rows: Iterable[Row]) -> None:
    for row in rows:
        told = {name: row[name] for name in names}
        file.write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")


def harmless(value: Any) -> Any:
    """A value of a CSV file; text that could be a formula has an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and math.isinf(value):
        return "infinite"
    return value.item() if isinstance(value, np.generic) else value
