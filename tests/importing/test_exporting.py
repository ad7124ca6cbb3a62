"""What is exported is what the run has; read back, it is the same; a spreadsheet runs nothing."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.errors import BadInput
from heavyweight.estimates import Assessment, assess
from heavyweight.exporting import FORMULA, OF_CELL, OF_REQUEST, cell_rows, export, harmless
from heavyweight.importing import Source, read, write_run
from tests.importing.test_importing import FILES
from tests.synthetic import LIMITS, fail
from tests.synthetic import write_run as synthetic_run


def one_fails(cell, rows):
    """The third request failed, in words that a spreadsheet would execute."""
    return cell, [fail(row) | {"error_detail": '=cmd|"x"'} if i == 2 else row
                  for i, row in enumerate(rows)]  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    folder = tmp_path_factory.mktemp("runs") / "ours"
    return assess(synthetic_run(folder, users=(1, 4), blocks=1, edit=one_fails))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    found = read(FILES["guidellm-two"])
    return assess(write_run(tmp_path_factory.mktemp("runs"), "x", [Source(found, "a")], LIMITS))


def jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("which", ["measured", "imported"])
def test_json_lines_are_the_rows_and_the_latencies(which: str, request, tmp_path: Path) -> None:
    assessment: Assessment = request.getfixturevalue(which)
    requests, cells = export(assessment, "jsonl", tmp_path / "out.jsonl")
    rows = jsonl(requests)
    assert [set(row) for row in rows] == [{*OF_CELL, *OF_REQUEST}] * len(rows)
    assert jsonl(cells) == cell_rows(assessment)
    for cell_id in assessment.cells["cell_id"]:
        mine = [row for row in rows if row["cell_id"] == cell_id]
        arrays = assessment.arrays(cell_id)
        table = arrays.table.to_pylist()
        for name in ("request_id", "sent_ns", "due_ns", "done_ns", "error", "error_detail",
                     "completion_tokens", "prompt_id"):  # fmt: skip
            assert [row[name] for row in mine] == [row[name] for row in table], name
        for quantity in ("ttft", "e2e", "tpot"):
            inside = [row[f"{quantity}_ms"] for row in mine
                      if row["in_window"] and row["error"] is None]  # fmt: skip
            values = arrays.latencies_ms(quantity, failures=False)
            assert [x for x in inside if x is not None] == pytest.approx(values)


def test_csv_and_json_lines_say_the_same(measured: Assessment, tmp_path: Path) -> None:
    pairs = zip(export(measured, "csv", tmp_path / "a.csv"),
                export(measured, "jsonl", tmp_path / "a.jsonl"), strict=True)  # fmt: skip
    for as_csv, as_lines in pairs:
        with as_csv.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row, told in zip(rows, jsonl(as_lines), strict=True):
            for name, value in told.items():
                if value is None:
                    assert row[name] == ""
                elif isinstance(value, float):
                    assert float(row[name]) == value
                else:
                    assert row[name] == str(harmless(value))


def test_failed_requests_have_no_latency_and_their_words_do_nothing(
    measured: Assessment, tmp_path: Path
) -> None:
    requests, _ = export(measured, "csv", tmp_path / "out.csv")
    with requests.open(newline="") as file:
        bad = [row for row in csv.DictReader(file) if row["error"]]
    assert len(bad) == len(measured.cells)
    assert {(row["ttft_ms"], row["e2e_ms"], row["tpot_ms"]) for row in bad} == {("", "", "")}
    assert {row["error_detail"] for row in bad} == {'\'=cmd|"x"'}
    assert {row["validity"] for row in bad} == {"INVALID"}


@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none()))
def test_no_text_is_a_formula_and_nothing_is_lost(value) -> None:
    made = harmless(value)
    assert made in (value, f"'{value}")
    if isinstance(made, str):
        assert not made.startswith(FORMULA)
    else:
        assert made is value


def test_what_is_not_told_is_empty_and_cells_say_so(imported: Assessment, tmp_path: Path) -> None:
    requests, cells = export(imported, "jsonl", tmp_path / "out.jsonl")
    assert {row["chunks"] for row in jsonl(requests)} == {None}
    assert {row["user"] for row in jsonl(requests)} == {None}
    assert {row["imported"] for row in jsonl(cells)} == {"guidellm"}
    assert {row["users"] for row in jsonl(cells)} == {1, 4}
    assert all("machine" in row["untold"] for row in jsonl(cells))


def test_nothing_is_overwritten_without_force(measured: Assessment, tmp_path: Path) -> None:
    there = tmp_path / "out-cells.csv"
    there.write_text("mine")
    with pytest.raises(BadInput, match="--force"):
        export(measured, "csv", tmp_path / "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-cells.csv"]
    export(measured, "csv", tmp_path / "out.csv", force=True)
    assert there.read_text() != "mine"
    with pytest.raises(BadInput, match="no folder"):
        export(measured, "csv", tmp_path / "absent" / "out.csv")


def test_infinite_percentiles_are_a_word(measured: Assessment) -> None:
    for row in cell_rows(measured):
        assert not any(isinstance(v, float) and not math.isfinite(v) for v in row.values())
        assert not any(isinstance(v, np.generic) for v in row.values())
