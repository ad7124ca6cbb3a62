"""A run goes into one file and comes out of it the same; the same run gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import zipfile
from pathlib import Path

import pytest

from heavyweight.errors import StoreError
from heavyweight.packing import pack, unfinished, unpack
from heavyweight.sealing import Sums
from heavyweight.store import RunFolder
from tests.synthetic import write_run

ROOT = Path(__file__).parents[2]
REFERENCE = RunFolder.open(ROOT / "data" / "reference")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_reference_run_makes_the_round_trip(tmp_path: Path) -> None:
    packed = pack(REFERENCE, tmp_path / "reference.zip")
    assert packed.manifest.unfinished == []
    assert packed.manifest.commit == REFERENCE.run.commit
    assert packed.path.stat().st_size < 20e6
    folder = unpack(packed.path, tmp_path / "runs")
    assert folder.path == tmp_path / "runs" / "reference"
    before = contents(REFERENCE.path)
    before.pop("headline.png")  # it is made again from the rest
    assert contents(folder.path) == before
    sums = Sums.read(folder.path)
    assert sums is not None
    assert sums.compared().intact
    assert folder.run == REFERENCE.run
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["reference"]


def test_the_same_run_gives_the_same_bytes_whatever_the_times(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    first = pack(run, tmp_path / "a.zip").path.read_bytes()
    for path in run.path.rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert pack(run, tmp_path / "b.zip").path.read_bytes() == first
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert names == ["manifest.json", *sorted(names[1:])]


def test_temporaries_locks_and_what_is_made_again_stay_behind(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    for name in (".progress.json", ".stop", "b01-slots/.papermill.log", "report/x.ipynb",
                 "report.html", ".cache/x.json"):  # fmt: skip
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_text("{}")
    files = set(pack(run, tmp_path / "one.zip").manifest.files)
    assert "run.json" in files
    assert not [name for name in files if "report" in name or "/." in name or name[0] == "."]


def test_names_of_this_machine_are_taken_out_of_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    secret = f"{Path.home()}/x and {socket.gethostname()}"
    (run.path / "server-1.log").write_text(f"loading {secret}\n")
    packed = pack(run, tmp_path / "one.zip")
    text = zipfile.ZipFile(packed.path).read("one/server-1.log").decode()
    assert str(Path.home()) not in text
    assert "loading ~/x" in text
    unpack(packed.path, tmp_path / "runs")  # its checksum is that of the text as it was packed


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    assert unfinished(run) == []
    gone = run.sessions()[0]
    session = json.loads((gone.path / "session.json").read_text())
    (gone.path / "session.json").write_text(json.dumps(session | {"complete": False}))
    shutil.rmtree(run.path / "instrument")
    manifest = pack(run, tmp_path / "one.zip").manifest
    assert manifest.unfinished == ["instrument", f"b{gone.record.block:02d}-{gone.record.arm}"]
    assert unfinished(unpack(tmp_path / "one.zip", tmp_path / "runs")) == manifest.unfinished


def test_links_and_strange_names_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    (run.path / "passwd.log").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match=r"passwd\.log is a link"):
        pack(run, tmp_path / "one.zip")
    (run.path / "passwd.log").unlink()
    (run.path / "a b.log").write_text("")
    with pytest.raises(StoreError, match=r"a b\.log has a name"):
        pack(run, tmp_path / "one.zip")
    assert not (tmp_path / "one.zip").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    (tmp_path / "taken.zip").mkdir()
    with pytest.raises(StoreError, match=r"cannot write taken\.zip"):
        pack(run, tmp_path / "taken.zip")
    assert not list(tmp_path.glob(".taken*"))
