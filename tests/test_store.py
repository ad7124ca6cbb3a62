"""Files are whole or not there, and never overwritten."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heavyweight import store
from heavyweight.errors import StoreError
from heavyweight.records import REQUEST_COLUMNS, REQUEST_SCHEMA, Run
from tests.synthetic import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> store.RunFolder:
    made = write_run(tmp_path_factory.mktemp("runs") / "synthetic")
    return made if isinstance(made, store.RunFolder) else store.RunFolder.open(made.path)


def test_a_cell_is_read_as_it_was_written(run: store.RunFolder, tmp_path: Path) -> None:
    first = run.sessions()[0].cells()[0]
    table = first.requests()
    path = store.write_cell(tmp_path, first.cell, table)
    again = store.CellFile(path)
    assert again.cell == first.cell
    assert again.requests().equals(table)
    assert not list(tmp_path.glob(".*"))


def test_open_loops_are_named_by_their_rate(run: store.RunFolder, tmp_path: Path) -> None:
    first = run.sessions()[0].cells()[0]
    for rate, name in ((12.5, "r0012.5"), (0.25, "r0000.2"), (1200.0, "r1200.0")):
        changes = {"loop": "open", "users": 0, "arrivals": "poisson", "rate_per_s": rate}
        cell = first.cell.model_copy(update=changes)
        path = store.write_cell(tmp_path, cell, first.requests())
        assert path.name == f"{name}-{cell.cell_id[:12]}.parquet"
    store.write_cell(tmp_path, first.cell, first.requests())
    (tmp_path / "n0008-abc.server.parquet").touch()  # a log beside a cell is no cell
    found = store.SessionFolder(tmp_path).cells()
    assert [file.cell.rate_per_s for file in found] == [None, 0.25, 12.5, 1200.0]


def test_units_and_meanings_are_in_the_schema() -> None:
    for column in REQUEST_COLUMNS:
        metadata = REQUEST_SCHEMA.field(column.name).metadata
        assert metadata[b"doc"].decode() == column.meaning
        assert not column.name.endswith("_ns") or b"ns" in metadata[b"unit"]


def test_a_finished_cell_is_never_overwritten(run: store.RunFolder) -> None:
    file = run.sessions()[0].cells()[0]
    before = file.path.read_bytes()
    with pytest.raises(StoreError, match="exists already"):
        store.write_cell(file.path.parent, file.cell, file.requests())
    assert file.path.read_bytes() == before


def test_stamps_are_packed_by_what_they_are(run: store.RunFolder) -> None:
    file = pq.ParquetFile(run.sessions()[0].cells()[0].path)
    group = file.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["chunk_ns.list.element"].encodings
    assert "DELTA_BINARY_PACKED" in columns["sent_ns"].encodings
    assert columns["sent_ns"].compression == "BROTLI"
    assert set(file.metadata.metadata) == {store.METADATA_KEY}  # the columns' docs are not repeated


@pytest.mark.parametrize("keep", [0, 8, 0.5, 0.99])
def test_a_cut_parquet_is_refused(run: store.RunFolder, tmp_path: Path, keep: float) -> None:
    whole = run.sessions()[0].cells()[0].path.read_bytes()
    size = int(keep * len(whole)) if isinstance(keep, float) else keep
    path = tmp_path / "n0001-cut.parquet"
    path.write_bytes(whole[:size])
    with pytest.raises(StoreError, match="cannot be read"):
        _ = store.CellFile(path).cell


def test_a_parquet_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n0001-other.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(StoreError):
        _ = store.CellFile(path).cell


def test_a_run_folder_that_is_not_there_or_cut_off(tmp_path: Path, run: store.RunFolder) -> None:
    with pytest.raises(StoreError, match="no run folder"):
        store.RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"no run\.json"):
        store.RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text((run.path / "run.json").read_text()[:50])
    with pytest.raises(StoreError, match="cut off"):
        store.RunFolder.open(tmp_path)


def test_another_plan_is_refused_and_the_same_goes_on(tmp_path: Path, run: store.RunFolder) -> None:
    store.RunFolder.create(tmp_path / "r", run.run)
    later = run.run.model_copy(update={"created_utc": "2030-01-01T00:00:00+00:00", "commit": "x"})
    assert store.RunFolder.create(tmp_path / "r", later).run == run.run
    other: Run = run.run.model_copy(update={"seed": run.run.seed + 1})
    with pytest.raises(StoreError, match="another plan"):
        store.RunFolder.create(tmp_path / "r", other)


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.write_text(tmp_path / "a.txt", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*No space left"):
        store.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the power may fail between: a name without its bytes, or a finished file without one."""
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name.split(".")[0] or "temporary")
        sync(handle)

    def replaced(path: Path, target: Path) -> Path:
        done.append("replaced")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    session = tmp_path / "run" / "session"
    session.mkdir(parents=True)
    store.write_text(session / "cell.txt", "whole")
    assert done == ["temporary", "replaced", "session", "run"]


def test_a_place_that_is_not_there_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write a\.txt: No such file"):
        store.write_text(tmp_path / "nowhere" / "a.txt", "new")
    (tmp_path / "run.json").mkdir()
    with pytest.raises(StoreError, match=r"run\.json cannot be read"):
        store.read_json(tmp_path / "run.json", Run)


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_of_the_schema_is_named_with_the_code_that_reads_it(
    tmp_path: Path, run: store.RunFolder, version: int
) -> None:
    changed = run.run.model_copy(update={"schema_version": version, "commit": "abc123"})
    store.write_json(tmp_path / "run.json", changed)
    told = rf"run\.json is of schema {version}\. Expected: schema 2.*commit abc123"
    with pytest.raises(StoreError, match=told):
        store.RunFolder.open(tmp_path)
    file = run.sessions()[0].cells()[0]
    cell = file.cell.model_copy(update={"schema_version": version})
    with pytest.raises(StoreError, match=f"is of schema {version}"):
        _ = store.CellFile(store.write_cell(tmp_path, cell, file.requests())).cell


def test_logs_are_compressed_with_all_their_bytes_and_always_alike(tmp_path: Path) -> None:
    said = {"server-1.log": b"up\n" * 500, "server-2.log": b"", "probe-1.log": b"\xff\n"}
    for name, data in said.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".papermill.log").write_bytes(b"of a session that failed")
    made = store.compress_logs(tmp_path)
    assert [path.name for path in made] == [f"{name}.gz" for name in sorted(said)]
    assert {path.name[:-3]: gzip.decompress(path.read_bytes()) for path in made} == said
    assert sorted(path.name for path in tmp_path.glob("*.log")) == [".papermill.log"]
    first = made[-1].read_bytes()
    (tmp_path / "server-2.log").write_bytes(b"")
    assert store.compress_logs(tmp_path)[0].read_bytes() == first
