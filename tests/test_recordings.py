"""A cell's telemetry lies beside it, whole or not at all, and is taken for no cell."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heavyweight.errors import StoreError
from heavyweight.recordings import Recording, path_beside
from heavyweight.records import TELEMETRY_QUANTITIES, TELEMETRY_SCHEMA
from heavyweight.store import METADATA_KEY, RunFolder
from tests.recorded import GPU, QUIET, VLLM, table, write_beside
from tests.synthetic import write_run


@pytest.fixture
def file(tmp_path):
    run = write_run(tmp_path / "run", users=(4,), blocks=1)
    return run.sessions()[0].cells()[0]


def test_what_was_written_is_read(file):
    assert Recording.beside(file.path) is None
    assert file.telemetry() is None
    path = write_beside(file.path, file.cell, QUIET | GPU)
    assert path.name == f"n0004-{file.cell.cell_id[:12]}.telemetry.parquet"
    found = Recording.beside(file.path)
    assert found.record.cell_id == file.cell.cell_id
    expected = table(QUIET | GPU, -1, file.cell.window_end_ns / 1e9 + 1)
    assert found.table.to_pylist() == expected.to_pylist()
    assert file.telemetry().schema.equals(TELEMETRY_SCHEMA)


def test_telemetry_is_taken_for_no_cell(file, tmp_path):
    write_beside(file.path, file.cell, QUIET)
    cells = RunFolder.open(tmp_path / "run").sessions()[0].cells()
    assert [cell.path for cell in cells] == [file.path]


def test_it_is_written_once(file):
    write_beside(file.path, file.cell, QUIET)
    with pytest.raises(StoreError, match="exists already"):
        write_beside(file.path, file.cell, QUIET)


def test_a_file_that_was_cut_off_is_refused(file):
    path = write_beside(file.path, file.cell, QUIET)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StoreError, match="the cell stands without it"):
        Recording.beside(file.path)


def test_another_parquet_file_is_refused(file):
    pq.write_table(pa.table({"at_ns": [1]}), path_beside(file.path))
    with pytest.raises(StoreError, match="telemetry of schema"):
        Recording.beside(file.path)


def test_telemetry_of_another_schema_is_named(file):
    path = write_beside(file.path, file.cell, QUIET)
    table = pq.read_table(path)
    told = json.loads(table.schema.metadata[METADATA_KEY]) | {"schema_version": 1}
    metadata = {METADATA_KEY: json.dumps(told).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(StoreError, match="is of schema 1"):
        Recording.beside(file.path)


def test_the_telemetry_of_these_tests_is_of_declared_quantities():
    known = {(one.source, one.name) for one in TELEMETRY_QUANTITIES}
    assert {(source, quantity) for source, quantity, _ in QUIET | GPU | VLLM} <= known
    assert len(known) == len(TELEMETRY_QUANTITIES)
