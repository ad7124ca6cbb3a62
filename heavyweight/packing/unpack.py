"""An archive of another machine -> a run folder, or nothing at all.

The archive is not trusted: its manifest must name exactly its files, none may leave the folder,
be a link, or be larger than was said; and each must have its checksum before the folder appears.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

from pydantic import ValidationError

from heavyweight.errors import BadInput, StoreError
from heavyweight.packing.manifest import MANIFEST, RUN_NAME, PackedFile, PackManifest, safe_name
from heavyweight.store import RunFolder

MOST_BYTES = 20 << 30  # of all files together
MOST_FILES = 100_000
MANIFEST_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# What reading a damaged archive raises, as damage at every place of one showed.
DAMAGED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, RuntimeError,
    NotImplementedError, ValueError, OverflowError,
)  # fmt: skip


def unpack(archive: Path, runs: Path, name: str = "", most_bytes: int = MOST_BYTES) -> RunFolder:
    """Unpack a run into the folder of the runs.

    Args:
        archive: made by :func:`heavyweight.packing.pack`.
        runs: folder of the runs; made if it is not there.
        name: of the run's folder; empty: as it was packed.
        most_bytes: that all files may have together.

    Raises:
        BadInput: no archive of a run, or one that says something else than it holds.
        StoreError: there is a run of that name, or it cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest = _manifest(opened, archive.name)
            chosen = name or manifest.run
            if not RUN_NAME.fullmatch(chosen):
                raise _refused(archive.name, f"names its run {chosen!r}")
            target = runs / chosen
            if target.exists():
                raise StoreError(
                    f"there is a run {chosen} already", "a name that is free",
                    "nothing is overwritten: choose another with --name",
                )  # fmt: skip
            entries = _entries(opened, manifest, archive.name, most_bytes)
            return _written(opened, manifest, entries, target, archive.name)
    except FileNotFoundError as error:
        raise BadInput(f"no file {archive.name}", "a packed run", "check its name") from error
    except DAMAGED as error:
        raise _refused(archive.name, f"is cut off or no archive ({error})") from error
    except OSError as error:
        raise StoreError(
            f"cannot unpack {archive.name}: {error.strerror or error}", "a writable data/runs",
            "free some space, or check the file",
        ) from error  # fmt: skip


def _manifest(opened: zipfile.ZipFile, archive: str) -> PackManifest:
    try:
        entry = opened.getinfo(MANIFEST)
    except KeyError as error:
        raise _refused(archive, f"has no {MANIFEST}") from error
    if entry.file_size > MANIFEST_BYTES or entry.compress_type not in KINDS:
        raise _refused(archive, f"has a {MANIFEST} of {entry.file_size} bytes")
    try:
        return PackManifest.model_validate_json(opened.read(entry))
    except ValidationError as error:
        raise _refused(archive, f"has a {MANIFEST} of another form") from error


def _entries(
    opened: zipfile.ZipFile, manifest: PackManifest, archive: str, most_bytes: int
) -> dict[str, zipfile.ZipInfo]:
    """Path below the run's folder: its entry. All is checked that can be without reading it."""
    entries = {}
    for entry in opened.infolist():
        if entry.filename == MANIFEST:
            continue
        top, _, inside = entry.filename.partition("/")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        regular = kind in (0, stat.S_IFREG) and entry.compress_type in KINDS
        if top != manifest.run or not safe_name(inside) or not regular:
            raise _refused(archive, f"holds {entry.filename!r}, which is no file of the run")
        if inside in entries:
            raise _refused(archive, f"holds {inside} twice")
        entries[inside] = entry
    if len(entries) > MOST_FILES:
        raise _refused(archive, f"holds {len(entries)} files")
    if apart := sorted(set(entries) ^ set(manifest.files)):
        raise _refused(archive, f"and its manifest differ: {apart[0]}")
    size = sum(entry.file_size for entry in entries.values())
    if size > most_bytes:
        raise BadInput(
            f"{archive} would be {size / 1e9:.1f} GB unpacked", f"at most {most_bytes / 1e9:.1f} GB"
        )
    return entries


def _written(
    opened: zipfile.ZipFile,
    manifest: PackManifest,
    entries: dict[str, zipfile.ZipInfo],
    target: Path,
    archive: str,
) -> RunFolder:
    """Unpack beside the target, look whether it is a run, and move it into its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as place:
        folder = Path(place) / target.name
        folder.mkdir()
        for inside, entry in entries.items():
            path = folder / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _copied(opened, entry, manifest.files[inside], path):
                raise _refused(archive, f"is damaged: {inside} has another checksum or size")
        RunFolder.open(folder)
        if target.exists():
            raise StoreError(f"there is a run {target.name} already", "a name that is free")
        os.rename(folder, target)
        shutil.rmtree(place, ignore_errors=True)
    return RunFolder.open(target)


def _copied(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, said: PackedFile, path: Path) -> bool:
    """Copy one file; whether it has the size and the checksum that the manifest gives it."""
    digest, size = hashlib.sha256(), 0
    with opened.open(entry) as source, path.open("xb") as file:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            if size > said.size_bytes:
                return False
            digest.update(chunk)
            file.write(chunk)
    return size == said.size_bytes and digest.hexdigest() == said.sha256


def _refused(archive: str, why: str) -> BadInput:
    return BadInput(
        f"{archive} {why}", "a run packed by `heavyweight study pack`", "pack and copy it again"
    )
