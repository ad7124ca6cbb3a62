"""heavyweight study: plan it, run it, look at what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from heavyweight import design
from heavyweight.cli.measuring import job_of, measure, print_run, study_here
from heavyweight.cli.output import AsJson, console, emit, table
from heavyweight.cli.price import GpuName, PricePerHour, price_of
from heavyweight.cli.rental import print_rental, rental
from heavyweight.cli.runs import all_runs, find_run, list_runs
from heavyweight.cli.width import blocks_for, print_blocks, relative
from heavyweight.errors import BadInput
from heavyweight.fitting import fitting, left_out
from heavyweight.job import expected_minutes, planned_calibration
from heavyweight.machine import gpus
from heavyweight.paths import study_root

app = typer.Typer(no_args_is_help=True, help="Plan a study, run it, look at it.")
app.command(name="list", epilog="Example: heavyweight study list --json")(list_runs)

ProfileName = Annotated[str, typer.Option("--profile", "-p", help="A profile of study.toml.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run; empty: the newest begun.")]
ArmNames = Annotated[list[str] | None, typer.Option("--arm", help="Only these arms (repeat it).")]
Blocks = Annotated[int | None, typer.Option(min=1, max=99, help="Another number of blocks.")]
RunArgument = Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")]


def known_model(name: str) -> str:
    """A model's name, if study.toml has it; BadInput otherwise."""
    return design.load_study(study_root() / "study.toml").model(name).name


@app.command(
    epilog="Examples: heavyweight study plan --profile full | heavyweight study plan --width 5%"
)
def plan(
    profile: ProfileName = "quick",
    model: Annotated[str | None, typer.Option(help="Another model of study.toml.")] = None,
    gpu: GpuName = "",
    gpu_count: Annotated[
        int | None, typer.Option("--gpus", min=1, help="How many GPUs; else those here, or one.")
    ] = None,
    price_per_hour: PricePerHour = None,
    mbit_s: Annotated[
        float, typer.Option("--mbit-s", help="Bandwidth of the downloads to a rented machine.")
    ] = 1000.0,
    width: Annotated[
        str, typer.Option(help="Blocks for ratios this sure: 5% is ratio / 1.05 to ratio x 1.05.")
    ] = "",
    pilot: Annotated[
        str, typer.Option(help="With --width: the run whose spread is taken; empty: the newest.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Print what would run, in its order, and how long it should take. Nothing is written."""
    half_width = relative(width) if width else None
    if pilot and half_width is None:
        raise BadInput("--pilot without --width", "both", "say how wide the interval may be")
    study = design.load_study(study_root() / "study.toml")
    asked = study.profile(profile)
    loaded = study.model(model or asked.model)
    here = gpus()
    count = gpu_count or len(here) or 1
    gone = left_out(study, asked, loaded, count)
    chosen = fitting(study, asked, loaded, count)
    sessions = design.plan(study, chosen)
    calibration = planned_calibration(chosen)
    minutes = expected_minutes(study, chosen, all_runs())
    steps: list[design.Step] = [*([calibration] if calibration else []), *sessions]
    total = sum(minutes.get(step.arm, 0.0) for step in steps)
    rented = None
    if chosen.needs_gpu or gpu or price_per_hour is not None:
        price = price_of(price_per_hour, gpu, count, [one["name"] for one in here])
        rented = rental(study, chosen, loaded, minutes, price, mbit_s)
    needed = blocks_for(study, chosen, half_width, pilot) if half_width else None
    if as_json:
        emit(
            {
                "width": needed,
                "profile": chosen.name,
                "model": loaded.name,
                "left_out": gone,
                "rental": rented.as_json() if rented else None,
                "experiment": chosen.experiment,
                "calibration": calibration
                and {
                    "users": calibration.users,
                    "rates_per_s": calibration.rates,
                    "cells": calibration.cells,
                    "minutes": minutes[calibration.arm],
                },
                "sessions": [
                    {
                        "session": s.name,
                        "block": s.block,
                        "order": s.order,
                        "arm": s.arm,
                        "users": s.users,
                        "loads": [vars(one) for one in s.loads],
                        "rates": s.rates,
                        "minutes": minutes.get(s.arm),
                    }
                    for s in sessions
                ],
                "minutes": total,
            }
        )
        return
    console.print(f"{chosen.name}: {chosen.about}. Model {loaded.title}, ")
    lengths = "; ".join(f"{asked} in, {answered} out" for asked, answered in chosen.lengths)
    usual = f"{chosen.output_tokens} output tokens, about {study.same.prompt_tokens} prompt"
    console.print(f"tokens: {lengths}." if lengths else f"{usual}.")
    first = [
        ["", calibration.name, f"{_words(calibration.users)}, and 64 at saturation"
         + (f"; {_words(calibration.rates)} requests/s" if calibration.rates else ""),
         f"{minutes[calibration.arm]:.1f}"]
    ] if calibration else []  # fmt: skip
    table(
        ["block", "session", "users, in this order", "about min"],
        [*first, *([s.block, s.name, _loads(s), f"{minutes.get(s.arm, 0):.1f}"] for s in sessions)],
    )
    if calibration:
        console.print("instrument: the client's own error at these loads, measured first.")
    console.print(f"{len(sessions)} sessions, about {total:.0f} minutes, once installed.")
    for name, why in gone.items():
        console.print(f"Left out: {name} {why}.", markup=False)
    if rented:
        print_rental(rented)
    if needed:
        print_blocks(needed, chosen, sum(minutes.get(arm, 0.0) for arm in chosen.arms))


def _words(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)


def _loads(session: design.PlannedSession) -> str:
    """The loads of a session in their order, or what it does instead."""
    if not session.loads:
        return f"({session.experiment})"
    if len(session.users) == len(session.loads):
        rates = f", then {session.rates} open loops" if session.rates else ""
        return _words(session.users) + rates
    return "  ".join(f"{x.users}: {x.prompt_tokens}/{x.output_tokens}" for x in session.loads)


@app.command(
    name="run",
    epilog="Examples: heavyweight study run --profile smoke | heavyweight study run --arm openai "
    "--base-url http://127.0.0.1:8000/v1",
)
def run_study(
    profile: ProfileName = "quick",
    run_name: RunName = "",
    new: Annotated[bool, typer.Option(help="Begin a new run even if one is there.")] = False,
    arm: ArmNames = None,
    blocks: Blocks = None,
    model: Annotated[str | None, typer.Option(help="Another model of study.toml.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Arm openai: where it listens.")] = None,
    served_model: Annotated[str | None, typer.Option(help="Arm openai: model's name.")] = None,
    extra_body: Annotated[
        str | None, typer.Option(help="Arm openai: more fields in JSON, '{\"ignore_eos\": true}'.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The servers' port.")] = None,
    allow_remote: Annotated[
        bool,
        typer.Option(help="Let the load go to another host; its rate and bound are told first."),
    ] = False,
    page: Annotated[bool, typer.Option("--page", help="Make the page, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure: install what is missing, run what is left, keep what is done.

    Ctrl-C stops cleanly; the same call goes on where it stopped.
    """
    options = {
        "base_url": base_url,
        "served_model": served_model,
        "extra_body": extra_body,
        "model": model and known_model(model),
        "port": port,
        "allow_remote": allow_remote,
    }
    study, file = study_here()
    job = job_of(study, file, study.profile(profile), run_name, new, arm, blocks, **options)
    measure(job, page, as_json)


@app.command(epilog="Example: heavyweight study show quick-1 --json")
def show(run: RunArgument = "", as_json: AsJson = False) -> None:
    """Throughput, and the ratio of the arms with its interval."""
    print_run(find_run(run), as_json)


@app.command(epilog="Example: heavyweight study check smoke-1")
def check(run: RunArgument = "", as_json: AsJson = False) -> None:
    """Every check of every cell; exit code 1 if work is missing, wrong or unequal.

    So it is where a server listened on more than the loopback. A cell that is INVALID only because
    the machine was noisy is told, and is not a failure here.
    """
    from heavyweight.cli.tables import print_checks
    from heavyweight.estimates import assess, summary
    from heavyweight.sealing import refuse_changed

    folder = find_run(run)
    assessment = assess(folder)
    result = summary(assessment)
    if as_json:
        emit(result)
    else:
        print_checks(assessment)
    refuse_changed(folder)
    if not result["work_ok"] or result["open_ports"]:
        raise typer.Exit(1)
