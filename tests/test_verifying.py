"""What is said of a run is held against its raw data; whatever was changed is named."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from heavyweight import report, sealing
from heavyweight.store import RunFolder
from heavyweight.verifying import Held, verify

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


def by_name(found: list[Held]) -> dict[str, Held]:
    return {one.what: one for one in found}


def test_a_run_as_it_was_measured_holds_and_nothing_is_written(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    found = by_name(verify(run))
    assert {one.good for one in found.values()} == {True}, found
    assert set(found) == {
        "SHA256SUMS", "ro-crate-metadata.json", "limits", "records", "validity",
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
