"""SHA256SUMS of a run: which files are finished, and whether they are still as they were."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from heavyweight.errors import StoreError
from heavyweight.store import write_text

SUMS_FILE = "SHA256SUMS"
CRATE_FILE = "ro-crate-metadata.json"
MADE_AGAIN = frozenset({"report", "report.html", "headline.png"})  # from the rest
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def sha256(path: Path) -> str:
    """Checksum of a file's content.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(
            f"{path.parent.name}/{path.name} cannot be read: {error.strerror}",
            "a file that can be read",
            "look at its owner and mode, and at the disk",
        ) from error


def kept_files(run: Path) -> Iterator[tuple[str, Path]]:
    """The files and links of a run by their names below it, in the order of their names.

    Left out are hidden and temporary files, the checksums themselves, and what is made again from
    the rest.
    """
    for path in sorted(run.rglob("*")):
        parts = path.relative_to(run).parts
        if parts[0] in MADE_AGAIN or any(part.startswith(".") for part in parts):
            continue
        if parts != (SUMS_FILE,) and (path.is_symlink() or path.is_file()):
            yield "/".join(parts), path


@dataclass(frozen=True)
class Compared:
    """A run's files beside its checksums.

    Args:
        same: as they were sealed.
        changed: with another content.
        gone: sealed and not there.
        unsealed: there and not sealed: of a session that is not complete, or added since.
    """

    same: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    unsealed: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether every file that was sealed is there as it was."""
        return not self.changed and not self.gone


@dataclass(frozen=True)
class Sums:
    """The checksums of a run.

    Args:
        run: its folder.
        by_name: name below it: checksum, in hexadecimal digits.
    """

    run: Path
    by_name: Mapping[str, str]

    @classmethod
    def read(cls, run: Path) -> Sums | None:
        """The checksums of a run; None: it was never sealed.

        Raises:
            StoreError: the file is cut off or no list of checksums.
        """
        path = run / SUMS_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(run, type(error).__name__) from error
        found = {}
        for line in text.splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                raise _damaged(run, f"line {line[:80]!r}")
            found[match[2]] = match[1]
        if not text.endswith("\n"):
            raise _damaged(run, "its last line is not whole")
        return cls(run, found)

    def write(self) -> Path:
        """Write them, atomically."""
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.by_name.items())]
        return write_text(self.run / SUMS_FILE, "".join(lines))

    def compared(self) -> Compared:
        """The run's files beside the checksums; every sealed file is read.

        Raises:
            StoreError: a file cannot be read.
        """
        there = dict(kept_files(self.run))
        same: list[str] = []
        changed: list[str] = []
        for name in sorted(there.keys() & self.by_name.keys()):
            (same if sha256(there[name]) == self.by_name[name] else changed).append(name)
        return Compared(
            same=tuple(same),
            changed=tuple(changed),
            gone=tuple(sorted(self.by_name.keys() - there.keys())),
            unsealed=tuple(sorted(there.keys() - self.by_name.keys())),
        )

    def changed(self, path: Path) -> bool:
        """Whether a file of the run was sealed and has another content now."""
        known = self.by_name.get(path.relative_to(self.run).as_posix())
        return known is not None and sha256(path) != known


def _damaged(run: Path, what: str) -> StoreError:
    return StoreError(
        f"{run.name}/{SUMS_FILE} is cut off or no list of checksums ({what})",
        "lines of a checksum, two spaces and a name, as sha256sum writes them",
        "restore it from its source; without it nobody can tell whether the data was changed",
    )
