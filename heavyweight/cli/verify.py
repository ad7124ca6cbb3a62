"""heavyweight verify: all that is said of a run, held against its raw data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, console, emit, progress, table

MARKS = {True: "holds", False: "DOES NOT HOLD", None: "cannot be told"}


def verify(
    run: Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")] = "",
    as_json: AsJson = False,
) -> None:
    """Recompute checksums, validity, estimates and verdicts; exit code 1 where one does not hold.

    Nothing is written into the run's folder.
    """
    from heavyweight.cli.runs import find_run
    from heavyweight.verifying import verify as held_against

    folder = find_run(run)
    found = held_against(folder.path, progress)
    wrong = [one for one in found if one.good is False]
    if as_json:
        emit({"run": folder.run.run, "holds": not wrong, "found": [asdict(one) for one in found]})
    else:
        table(["what", "", "found"], [[one.what, MARKS[one.good], one.told] for one in found])
        console.print(
            f"{folder.run.run}: {len(wrong)} of {len(found)} do not hold: see above."
            if wrong
            else f"{folder.run.run}: all that could be looked at holds.",
            markup=False,
        )
    if wrong:
        raise typer.Exit(1)


def seal(
    run: Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the checksums of all that is finished in a run; `study run` does so by itself."""
    from heavyweight.cli.runs import find_run
    from heavyweight.sealing import SUMS_FILE
    from heavyweight.sealing import seal as write

    folder = find_run(run)
    sums = write(folder)
    if as_json:
        emit({"run": folder.run.run, "sealed": dict(sums.by_name)})
    else:
        console.print(f"{folder.run.run}: {len(sums.by_name)} files in {SUMS_FILE}", markup=False)
