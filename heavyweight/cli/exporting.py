"""heavyweight export: a run's requests and cells for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from heavyweight.cli.output import AsJson, console, emit, progress, say
from heavyweight.errors import BadInput
from heavyweight.records import imported_from

FORMATS = ("csv", "jsonl")


def export(
    run: Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")] = "",
    to: Annotated[str, typer.Option(help="csv, or jsonl: one JSON object a line.")] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="The file; empty: NAME.csv in the working directory.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write all requests, one row each, and beside them all cells, with -cells in its name."""
    from heavyweight.cli.runs import find_run
    from heavyweight.estimates import assess
    from heavyweight.exporting import export as write

    if to not in FORMATS:
        raise BadInput(f"no format {to!r}", f"one of {', '.join(FORMATS)}", "mend --to")
    folder = find_run(run)
    assessment = assess(folder)
    path = out or Path(f"{folder.path.absolute().name}.{to}")
    paths = write(assessment, cast("Literal['csv', 'jsonl']", to), path, force=force)
    for problem in assessment.problems:
        progress(f"left out: {problem}")
    if folder.run.imported:
        progress(imported_from(folder.run.imported))
    if as_json:
        emit({"run": folder.run.run, "requests": say(paths[0]), "cells": say(paths[1])})
        return
    for written in paths:
        console.print(say(written), markup=False)
