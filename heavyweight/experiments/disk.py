"""The page cache: emptied of what a start reads, so that it comes from the disk again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from heavyweight import telemetry
from heavyweight.errors import ServerError

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
BY_KERNEL, BY_FILE = "drop_caches", "fadvise"


def can_drop() -> bool:
    """Whether the page cache can be emptied on this system, all of it or file by file."""
    return os.access(DROP_CACHES, os.W_OK) or hasattr(os, "posix_fadvise")


def drop(files: Iterable[Path]) -> str:
    """Empty the page cache: all of it where that is permitted, else of these files.

    Pages that a running process has mapped stay, such as those of the Python that runs this study.
    What lies under a virtual machine may have a cache of its own, which nothing here can empty.

    Args:
        files: what a start reads: files, and folders with all that is in them.

    Returns:
        drop_caches, or fadvise.

    Raises:
        ServerError: the system has neither.
    """
    os.sync()  # what is not written yet cannot be dropped
    try:
        DROP_CACHES.write_text("1\n", encoding="ascii")
        return BY_KERNEL
    except OSError:
        pass
    if not hasattr(os, "posix_fadvise"):
        raise ServerError("the page cache cannot be emptied here", "Linux, or another POSIX system")
    for file in regular(files):
        with suppress(OSError), file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return BY_FILE


def regular(files: Iterable[Path]) -> Iterator[Path]:
    """The regular files among these, and in those that are folders; links are followed once."""
    for path in files:
        if path.is_dir():
            for folder, _, names in os.walk(path):
                inside = (Path(folder, name) for name in names)
                yield from (file for file in inside if file.is_file())
        elif path.is_file():
            yield path


def read_bytes(pgid: int) -> int | None:
    """What the processes of a group, and those that they waited for, have read from the disk.

    Returns:
        Bytes; None: the system does not tell.
    """
    total, told = 0, False
    for process in telemetry.process_group(pgid):
        try:
            total += int(process.io_counters().read_bytes)
            told = True
        except (psutil.Error, AttributeError, OSError):  # not of ours, or not on this system
            continue
    return total if told else None
