"""A run folder -> one zip archive with a manifest; the same folder gives the same bytes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heavyweight.calibrations import InstrumentFolder
from heavyweight.errors import StoreError
from heavyweight.packing.manifest import MANIFEST, PackedFile, PackManifest, safe_name
from heavyweight.paths import scrub
from heavyweight.sealing import MADE_AGAIN
from heavyweight.store import RUN_FILE, RunFolder, replacing

TEXT = {".json", ".ipynb", ".log", ".toml", ".txt", ".md", ".csv"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip archive's earliest: times of files would make it another one
READABLE = 0o100644 << 16


@dataclass(frozen=True)
class Packed:
    """What was packed.

    Attributes:
        path: the archive.
        manifest: its manifest.
    """

    path: Path
    manifest: PackManifest


def pack(run: RunFolder, out: Path) -> Packed:
    """Write a run into one archive: its raw data, study.toml, logs and executed notebooks.

    Left out are temporary and hidden files, and the page with its notebooks, which are made again
    from the rest. Names of this machine are taken out of all text once more.

    Args:
        run: that is packed, complete or not.
        out: the archive; an older one is replaced.

    Raises:
        StoreError: a file cannot be read, is a link, or has a name that could not be unpacked; or
            the archive cannot be written.
    """
    contents = {}
    for name, path in sorted(_files(run.path)):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {name}: {error.strerror}", "a readable run") from error
        contents[name] = scrub(data.decode("utf-8", "replace")).encode() \
            if path.suffix in TEXT else data  # fmt: skip
    manifest = PackManifest(
        run=run.path.absolute().name,
        profile=run.run.profile,
        commit=run.run.commit,
        clean=run.run.clean,
        unfinished=unfinished(run),
        files={
            name: PackedFile(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in contents.items()
        },
    )
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        text = manifest.model_dump_json(indent=2) + "\n"
        for name, data in ((MANIFEST, text.encode()), *contents.items()):
            inside = name if name == MANIFEST else f"{manifest.run}/{name}"
            entry = zipfile.ZipInfo(inside, EPOCH)
            entry.external_attr, entry.create_system = READABLE, 3
            kind = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, kind)
    return Packed(out, manifest)


def unfinished(run: RunFolder) -> list[str]:
    """What of a run's plan is not there, by the names of its folders; empty: it is complete."""
    record = run.run
    planned = {(block, arm) for block in range(1, record.blocks + 1) for arm in record.arms}
    done = {
        (session.record.block, session.record.arm)
        for session in run.sessions()
        if session.record.complete
    }
    instrument = InstrumentFolder.of(run.path)
    # Who measured elsewhere cannot measure this client's error, and nobody waits for it.
    calibrated = bool(record.imported) or (instrument.exists and instrument.record.complete)
    return [*(["instrument"] * (not calibrated)),
            *(f"b{block:02d}-{arm}" for block, arm in sorted(planned - done))]  # fmt: skip


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if parts[0] in MADE_AGAIN or any(part.startswith(".") for part in parts):
            continue
        name = "/".join(parts)
        if path.is_symlink():
            raise StoreError(f"{name} is a link", "files of the run's own", "put the file there")
        if not path.is_file():
            continue
        if not safe_name(name):
            raise StoreError(
                f"{name} has a name that other systems may not take",
                "letters, digits, dot, dash and underscore",
                "rename it, or move it out of the run",
            )
        yield name, path
    if not (folder / RUN_FILE).is_file():
        raise StoreError(f"no {RUN_FILE} in {folder.name}", "a run folder of this study")
