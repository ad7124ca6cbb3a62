"""heavyweight doctor: what is here, what is missing, and the remedy for each."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, emit, table
from heavyweight.errors import BadInput

MARKS = {True: "ok", False: "missing", None: "-"}


def doctor(
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Also what a GPU profile needs; exit code 1 if it lacks.")
    ] = False,
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="With --gpu: for which; empty: gpu-full.")
    ] = "",
    model: Annotated[
        str, typer.Option(help="With --gpu: another model of study.toml than the profile's.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Say what is here, what is missing, and the remedy for each."""
    from heavyweight.design import load_study
    from heavyweight.doctor import examine
    from heavyweight.doctor.gpu import examine_gpu
    from heavyweight.paths import study_root

    if (profile or model) and not gpu:
        raise BadInput("--profile or --model without --gpu", "both", "add --gpu")
    findings, missing = [], False
    if gpu:
        root = study_root()
        study = load_study(root / "study.toml")
        chosen = study.profile(profile or "gpu-full")
        findings = examine_gpu(root, study, chosen, study.model(model or chosen.model))
        missing = any(finding.ok is False for finding in findings)
    findings += examine()
    if as_json:
        emit([vars(finding) for finding in findings])
    else:
        table(
            ["", "what", "found", "remedy"],
            [[MARKS[f.ok], f.name, f.found, f.remedy] for f in findings],
        )
    if missing:
        raise typer.Exit(1)
