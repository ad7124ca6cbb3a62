"""heavyweight reproduce: the same study here, and both results side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight import design
from heavyweight.cli.measuring import job_of, measure
from heavyweight.cli.output import AsJson, console, emit, progress, table
from heavyweight.cli.runs import all_runs, find_run
from heavyweight.errors import BadInput
from heavyweight.job import expected_minutes
from heavyweight.paths import STUDY_FILE
from heavyweight.run import BY_HAND
from heavyweight.store import RunFolder


def reproduce(
    run: Annotated[str, typer.Argument(help="The run to be reproduced: its name or folder.")],
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be measured, no more.")] = (
        False
    ),
    against: Annotated[
        str, typer.Option(help="Measure nothing: compare with this run, name or folder.")
    ] = "",
    run_name: Annotated[
        str, typer.Option("--run", help="Name of the run here; empty: reproduce-RUN.")
    ] = "",
    blocks: Annotated[int | None, typer.Option(min=1, max=99, help="Other than theirs.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Make the page of the run here, too.")] = (
        False
    ),
    as_json: AsJson = False,
) -> None:
    """Measure the study of a run on this machine; then print their ratio, ours and the quotient.

    The plan is the run's own: its study.toml, profile, arms, loads, seed. It goes on where it was
    stopped. The quotient ours / theirs has Welch's interval over the blocks of both.
    """
    theirs = find_run(run)
    study, profile = plan_of(theirs)
    if against:
        ours = find_run(against)
    else:
        name = run_name or f"reproduce-{theirs.path.absolute().name}"
        if plan:
            _print_plan(theirs, study, profile, blocks or profile.blocks, name)
            return
        source = theirs.path / STUDY_FILE
        job = job_of(study, source, profile, name, False, profile.arms, blocks)
        ours = job.folder
        measure(job, page, as_json=False)
    _print_both(theirs, ours, as_json)


def plan_of(folder: RunFolder) -> tuple[design.Study, design.Profile]:
    """The study that a run was planned by, and its profile with the run's arms and blocks.

    Raises:
        BadInput: it was made by hand, or its plan is not there.
    """
    run = folder.run
    source = folder.path / STUDY_FILE
    if run.profile == BY_HAND or not source.is_file():
        raise BadInput(
            f"{run.run} has no plan of its own",
            f"a run made by `heavyweight study run`, with its {STUDY_FILE}",
            "compare it with another run that has one, by --against",
        )
    study = design.load_study(source)
    profile = study.profile(run.profile)
    return study, profile.model_copy(update={"arms": run.arms, "blocks": run.blocks})


def _print_plan(
    theirs: RunFolder, study: design.Study, profile: design.Profile, blocks: int, name: str
) -> None:
    minutes = expected_minutes(study, profile, all_runs())
    each = sum(minutes.get(arm, 0.0) for arm in profile.arms)
    users = " ".join(map(str, sorted(profile.users))) or "none"
    table(
        ["", "planned"],
        [
            ["run that is reproduced", theirs.run.run],
            ["profile", f"{profile.name}: {profile.about}"],
            ["model", study.model(profile.model).title],
            ["arms", ", ".join(study.arm(arm).label for arm in profile.arms)],
            ["users", users],
            ["blocks", str(blocks)],
            ["seed", str(study.seed)],
            ["about, once installed", f"{each * blocks:.0f} minutes"],
            ["measured into", f"data/runs/{name}"],
        ],
    )


def _print_both(theirs: RunFolder, ours: RunFolder, as_json: bool) -> None:
    from heavyweight import tables
    from heavyweight.cli.tables import print_frame
    from heavyweight.estimates import assess, plain_records, reproduction_table

    both = assess(theirs), assess(ours)
    if theirs.run.emulated != ours.run.emulated:
        raise BadInput(
            f"one of {theirs.run.run} and {ours.run.run} is of emulated servers",
            "two runs of real servers, or two of emulated ones",
            "choose another run",
        )
    if theirs.run.plan_sha256 != ours.run.plan_sha256:
        progress("The two runs have other plans: a difference may be one of the studies.")
    found = reproduction_table(*both)
    if as_json:
        emit({"theirs": theirs.run.run, "ours": ours.run.run,
              "emulated": ours.run.emulated, "rows": plain_records(found)})  # fmt: skip
        return
    if found.empty or (found["theirs_blocks"] == 0).all():
        progress(
            f"{theirs.run.run} has no ratio of closed loops: look at both pages side by side "
            "(`heavyweight report`)."
        )
        return
    for side, folder in (("theirs", theirs), ("ours", ours)):
        console.print(f"{side}: {folder.run.run}, on {_machines(folder)}", markup=False)
    print_frame(tables.reproduction(found), "Ratios of output tokens/s [95%], and their quotient")
    told = found["differs"].dropna()
    console.print(
        f"Of {len(told)} quotients with an interval, {int(told.sum())} leave out 1: there the two "
        "studies differ by more than their blocks do."
        if len(told)
        else "No quotient has an interval: each side needs two blocks."
    )
    if ours.run.emulated:
        console.print("EMULATED: says nothing of any server.")


def _machines(folder: RunFolder) -> str:
    """The machines that a run was measured on, in words."""
    machines = [session.record.machine for session in folder.sessions()]
    seen = {(one.cpus, one.cpu_model, one.machine_id) for one in machines if one is not None}
    told = [
        f"{cpus} cores, {model} (machine {machine_id[:8]})"
        for cpus, model, machine_id in sorted(seen)
    ]
    return "; ".join(told) or "a machine that is not told"
