"""From a plan to a finished run, with its summary and its page: what `study run` and others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heavyweight import design, runner, sealing
from heavyweight.cli.display import StudyDisplay
from heavyweight.cli.output import emit, errors, progress, say
from heavyweight.cli.remote import told
from heavyweight.cli.runs import all_runs
from heavyweight.cli.setup import set_up
from heavyweight.errors import BadInput, ServerError
from heavyweight.fitting import fitting, left_out
from heavyweight.job import Job, expected_minutes, prepare_job
from heavyweight.machine import gpus
from heavyweight.parameters import Parameters
from heavyweight.paths import STUDY_FILE, study_root
from heavyweight.store import RunFolder


def study_here() -> tuple[design.Study, Path]:
    """The study of the checkout, and the file that it is in."""
    file = study_root() / STUDY_FILE
    return design.load_study(file), file


def job_of(
    study: design.Study,
    source: Path,
    profile: design.Profile,
    run: str,
    new: bool,
    arm: list[str] | None,
    blocks: int | None,
    **extra: Any,
) -> Job:
    """The run to be begun or gone on with, checked before anything is written.

    Args:
        study: what is compared.
        source: the file that it is in; the run gets a copy.
        profile: of the study.
        run: name of the run; empty: the newest with the same plan, or a new one.
        new: begin a new run in any case.
        arm: only these arms; None: all of the profile that this machine can run.
        blocks: another number of them.
        extra: parameters that every session gets; None and False count as not given.

    Raises:
        BadInput: the profile needs what this machine has not; an unknown arm or parameter.
        StoreError: the run was begun with another plan.
    """
    root = study_root()
    given = {key: value for key, value in extra.items() if value not in (None, False)}
    if profile.needs_gpu and not gpus():
        raise BadInput(
            f"profile {profile.name!r} needs a GPU and there is none here",
            "an NVIDIA GPU and its driver (`heavyweight doctor --gpu` says what is wrong)",
            "run it on a GPU machine; here: --profile quick",
        )
    loaded = study.model(str(given.get("model") or profile.model))
    if arm:
        chosen = [study.arm(name).name for name in arm]
        profile = profile.model_copy(update={"arms": chosen})
    for name, why in left_out(study, profile, loaded, len(gpus())).items():
        progress(f"left out: {name} {why}")
    fitted = fitting(study, profile, loaded, len(gpus()))
    if arm:
        arm = fitted.arms
    else:
        profile = fitted
    for name in arm or profile.arms:
        # Refuse a URL for the wrong arm and the like before anything is written.
        Parameters.checked({"arm": study.arm(name).name, **given}).applied_to(study.arm(name))
    return prepare_job(
        root,
        study,
        profile,
        runs=root / "data" / "runs",
        name=run or None,
        new=new,
        arms=arm,
        blocks=blocks,
        extra=given,
        source=source,
    )


def measure(job: Job, page: bool, as_json: bool) -> None:
    """Measure what is left of a run, print what was found, and say where it lies.

    Args:
        job: the run.
        page: make the page, too.
        as_json: print the summary as JSON.

    Raises:
        ServerError: sessions could not be finished; all others are measured and kept.
        StudyError: what else ended it; what was finished is kept.
    """
    failures: list[ServerError] = []
    if job.left():
        set_up(job, progress)
        for line in told(job):
            progress(line)
        minutes = expected_minutes(job.study, job.profile, all_runs())
        with StudyDisplay(job, minutes, errors) as display:
            failures = runner.execute(job, display.update)
    else:
        sealing.refuse_changed(job.folder)
        progress(f"{job.folder.run.run} is complete: nothing to do (--new begins another run).")
    print_run(job.folder, as_json)
    if page:
        from heavyweight.report import report

        made = report(job.folder.path, job.folder.path / "report.html", progress)
        progress(f"The page: {say(made)}")
    else:
        progress(f"The page is made by: heavyweight report {job.folder.run.run}")
    progress(f"The raw data: {say(job.folder.path)}")
    if failures:
        raise runner.unfinished(failures, job.folder.path.name)


def print_run(folder: RunFolder, as_json: bool) -> None:
    """What was found in a run."""
    from heavyweight.cli.experiments import print_experiment
    from heavyweight.cli.tables import print_summary
    from heavyweight.estimates import assess, summary

    assessment = assess(folder)
    if as_json:
        emit(summary(assessment))
    else:
        print_summary(assessment)
        print_experiment(assessment)
