"""An archive of a stranger can do nothing but become a run folder, or be refused."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heavyweight.errors import BadInput, StoreError, StudyError
from heavyweight.packing import pack, unpack
from heavyweight.packing.manifest import safe_name
from tests.synthetic import write_run


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return pack(write_run(folder / "one", users=(1,), blocks=1), folder / "one.zip").path


class Archive:
    """The entries of an archive, to be changed and written again."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as opened:
            self.entries = [(name, opened.read(name)) for name in opened.namelist()[1:]]
            self.manifest: dict[str, Any] = json.loads(opened.read("manifest.json"))

    def add(self, name: str, data: bytes, said: str | None = None) -> None:
        self.entries.append((name, data))
        entry = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        self.manifest["files"][said or name.partition("/")[2]] = entry

    def write(self, path: Path, mode: int = stat.S_IFREG | 0o644) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", json.dumps(self.manifest))
            for name, data in self.entries:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = mode << 16
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
        return path


def nothing_was_written(tmp_path: Path) -> bool:
    runs = tmp_path / "runs"
    return not (tmp_path / "evil.log").exists() and not (runs.exists() and list(runs.iterdir()))


@pytest.mark.parametrize(
    "name",
    ["one/../evil.log", "../evil.log", "/evil.log", "one//evil.log", "one/..", "one/.hidden",
     "one\\evil.log", "one/a\\..\\evil.log", "two/evil.log", "one/C:evil.log", "one/a\x00b", "one/",
     "one/./evil.log", "evil.log"],
)  # fmt: skip
def test_no_path_leaves_the_folder(packed: Path, tmp_path: Path, name: str) -> None:
    archive = Archive(packed)
    archive.add(name, b"evil")
    with pytest.raises(BadInput, match=r"no file of the run|differ"):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    assert nothing_was_written(tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_are_refused(packed: Path, tmp_path: Path, kind: int) -> None:
    path = Archive(packed).write(tmp_path / "x.zip", kind | 0o777)
    with pytest.raises(BadInput, match="no file of the run"):
        unpack(path, tmp_path / "runs")
    assert nothing_was_written(tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", ".hidden", "x" * 200, "/etc"])
def test_the_name_of_the_run_is_a_name(packed: Path, tmp_path: Path, name: str) -> None:
    archive = Archive(packed)
    archive.manifest["run"] = name
    archive.entries = [(n.replace("one/", f"{name}/", 1), data) for n, data in archive.entries]
    with pytest.raises(BadInput):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    assert nothing_was_written(tmp_path)


@pytest.mark.parametrize(
    "names",
    [("one/x.log", "one/x.log/y.log"), ("one/run.json/y.log",), ("one/" + "x" * 300,),
     ("one/" + "/".join(["x"] * 2000),), ("one/a b",), ("one/a\n",), ("one/-rf",), ("one/$HOME",),
     ("one/caf\u00e9\u202egol.exe",)],
)  # fmt: skip
def test_odd_names_leave_nothing_behind(
    packed: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    archive = Archive(packed)
    for name in names:
        archive.add(name, b"odd")
    with pytest.raises(StudyError):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    assert nothing_was_written(tmp_path)


def test_a_run_is_not_unpacked_through_a_link(packed: Path, tmp_path: Path) -> None:
    runs, outside = tmp_path / "runs", tmp_path / "outside"
    runs.mkdir()
    outside.mkdir()
    (runs / "one").symlink_to(outside)
    with pytest.raises(StoreError, match="a run one already"):
        unpack(packed, runs)
    assert not list(outside.iterdir())
    (runs / "one").unlink()
    (runs / "one").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError):
        unpack(packed, runs)
    assert not (tmp_path / "nowhere").exists()


def test_two_names_for_one_entry_are_refused(packed: Path, tmp_path: Path) -> None:
    """The list at the end says one name, the entry itself another: readers differ."""
    data = packed.read_bytes()
    inside = b"one/run.json"
    assert data.count(inside) == 2
    path = tmp_path / "x.zip"
    path.write_bytes(
        data.replace(inside, b"one/../x.js", 1).replace(b"one/../x.js", b"../../xx.log", 1)
    )
    with pytest.raises(BadInput, match="is cut off or no archive"):
        unpack(path, tmp_path / "runs")
    assert nothing_was_written(tmp_path)


def test_a_bit_that_fell_over_is_found(packed: Path, tmp_path: Path) -> None:
    archive = Archive(packed)
    name, data = archive.entries[-1]
    archive.entries[-1] = (name, bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(BadInput, match="another checksum"):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    assert nothing_was_written(tmp_path)


def test_files_and_manifest_must_name_the_same(packed: Path, tmp_path: Path) -> None:
    archive = Archive(packed)
    archive.entries.append(("one/more.log", b"more"))
    with pytest.raises(BadInput, match=r"differ: more\.log"):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    archive = Archive(packed)
    del archive.entries[0]
    with pytest.raises(BadInput, match="differ"):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    archive = Archive(packed)
    archive.entries.append(archive.entries[0])
    with pytest.warns(UserWarning, match="Duplicate"):
        path = archive.write(tmp_path / "x.zip")
    with pytest.raises(BadInput, match="twice"):
        unpack(path, tmp_path / "runs")
    assert nothing_was_written(tmp_path)


def test_a_bomb_is_refused_by_its_size_and_by_what_comes_out(packed: Path, tmp_path: Path) -> None:
    archive = Archive(packed)
    archive.add("one/zeros.log", bytes(10 << 20))
    path = archive.write(tmp_path / "x.zip")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BadInput, match="unpacked"):
        unpack(path, tmp_path / "runs", most_bytes=5 << 20)
    archive.manifest["files"]["zeros.log"]["size_bytes"] = 100
    with pytest.raises(BadInput, match="another checksum or size"):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    assert nothing_was_written(tmp_path)


def test_nothing_is_overwritten(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "runs")
    marker = tmp_path / "runs" / "one" / "run.json"
    before = marker.read_bytes()
    with pytest.raises(StoreError, match="a run one already"):
        unpack(packed, tmp_path / "runs")
    assert marker.read_bytes() == before
    assert unpack(packed, tmp_path / "runs", name="two").path.name == "two"
    with pytest.raises(BadInput):
        unpack(packed, tmp_path / "runs", name="../three")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["one", "two"]


def test_what_is_no_run_is_refused(packed: Path, tmp_path: Path) -> None:
    archive = Archive(packed)
    place = next(i for i, (name, _) in enumerate(archive.entries) if name == "one/run.json")
    del archive.entries[place]
    archive.add("one/run.json", b"{}")
    with pytest.raises(StoreError, match=r"run\.json is cut off"):
        unpack(archive.write(tmp_path / "x.zip"), tmp_path / "runs")
    assert nothing_was_written(tmp_path)
    with pytest.raises(BadInput, match=r"no file gone\.zip"):
        unpack(tmp_path / "gone.zip", tmp_path / "runs")
    empty = tmp_path / "empty.zip"
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(BadInput, match=r"has no manifest\.json"):
        unpack(empty, tmp_path / "runs")


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_archive_cut_off_or_damaged_anywhere_is_one_message(
    packed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole = packed.read_bytes()
    if data.draw(st.booleans()):
        broken = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        broken = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))])
        broken += whole[place + 1 :]
    path = tmp_path / "broken.zip"
    path.write_bytes(broken)
    try:
        folder = unpack(path, tmp_path / "runs")
    except StudyError:
        assert nothing_was_written(tmp_path)
    else:  # a bit of the archive that says nothing of the files
        from shutil import rmtree

        rmtree(folder.path)


@given(st.text())
def test_a_safe_name_is_a_plain_relative_path(name: str) -> None:
    if safe_name(name):
        parts = name.split("/")
        assert all(part and part not in (".", "..") and part[0] != "." for part in parts)
        assert "\\" not in name
        assert "\x00" not in name
