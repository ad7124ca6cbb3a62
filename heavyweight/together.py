"""Which runs are read together: a study's run, and the experiments that were measured beside it."""

from __future__ import annotations

from heavyweight.errors import StoreError
from heavyweight.store import RUN_FILE, RunFolder


def together(folder: RunFolder) -> list[RunFolder]:
    """A run, and of each other experiment the newest run in the same folder.

    One on the same machine goes before one on another; what is said of a claim names its run. A run
    of emulated servers is never put beside a measured one, and an imported one beside none.

    Args:
        folder: the run that is read.

    Returns:
        The run itself first, then the others by the names of their experiments.
    """
    if folder.run.imported:
        return [folder]
    mine, emulated = _machines(folder), folder.run.emulated
    best: dict[str, tuple[bool, str, RunFolder]] = {}
    for path in sorted(folder.path.absolute().parent.glob(f"*/{RUN_FILE}")):
        try:
            other = RunFolder.open(path.parent)
            run, same = other.run, _machines(other) == mine
        except StoreError:
            continue  # told by whoever lists the runs
        if run.experiment == folder.run.experiment or run.emulated != emulated or run.imported:
            continue
        rank = (same, run.created_utc, other)
        if run.experiment not in best or rank[:2] >= best[run.experiment][:2]:
            best[run.experiment] = rank
    return [folder, *(best[name][2] for name in sorted(best))]


def _machines(folder: RunFolder) -> set[str | None]:
    """The machines that a run was measured on."""
    return {session.record.machine_id for session in folder.sessions()}
