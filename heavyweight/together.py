"""Which runs are read together: a study's run, and the experiments that were measured beside it."""

from __future__ import annotations

from heavyweight.errors import StoreError
from heavyweight.store import RUN_FILE, RunFolder


def together(folder: RunFolder) -> list[RunFolder]:
    """A run, and of each other experiment the newest run in the same folder and on its machine.

    A run of emulated servers is never put beside a measured one.

    Args:
        folder: the run that is read.

    Returns:
        The run itself first, then the others by the names of their experiments.
    """
    machines, emulated = _machines(folder), folder.run.emulated
    newest: dict[str, RunFolder] = {}
    for path in sorted(folder.path.absolute().parent.glob(f"*/{RUN_FILE}")):
        try:
            other = RunFolder.open(path.parent)
            experiment, same = other.run.experiment, _machines(other) == machines
        except StoreError:
            continue  # told by whoever lists the runs
        if experiment == folder.run.experiment or not same or other.run.emulated != emulated:
            continue
        known = newest.get(experiment)
        if known is None or known.run.created_utc <= other.run.created_utc:
            newest[experiment] = other
    return [folder, *(newest[name] for name in sorted(newest))]


def _machines(folder: RunFolder) -> set[str]:
    """The machines that a run was measured on."""
    return {session.record.machine.machine_id for session in folder.sessions()}
