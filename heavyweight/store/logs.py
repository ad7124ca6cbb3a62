"""Logs of what is complete are kept compressed: in a small run they are its larger part."""

from __future__ import annotations

import gzip
from pathlib import Path

from heavyweight.store.files import replacing


def compress_logs(folder: Path) -> list[Path]:
    """Put each log of a session that is complete into ``NAME.log.gz``.

    The same text gives the same bytes. A command that is killed meanwhile leaves a log as it was,
    or both, of the same text.

    Args:
        folder: the session's.

    Returns:
        The compressed logs, in the order of their names.

    Raises:
        StoreError: one cannot be written.
    """
    made = []
    for path in sorted(folder.glob("*.log")):
        if path.name.startswith(".") or path.is_symlink():
            continue
        compressed = path.with_name(f"{path.name}.gz")
        with replacing(compressed) as temporary:
            temporary.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
        made.append(compressed)
    return made
