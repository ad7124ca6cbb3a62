"""A study on its way: its plan, its run folder, and what of it is left to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from heavyweight import design, identity, store
from heavyweight.calibrations import InstrumentFolder
from heavyweight.design import PlannedCalibration, PlannedSession, Profile, Step, Study
from heavyweight.errors import BadInput, StoreError
from heavyweight.instrument import cells_of
from heavyweight.load.address import is_loopback
from heavyweight.parameters import Parameters
from heavyweight.paths import ELSEWHERE, STUDY_FILE
from heavyweight.records import Run, Session
from heavyweight.run import run_record

CALIBRATION_CELL_S = 4.0  # of a load of a calibration, besides its window


@dataclass(frozen=True)
class Job:
    """A study on its way: its plan, its folder, and the parameters that its sessions share."""

    root: Path
    study: Study
    profile: Profile
    folder: store.RunFolder
    sessions: list[PlannedSession]
    extra: dict[str, object]
    calibration: PlannedCalibration | None = None

    @property
    def steps(self) -> list[Step]:
        """The calibration of the client, then the sessions."""
        return [*([self.calibration] if self.calibration else []), *self.sessions]

    def complete(self, step: Step) -> bool:
        """Whether a step was measured to its end."""
        if isinstance(step, PlannedCalibration):
            return self._calibrated(step)
        path = self.folder.path / step.name
        if not (path / store.SESSION_FILE).exists():
            return False
        folder = store.SessionFolder(path)
        cells = [file.cell for file in folder.cells()]  # raises if one is damaged
        if not step.loaded:
            return folder.record.complete  # the session itself knows what it was to measure
        there = {(c.users, c.prompt_tokens_target, c.output_tokens) for c in cells}
        planned = {(one.users, one.prompt_tokens, one.output_tokens) for one in step.loads}
        return folder.record.complete and planned <= there

    def _calibrated(self, step: PlannedCalibration) -> bool:
        folder = InstrumentFolder.of(self.folder.path)
        if not folder.exists or not folder.record.complete:
            return False
        cells = {pair: pair.client.cell for pair in folder.pairs()}
        there = {(pair.setting, c.users, c.rate_per_s) for pair, c in cells.items()}
        planned = cells_of(step.users, step.rates)
        return {(one.setting, one.users, one.rate) for one in planned} <= there

    def refuse_elsewhere(self, machine_id: str) -> None:
        """Refuse to go on where another machine began what is left.

        A block lies whole on one machine, since its servers are compared with each other; and a
        cell is VALID only where the client's own error was measured.

        Args:
            machine_id: of this machine.

        Raises:
            StoreError: a block or the calibration was begun on another one.
        """
        left = self.left()
        begun = []
        if left and self.calibration and (one := InstrumentFolder.of(self.folder.path)).exists:
            begun.append(("the calibration of the client", one.record.machine.machine_id))
        blocks = {step.block for step in left if isinstance(step, PlannedSession)}
        for folder in self.folder.sessions():
            if (record := folder.record).block in blocks and record.machine_id is not None:
                begun.append((f"block {record.block}", record.machine_id))
        if others := [what for what, machine in begun if machine != machine_id]:
            raise StoreError(
                f"{others[0]} of run {self.folder.path.name} was measured on another machine",
                "this one: what is compared is measured on one machine",
                "go on with it there, or begin a run of this machine: --new",
            )

    def left(self) -> list[Step]:
        """Steps that are still to be run or to be finished."""
        return [step for step in self.steps if not self.complete(step)]


def run_names(runs: Path, profile: str) -> list[str]:
    """Runs of a profile that are named by the study, oldest first."""
    pattern = re.compile(rf"{re.escape(profile)}-(\d+)")
    found = [
        (int(match[1]), path.name)
        for path in runs.glob(f"{profile}-*")
        if (match := pattern.fullmatch(path.name)) and (path / store.RUN_FILE).exists()
    ]
    return [name for _, name in sorted(found)]


def prepare_job(
    root: Path,
    study: Study,
    profile: Profile,
    *,
    runs: Path,
    name: str | None = None,
    new: bool = False,
    arms: list[str] | None = None,
    blocks: int | None = None,
    extra: dict[str, object] | None = None,
    source: Path | None = None,
) -> Job:
    """The study to be run: a new one, or the newest of the profile that was begun.

    Args:
        root: the study's folder.
        study: study.toml.
        profile: what to measure.
        runs: folder of the runs.
        name: name of the run; None: the newest that was begun with the same plan, or a new one.
        new: begin a new run even if there is one.
        arms: only these arms of the profile, or others of study.toml.
        blocks: another number of blocks.
        extra: parameters that every session gets (base_url, port, ...).
        source: the file that the study was read from; None: study.toml of the study's folder. The
            run gets a copy, and its sessions read that.

    Raises:
        StoreError: the run was begun with another plan.
        BadInput: an unknown arm, or a name that is no folder's.
    """
    if arms or blocks:
        chosen = [study.arm(arm).name for arm in arms or profile.arms]
        profile = profile.model_copy(update={"arms": chosen, "blocks": blocks or profile.blocks})
    extra = extra or {}
    named = {"run": name} if name else {}
    given = Parameters.checked({"arm": profile.arms[0], **named, **extra})
    applied = [given.applied_to(study.arm(arm)) for arm in profile.arms]
    record = run_record(
        "", root, study, profile, arms=profile.arms, label=profile.name,
        plan_sha256=identity.plan_sha256(study, profile, applied, extra),
    )  # fmt: skip
    if new and name and (runs / name / store.RUN_FILE).exists():
        raise BadInput(
            f"--new, and a run {name} that is there",
            "a name that is not taken, or --new alone",
            "leave out one of the two",
        )
    name = name or _fitting_name(runs, record, new)
    folder = store.RunFolder.create(runs / name, record.model_copy(update={"run": name}))
    copy = folder.path / STUDY_FILE
    if not copy.exists():
        text = (source or root / STUDY_FILE).read_text(encoding="utf-8")
        store.write_text(copy, without_hosts(text, elsewhere(study, profile, extra)))
    sessions = design.plan(study, profile)
    return Job(root, study, profile, folder, sessions, extra, planned_calibration(profile))


def elsewhere(study: Study, profile: Profile, extra: Mapping[str, object]) -> dict[str, str]:
    """Arm: name of the other machine on which its server runs."""
    urls = {arm: extra.get("base_url") or study.arm(arm).base_url for arm in profile.arms}
    hosts = {arm: urlsplit(str(url)).hostname or "" for arm, url in urls.items() if url}
    return {arm: host for arm, host in hosts.items() if not is_loopback(host)}


def without_hosts(text: str, hosts: Mapping[str, str]) -> str:
    """The text without the names of other machines, as of :func:`elsewhere`."""
    for host in sorted(set(hosts.values()), key=len, reverse=True):
        text = text.replace(host, ELSEWHERE)
    return text


def planned_calibration(profile: Profile) -> PlannedCalibration | None:
    """The calibration of the client at a profile's loads, on this machine; None: it has no load."""
    if not profile.users:
        return None
    rates = tuple(sorted(profile.open.calibrate_rates)) if profile.open else ()
    return PlannedCalibration(
        tuple(sorted(profile.users)), len(cells_of(profile.users, rates)), rates
    )


def _fitting_name(runs: Path, record: Run, new: bool) -> str:
    """The newest run of the profile that was begun with this plan, or a name for a new one."""
    names = run_names(runs, record.profile)
    if not new:
        for name in reversed(names):
            with suppress(StoreError):  # a run that cannot be read keeps its name
                if store.RunFolder.open(runs / name).same_plan(record):
                    return name
    number = int(names[-1].rpartition("-")[2]) + 1 if names else 1
    return f"{record.profile}-{number}"


def expected_minutes(
    study: Study, profile: Profile, runs: list[store.RunFolder]
) -> dict[str, float]:
    """Minutes that a session of each arm should take, and the calibration ("instrument").

    From sessions of the same profile measured before, else the estimate in study.toml.
    """
    known = dict(profile.session_minutes)
    if calibration := planned_calibration(profile):
        seconds = study.calibration(profile).seconds + CALIBRATION_CELL_S
        known[calibration.arm] = calibration.cells * seconds / 60
    for folder in runs:
        if folder.run.profile != profile.name:
            continue
        for session in folder.sessions():
            record = session.record
            if record.complete and _one_sitting(record) and record.finished_utc:
                seconds = _between(record.starts[0].started_utc, record.finished_utc)
                known[record.arm] = seconds / 60
    return known


def _one_sitting(record: Session) -> bool:
    """Whether its first start and its end are those of one sitting, as far as it tells."""
    return len(record.starts) == 1 or (bool(record.starts) and record.starts[0].cold is not None)


def _between(start_utc: str, end_utc: str) -> float:
    return (datetime.fromisoformat(end_utc) - datetime.fromisoformat(start_utc)).total_seconds()
