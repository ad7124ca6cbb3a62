"""A finished file that is changed, cut or gone is seen, whatever happens to it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heavyweight import sealing
from heavyweight.cli.study import check
from heavyweight.errors import StoreError
from heavyweight.estimates import assess
from heavyweight.records import Session
from heavyweight.store import SESSION_FILE, CellFile, RunFolder, write_json, write_text
from tests.synthetic import write_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    write_run(tmp_path / "synthetic")
    return RunFolder.open(tmp_path / "synthetic")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("runs") / "synthetic"
    write_run(path)
    folder = RunFolder.open(path)
    sealing.seal(folder)
    return folder


def cell_of(run: RunFolder) -> CellFile:
    return run.sessions()[0].cells()[0]


def completed(run: RunFolder, complete: bool = True) -> None:
    for folder in run.sessions():
        record: Session = folder.record.model_copy(update={"complete": complete})
        write_json(folder.path / SESSION_FILE, record)


def test_coreutils_reads_the_checksums(run: RunFolder) -> None:
    completed(run)
    sums = sealing.seal(run)
    assert {"b01-emulated-slots/session.json", "ro-crate-metadata.json"} <= set(sums.by_name)
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", sealing.SUMS_FILE],
        cwd=run.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_sealing_twice_changes_nothing(run: RunFolder) -> None:
    first = sealing.seal(run)
    text = (run.path / sealing.SUMS_FILE).read_bytes()
    assert sealing.seal(run) == first
    assert (run.path / sealing.SUMS_FILE).read_bytes() == text
    assert sealing.Sums.read(run.path) == first
    assert first.compared().intact


def test_what_goes_on_is_not_sealed(run: RunFolder) -> None:
    completed(run, complete=False)
    sums = sealing.seal(run)
    names = set(sums.by_name)
    assert cell_of(run).path.relative_to(run.path).as_posix() in names
    assert not any(name.endswith(SESSION_FILE) for name in names)
    completed(run)  # it goes on: the same file says something else
    assert any(name.endswith(SESSION_FILE) for name in sealing.seal(run).by_name)


@pytest.mark.parametrize("name", ["report/latency.ipynb", "report.html", ".progress.json"])
def test_what_is_made_again_is_not_sealed(run: RunFolder, name: str) -> None:
    (run.path / name).parent.mkdir(exist_ok=True)
    write_text(run.path / name, "now")
    assert name not in sealing.seal(run).by_name
    write_text(run.path / name, "later")
    assert sealing.seal(run).compared().intact


def test_a_changed_file_is_named_and_its_checksum_stays(run: RunFolder) -> None:
    sealing.seal(run)
    sealing.refuse_changed(run)
    file = cell_of(run).path
    file.write_bytes(file.read_bytes() + b"\0")
    before = (run.path / sealing.SUMS_FILE).read_bytes()
    for looks in (sealing.seal, sealing.refuse_changed, lambda run: check(str(run.path))):
        with pytest.raises(StoreError, match=rf"not as they were measured.*{file.name}.*Remedy"):
            looks(run)
    assert (run.path / sealing.SUMS_FILE).read_bytes() == before


def test_a_file_that_is_gone_is_told_and_may_be_measured_again(run: RunFolder) -> None:
    sums = sealing.seal(run)
    file = cell_of(run)
    name = file.path.relative_to(run.path).as_posix()
    content = file.path.read_bytes()
    file.path.unlink()
    assert sums.compared().gone == (name,)
    assert name not in sealing.seal(run).by_name
    file.path.write_bytes(content + b"another")  # stands for a cell that was measured again
    assert name in sealing.seal(run).by_name


@settings(max_examples=8)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_enters_a_number(sealed: RunFolder, place: float, bit: int) -> None:
    file = cell_of(sealed).path
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    try:
        file.write_bytes(damaged)
        found = assess(sealed)
    finally:
        file.write_bytes(whole)
    assert any(file.name in problem for problem in found.problems)
    assert len(found.cells) == sum(len(one.cells()) for one in sealed.sessions()) - 1


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_rows_is_seen_without_checksums_too(
    sealed: RunFolder, place: float, bit: int
) -> None:
    file = cell_of(sealed)
    whole, table = file.path.read_bytes(), file.requests()
    rows_end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    copy = sealed.path.parent / file.path.name
    damaged = bytearray(whole)
    damaged[4 + int(place * (rows_end - 4))] ^= 1 << bit
    copy.write_bytes(damaged)
    with contextlib.suppress(StoreError):  # or it changes nothing, as in a page's statistics
        assert CellFile(copy).requests().equals(table)


@pytest.mark.parametrize(
    "text", ["", "nonsense\n", "0" * 64 + "  name", "0" * 63 + "  name\n", "\xff\n"]
)
def test_a_damaged_list_of_checksums_is_refused(run: RunFolder, text: str) -> None:
    sealing.seal(run)
    (run.path / sealing.SUMS_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match="no list of checksums"):
        sealing.Sums.read(run.path)
    assert any("no list of checksums" in problem for problem in assess(run).problems)


def test_a_run_that_was_never_sealed_is_read_all_the_same(run: RunFolder) -> None:
    assert sealing.Sums.read(run.path) is None
    assert not assess(run).problems


def test_a_copy_of_a_sealed_run_is_intact(sealed: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(sealed.path, tmp_path / "copy")
    sums = sealing.Sums.read(tmp_path / "copy")
    assert sums is not None
    assert sums.compared().intact
