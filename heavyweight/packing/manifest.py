"""What a packed run says of itself: its first entry, manifest.json."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from heavyweight.records import Record, unit

MANIFEST = "manifest.json"
RUN_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
PART = re.compile(r"[A-Za-z0-9_][\w.+-]{0,199}")


class PackedFile(Record):
    """One file of a packed run."""

    sha256: str = unit("its checksum")
    size_bytes: int = unit("its size", "bytes", ge=0)


class PackManifest(Record):
    """manifest.json of a packed run."""

    format: int = unit("of the packing", default=1, ge=1, le=1)
    run: str = unit("name of the run's folder")
    profile: str = unit("of the run")
    commit: str | None = unit("of the checkout that measured", default=None)
    clean: bool | None = unit("whether that checkout had no changes", default=None)
    unfinished: list[str] = unit("what of the plan is not there", default_factory=list)
    files: dict[str, PackedFile] = unit("path below the run's folder: its checksum and size")


def safe_name(name: str) -> bool:
    """Whether a path of an archive stays below the folder that it is unpacked to.

    Relative, in plain letters, without `..`, backslash, drive, and nothing hidden.
    """
    parts = PurePosixPath(name).parts
    plain = bool(parts) and all(PART.fullmatch(part) for part in parts)
    return plain and "/".join(parts) == name
