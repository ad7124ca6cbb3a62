"""What is said of a run is held against its raw data; whatever was changed is named."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest

from heavyweight import report, sealing
from heavyweight.store import RunFolder, write_cell
from heavyweight.verifying import Held, verify
from tests.synthetic import write_run

REFERENCE = Path(__file__).parents[1] / "data" / "reference-coldstart"
pytestmark = pytest.mark.notebook


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run with its page, sealed."""
    path = tmp_path_factory.mktemp("runs") / "coldstart"
    shutil.copytree(REFERENCE, path)
    report.report(path, path / "report.html")
    sealing.seal(RunFolder.open(path))
    return path


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of loads with one analysis, its page, sealed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(report.NOTEBOOKS, "session", ("throughput",))
        run = write_run(tmp_path_factory.mktemp("runs") / "loaded", users=(1, 8), blocks=2)
        report.report(run.path, run.path / "report.html")
        sealing.seal(run)
        yield run.path


def by_name(found: list[Held]) -> dict[str, Held]:
    return {one.what: one for one in found}


def test_a_run_as_it_was_measured_holds_and_nothing_is_written(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    found = by_name(verify(run))
    assert found.pop("validity") == Held(
        "validity", None, "0 of 0 cells are VALID, recomputed; no executed analysis says it"
    )
    assert {one.good for one in found.values()} == {True}, found
    assert set(found) == {
        "SHA256SUMS", "ro-crate-metadata.json", "limits", "records",
        "report/coldstart.ipynb", "report.html",
    }  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_whatever_was_changed_is_named(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "coldstart"
    shutil.copytree(run, path)
    record = json.loads((path / "run.json").read_text())
    record["limits"]["errors_fraction"] = 0.5
    (path / "run.json").write_text(json.dumps(record))
    page = (path / "report.html").read_text()
    (path / "report.html").write_text(re.sub(r"cold starts?", "warm starts", page, flags=re.I))
    executed = path / "report" / "coldstart.ipynb"
    notebook = nbformat.read(executed, as_version=4)
    texts = [o for c in notebook.cells for o in c.get("outputs", []) if "data" in o]
    texts[0].data["text/plain"] = "999 s"
    nbformat.write(notebook, executed)
    next(path.glob("b01-*/server-1.log.gz")).unlink()
    (path / "extra.txt").write_text("not measured")

    found = by_name(verify(path))
    assert found["SHA256SUMS"].good is False
    assert "changed since: run.json" in found["SHA256SUMS"].told
    assert "gone: b01-" in found["SHA256SUMS"].told
    assert "not sealed: extra.txt" in found["SHA256SUMS"].told
    assert found["ro-crate-metadata.json"].good is False
    assert found["limits"] == Held("limits", False, "not those of study.toml: errors_fraction")
    assert found["report/coldstart.ipynb"].good is False
    assert "said '999 s', and recomputed it is" in found["report/coldstart.ipynb"].told
    assert found["report.html"].good is False
    assert found["records"].good is True


def test_what_was_never_sealed_or_shown_cannot_be_told(tmp_path: Path) -> None:
    path = tmp_path / "coldstart"
    shutil.copytree(REFERENCE, path)
    for name in (sealing.SUMS_FILE, sealing.CRATE_FILE):
        (path / name).unlink(missing_ok=True)
    found = by_name(verify(path))
    for name in ("SHA256SUMS", "ro-crate-metadata.json", "analysis/coldstart.ipynb", "report.html"):
        assert found[name].good is None


def test_raw_data_that_was_changed_and_sealed_anew_is_found(loaded: Path, tmp_path: Path) -> None:
    """The checksums hold; what was said of the run does not follow from its requests any more."""
    path = tmp_path / "loaded"
    shutil.copytree(loaded, path)
    file = RunFolder.open(path).sessions()[1].cells()[0]
    cell, rows = file.cell, file.requests().to_pylist()
    rows[len(rows) // 2]["done_ns"] += 3_000_000_000
    file.path.unlink()
    write_cell(file.path.parent, cell, pa.Table.from_pylist(rows))
    (path / sealing.SUMS_FILE).unlink()
    sealing.seal(RunFolder.open(path))

    found = by_name(verify(path))
    for name in ("SHA256SUMS", "ro-crate-metadata.json", "records"):
        assert found[name].good is True, found[name]
    for name in ("validity", "report/throughput.ipynb", "report.html"):
        assert found[name].good is False, found[name]
    assert "1 of 2 VALID" in found["validity"].told


@pytest.fixture
def executed_before(loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is executed anew: what it would say is what was said of the run as it is."""
    kept = nbformat.read(loaded / "report" / "throughput.ipynb", as_version=4)
    monkeypatch.setattr(report, "executed_over", lambda *_: {"throughput": kept})


@pytest.mark.usefixtures("executed_before")
def test_the_valid_cells_are_held_against_the_analyses(loaded: Path) -> None:
    found = by_name(verify(loaded))
    assert {one.good for one in found.values() if one.what != "limits"} == {True}, found
    assert found["validity"].told == (
        "8 of 8 cells are VALID, recomputed, and 2 tables of them say the same"
    )


@pytest.mark.usefixtures("executed_before")
def test_a_number_that_was_changed_in_a_figures_data_is_found(loaded: Path, tmp_path: Path) -> None:
    path = tmp_path / "loaded"
    shutil.copytree(loaded, path)
    page = (path / "report.html").read_text()
    begin = "data:text/csv;base64,"
    data = re.findall(rf'{begin}([^"]+)', page)[-1]
    text = base64.b64decode(data).decode()
    number = re.findall(r"\d\.\d+", text)[-1]
    other = base64.b64encode(text.replace(number, "7.25").encode()).decode()
    (path / "report.html").write_text(page.replace(data, other))
    found = by_name(verify(path))["report.html"]
    assert found.good is False
    assert "7.25" in found.told


def test_a_damaged_session_is_told_and_ends_nothing_in_an_error(
    loaded: Path, tmp_path: Path
) -> None:
    path = tmp_path / "loaded"
    shutil.copytree(loaded, path)
    damaged = path / "b01-emulated-slots" / "session.json"
    damaged.write_text(damaged.read_text()[:100])
    found = by_name(verify(path))
    for name in ("SHA256SUMS", "ro-crate-metadata.json", "records", "analyses"):
        assert found[name].good is False, found[name]
        assert "b01-emulated-slots/session.json" in found[name].told
