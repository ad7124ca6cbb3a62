"""heavyweight models: one set of weights, an artefact for each server."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, console, emit, progress
from heavyweight.design import load_study
from heavyweight.paths import study_root

app = typer.Typer(no_args_is_help=True, help="Make the artefacts that the servers load.")


@app.command(epilog="Example: heavyweight models prepare smollm2-135m")
def prepare(
    name: Annotated[str, typer.Argument(help="A model of study.toml.")] = "smollm2-135m",
    artefacts: Annotated[
        list[str] | None, typer.Option("--artefact", help="Only these; empty: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the artefacts of a model, check that they hold the same weights, ask both servers."""
    from heavyweight import models

    study = load_study(study_root() / "study.toml")
    model = study.model(name)
    manifest = models.prepare(model, artefacts or models.artefacts_of(model), progress)
    if as_json:
        emit(manifest.model_dump(mode="json"))
    else:
        console.print(manifest.text(), markup=False)
