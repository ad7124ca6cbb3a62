"""One page of a synthetic run, made once for all tests that look at it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from heavyweight import report
from heavyweight.store import RunFolder
from tests.synthetic import write_run


@dataclass(frozen=True)
class Made:
    """The run, its page, and what was said while the page was made."""

    run: RunFolder
    page: Path
    said: tuple[str, ...]


@functools.cache
def made(folder: Path) -> Made:
    """Execute the analysis over a synthetic run and write its page, below a folder to be made.

    Args:
        folder: of all the session's temporary files.
    """
    (folder / "runs").mkdir()
    run = write_run(folder / "runs" / "synthetic", users=(1, 4, 8, 50))
    said: list[str] = []
    out = folder / "pages" / "below" / "report.html"
    here = Path.cwd()
    page = report.report(run.path, out, said.append)
    assert Path.cwd() == here, "several notebooks at once leave the working directory as it was"
    return Made(run, page, tuple(said))
