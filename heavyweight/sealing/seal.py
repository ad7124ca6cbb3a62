"""Seal what is finished of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heavyweight.calibrations import FOLDER, LOG_ENDING, InstrumentFolder
from heavyweight.errors import StoreError
from heavyweight.sealing.sums import CRATE_FILE, SUMS_FILE, Sums, kept_files, sha256
from heavyweight.store import RUN_FILE, RunFolder, write_text


def seal(run: RunFolder) -> Sums:
    """Write the checksums of all that is finished, and the run's description.

    Finished are the cells and probes of every session, all files of a session that is complete, and
    the plan. Files that are gone lose their checksum: what they held is measured again.

    Args:
        run: complete or not.

    Returns:
        The checksums as they were written.

    Raises:
        StoreError: a file that was sealed has changed; nothing is written then.
    """
    before = Sums.read(run.path)
    known = dict(before.by_name) if before else {}
    sums: dict[str, str] = {}
    finished = _finished(run)
    changed = []
    for name, path in kept_files(run.path):
        if name == CRATE_FILE or not (finished(name) or name in known):
            continue
        digest = sha256(path)
        if known.get(name, digest) != digest:
            changed.append(name)
        sums[name] = digest
    if changed:
        raise changed_since(run, changed)
    from heavyweight.sealing.crate import described  # its library takes half a second to load

    write_text(run.path / CRATE_FILE, described(run))
    sums[CRATE_FILE] = sha256(run.path / CRATE_FILE)
    written = Sums(run.path, sums)
    written.write()
    return written


def refuse_changed(run: RunFolder) -> None:
    """Look at all that was sealed.

    Raises:
        StoreError: a file is not as it was measured.
    """
    sums = Sums.read(run.path)
    if sums is not None and (names := sums.compared().changed):
        raise changed_since(run, names)


def changed_since(run: RunFolder, names: Sequence[str]) -> StoreError:
    """The error that says which files are not as they were measured."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return StoreError(
        f"not as they were measured in {run.path.name}: {', '.join(names[:3])}{more}",
        f"the content that {SUMS_FILE} has the checksums of",
        "restore them from a copy; of a cell that is moved away `heavyweight study run` measures "
        "the load again",
    )


def _finished(run: RunFolder) -> Callable[[str], bool]:
    """Whether a file, by its name below the run, will not change any more."""
    complete = {one.path.name for one in run.sessions() if one.record.complete}
    instrument = InstrumentFolder.of(run.path)
    if instrument.exists and instrument.record.complete:
        complete.add(FOLDER)
    # A run by hand grows with each session.
    planned = run.run.plan_sha256 is not None or bool(run.run.imported)

    def finished(name: str) -> bool:
        top, _, inside = name.partition("/")
        if not inside:
            return name != RUN_FILE or planned
        last = name.rpartition("/")[2]
        once = last.endswith(".parquet") and not last.endswith(LOG_ENDING)
        return top in complete or once or last.startswith("probe-")

    return finished
