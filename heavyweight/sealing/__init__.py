"""What was measured stays as it was: checksums of a run, and a description that others can read.

::

    RUN/SHA256SUMS               the checksum of every file that is finished, for `sha256sum -c`
    RUN/ro-crate-metadata.json   what the run is, made of its own records (RO-Crate 1.1)

Both are made anew after each session; a checksum that is there is never replaced.
"""

from heavyweight.sealing.seal import changed_since, refuse_changed, seal
from heavyweight.sealing.sums import (
    CRATE_FILE,
    MADE_AGAIN,
    SUMS_FILE,
    Compared,
    Sums,
    kept_files,
)

__all__ = [
    "CRATE_FILE", "MADE_AGAIN", "SUMS_FILE", "Compared", "Sums", "changed_since", "kept_files",
    "refuse_changed",
    "seal",
]  # fmt: skip
