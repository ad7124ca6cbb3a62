"""The run folder of a study: made once with its plan, opened again to go on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from heavyweight.design import Profile, Study
from heavyweight.errors import StoreError
from heavyweight.parameters import InstrumentParameters, Parameters
from heavyweight.records import Run
from heavyweight.store import RUN_FILE, RunFolder

OTHER_NAME = "choose another name with the parameter run"
BY_HAND = "by-hand"  # in place of a profile's name: sessions executed by themselves


def commit_of(root: Path) -> tuple[str | None, bool | None]:
    """The checkout's commit and whether it has no changes; (None, None) outside a checkout."""
    if not shutil.which("git"):
        return None, None
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return None, None
    status = subprocess.run(
        [*git, "status", "--porcelain"], capture_output=True, text=True, check=False
    )
    return head.stdout.strip(), not status.stdout.strip()


def run_record(
    name: str, root: Path, study: Study, profile: Profile, *, arms: list[str], label: str,
    plan_sha256: str | None = None,
) -> Run:  # fmt: skip
    """What is planned, as it is written to run.json.

    Args:
        name: name of the run's folder.
        root: the study's folder.
        study: study.toml.
        profile: the profile that is run.
        arms: its arms, or those that were asked for.
        label: the profile's name, or ``by-hand``.
        plan_sha256: of :func:`heavyweight.identity.plan_sha256`.
    """
    commit, clean = commit_of(root)
    chosen = [study.arm(arm) for arm in arms]
    return Run(
        run=name,
        profile=label,
        experiment=profile.experiment,
        seed=study.seed,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        clean=clean,
        plan_sha256=plan_sha256,
        emulated=any(arm.emulated for arm in chosen),
        blocks=profile.blocks,
        users=sorted(profile.users),
        lengths=profile.lengths,
        arms=arms,
        contrasts={
            name: pair for name, pair in profile.contrasts.items() if set(pair) <= set(arms)
        },
        limits=study.limits,
        labels={arm.name: arm.label for arm in chosen},
    )


def open_run(root: Path, study: Study, profile: Profile, parameters: Parameters) -> RunFolder:
    """The run folder that a session writes to; made for a session executed by itself.

    A session by itself may add arms and loads to a run that was also begun by hand; a planned run
    takes only what was planned.

    Raises:
        StoreError: the run was planned otherwise.
    """
    path = root / parameters.runs / parameters.run
    users = parameters.users or profile.users
    if (path / RUN_FILE).exists():
        folder = RunFolder.open(path)
        run = folder.run
        if run.profile != BY_HAND:
            _refuse_unplanned(run, parameters, users)
            return folder
        if run.experiment != profile.experiment:
            raise StoreError(
                f"run {run.run!r} measures the experiment {run.experiment}",
                f"one of {profile.experiment}",
                OTHER_NAME,
            )
        arms = list(dict.fromkeys([*run.arms, parameters.arm]))
        grown = run_record(parameters.run, root, study, profile, arms=arms, label=BY_HAND)
        grown = grown.model_copy(
            update={
                "blocks": max(run.blocks, parameters.block),
                "users": sorted({*run.users, *users}),
                "contrasts": {**run.contrasts, **grown.contrasts},
                # Of profiles that differ in their lengths, no load has all.
                "lengths": run.lengths if run.lengths == profile.lengths else [],
                "created_utc": run.created_utc,
            }
        )
        return RunFolder.replace(path, grown)
    record = run_record(parameters.run, root, study, profile, arms=[parameters.arm], label=BY_HAND)
    record = record.model_copy(update={"blocks": parameters.block, "users": sorted(users)})
    return RunFolder.create(path, record)


def _refuse_unplanned(run: Run, parameters: Parameters, users: Sequence[int]) -> None:
    """Refuse a session that a planned run does not have."""
    if parameters.arm not in run.arms or not set(users) <= set(run.users):
        raise StoreError(
            f"run {run.run!r} was planned without {parameters.arm} at {users} users",
            f"one of {', '.join(run.arms)} at some of {run.users} users",
            OTHER_NAME,
        )
    if parameters.profile != run.profile or parameters.block > run.blocks:
        raise StoreError(
            f"run {run.run!r} was planned without block {parameters.block} of the profile"
            f" {parameters.profile}",
            f"one of {run.blocks} blocks of {run.profile}",
            OTHER_NAME,
        )


def open_run_to_calibrate(
    root: Path, study: Study, profile: Profile, parameters: InstrumentParameters
) -> RunFolder:
    """The run folder that a calibration belongs to; made, without arms, where there is none."""
    path = root / parameters.runs / parameters.run
    if (path / RUN_FILE).exists():
        return RunFolder.open(path)
    record = run_record(parameters.run, root, study, profile, arms=[], label=BY_HAND)
    users = sorted(parameters.users or profile.users)
    return RunFolder.create(path, record.model_copy(update={"blocks": 1, "users": users}))
