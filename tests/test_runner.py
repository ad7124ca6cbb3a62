"""Which run goes on, what is left of it, and what a resumed session must have in common."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from heavyweight import calibrations, design, runner, sealing, store
from heavyweight.errors import BadInput, StoreError
from heavyweight.job import Job, planned_calibration, prepare_job
from heavyweight.machine import usable_cores
from heavyweight.parameters import Parameters
from heavyweight.run import open_run
from heavyweight.session import Session
from tests.calibrated import write_calibration
from tests.synthetic import MACHINE, write_run

ROOT = Path(__file__).parents[1]
STUDY = design.load_study(ROOT / "study.toml")


def job(runs: Path, study: design.Study = STUDY, **options: object) -> Job:
    return prepare_job(ROOT, study, study.profile("emulated"), runs=runs, **options)


def planned_of(run: store.RunFolder) -> list[design.PlannedSession]:
    """The plan of a run that was written without one."""
    return [
        design.PlannedSession(s.record.block, s.record.order, s.record.arm,
                              tuple(design.Load(file.cell.users, file.cell.prompt_tokens_target,
                                                file.cell.output_tokens) for file in s.cells()))
        for s in run.sessions()
    ]  # fmt: skip


def test_the_same_plan_goes_on_and_another_one_begins_its_own_run(tmp_path: Path) -> None:
    assert job(tmp_path).folder.run.run == "emulated-1"
    assert job(tmp_path).folder.run.run == "emulated-1"
    assert job(tmp_path, blocks=3).folder.run.run == "emulated-2"
    assert job(tmp_path).folder.run.run == "emulated-1"
    assert job(tmp_path, new=True).folder.run.run == "emulated-3"


def test_a_new_run_has_no_name_that_is_taken(tmp_path: Path) -> None:
    job(tmp_path)
    with pytest.raises(BadInput, match="--new, and a run emulated-1 that is there"):
        job(tmp_path, new=True, name="emulated-1")
    assert job(tmp_path, new=True, name="mine").folder.run.run == "mine"


def test_two_urls_are_two_runs(tmp_path: Path) -> None:
    names = [
        job(
            tmp_path, arms=["openai"], extra={"base_url": f"http://127.0.0.1:{port}"}
        ).folder.run.run
        for port in (8001, 8002, 8001)
    ]
    assert names == ["emulated-1", "emulated-2", "emulated-1"]


def test_an_edited_study_does_not_go_on_with_the_old_run(tmp_path: Path) -> None:
    job(tmp_path)
    arm = STUDY.arm("emulated-slots").model_copy(update={"slots": 2})
    edited = STUDY.model_copy(update={"arms": STUDY.arms | {arm.name: arm}})
    assert job(tmp_path, edited).folder.run.run == "emulated-2"
    with pytest.raises(StoreError, match="another plan"):
        job(tmp_path, edited, name="emulated-1")


def test_a_session_whose_cell_is_gone_is_left_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    sessions = planned_of(run)
    done = Job(ROOT, STUDY, STUDY.profile("emulated"), run, sessions, {})
    complete = [s.name for s in sessions if s not in done.left()]
    assert complete
    folder = store.SessionFolder(run.path / complete[0])
    folder.cells()[0].path.unlink()
    assert complete[0] in [s.name for s in done.left()]
    damaged = folder.cells()[0].path
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(StoreError, match="move the file away"):
        done.left()


def test_the_calibration_is_the_first_step_and_is_made_once(tmp_path: Path) -> None:
    begun = job(tmp_path)
    assert [step.name for step in begun.left()][:2] == ["instrument", begun.sessions[0].name]
    assert begun.calibration == planned_calibration(begun.profile)
    assert begun.calibration.users == (1, 4)
    settings = calibrations.SETTINGS if len(usable_cores()) > 1 else ("busy",)
    folder = write_calibration(begun.folder.path, MACHINE, users=(1,), settings=settings)
    assert not begun.complete(begun.calibration), "a load is missing"
    shutil.rmtree(folder)
    write_calibration(begun.folder.path, MACHINE, users=(1, 4), settings=settings)
    assert begun.complete(begun.calibration)
    assert begun.left() == begun.sessions
    next((folder / "busy").glob("n0004-????????????.parquet")).unlink()
    assert begun.left()[0] == begun.calibration


def test_names_in_what_a_killed_session_left_are_taken_out(tmp_path: Path) -> None:
    begun = job(tmp_path)
    path = begun.folder.path
    names = ("b01-x/server-1.log", "b01-x/session-1.ipynb", "b01-x/.papermill.log")
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(f'"loading {Path.home()}/x\\n"')
    runner.scrub_left_over(path)
    for name in names:
        assert (path / name).read_text() == '"loading ~/x\\n"'
    (path / names[0]).write_text(f"{Path.home()}")
    sealing.Sums(path, {names[0]: "0" * 64}).write()
    runner.scrub_left_over(path)  # what was sealed stays as it was
    assert (path / names[0]).read_text() == str(Path.home())


def test_how_the_client_is_calibrated_is_part_of_the_plan(tmp_path: Path) -> None:
    job(tmp_path)
    timing = STUDY.instrument.model_copy(update={"itl_ms": 5})
    edited = STUDY.model_copy(update={"instrument": timing})
    assert job(tmp_path, edited).folder.run.run == "emulated-2"


def test_a_session_goes_on_only_as_it_was(tmp_path: Path) -> None:
    given = {"arm": "emulated-slots", "profile": "emulated", "runs": str(tmp_path)}
    session = Session(Parameters.checked(given))
    session._save()
    assert Session(Parameters.checked(given)).record == session.record
    with pytest.raises(StoreError, match="another model"):
        Session(Parameters.checked(given | {"model": "smollm2-135m"}))
    elsewhere = session.record.machine.model_copy(update={"machine_id": "f" * 64})
    session._save(machine=elsewhere)
    with pytest.raises(StoreError, match="another machine"):
        Session(Parameters.checked(given))


def begun_elsewhere(run: store.RunFolder, block: int) -> None:
    """One session of a block says that it was another machine's, and is not complete."""
    for session in run.sessions():
        if session.record.block == block:
            other = session.record.machine.model_copy(update={"machine_id": "another"})
            record = session.record.model_copy(update={"machine": other, "complete": False})
            store.write_json(session.path / store.SESSION_FILE, record)
            return


def test_a_block_lies_whole_on_one_machine(tmp_path: Path) -> None:
    """Synthetic sessions are of the machine "synthetic"; those of the other block are complete."""
    run = write_run(tmp_path / "run", users=(1,), blocks=2)
    sessions = planned_of(run)
    given = Job(ROOT, STUDY, STUDY.profile("emulated"), run, sessions, {})
    given.refuse_elsewhere("nothing is left: any machine may look")
    begun_elsewhere(run, 2)
    with pytest.raises(StoreError, match=r"block 2 of run run was measured on another machine"):
        given.refuse_elsewhere(MACHINE.machine_id)
    with pytest.raises(StoreError, match=r"block 2 .*--new"):
        given.refuse_elsewhere("another")


def test_the_client_is_calibrated_where_it_measures(tmp_path: Path) -> None:
    begun = job(tmp_path)
    write_calibration(begun.folder.path, MACHINE, users=begun.profile.users)
    record = calibrations.InstrumentFolder.of(begun.folder.path).record
    begun.refuse_elsewhere(record.machine.machine_id)
    with pytest.raises(StoreError, match=r"the calibration of the client .* on another machine"):
        begun.refuse_elsewhere("another")


def test_a_run_that_cannot_be_read_blocks_no_other(tmp_path: Path) -> None:
    first = job(tmp_path).folder.path
    (first / "run.json").write_text("{}")
    assert job(tmp_path).folder.run.run == "emulated-2"
    assert (first / "run.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"profile": "smoke"}, "without block 1 of the profile smoke"),
        ({"block": 3}, "without block 3 of the profile emulated"),
        ({"arm": "ollama-q4"}, "without ollama-q4"),
    ],
)
def test_a_planned_run_takes_what_was_planned(
    tmp_path: Path, given: dict[str, object], told: str
) -> None:
    planned = job(tmp_path)
    asked = {"arm": "emulated-slots", "profile": "emulated", "run": "emulated-1"} | given
    parameters = Parameters.checked(asked | {"runs": str(tmp_path)})
    profile = STUDY.profile(parameters.profile)
    with pytest.raises(StoreError, match=told):
        open_run(ROOT, STUDY, profile, parameters)
    fitting = Parameters.checked(asked | {"profile": "emulated", "block": 2, "runs": str(tmp_path)}
                                 | {"arm": "emulated-slots"})  # fmt: skip
    assert open_run(ROOT, STUDY, planned.profile, fitting).path == planned.folder.path


def test_a_run_by_hand_keeps_what_it_compares_and_measures_one_experiment(tmp_path: Path) -> None:
    def opened(arm: str, profile: str) -> store.RunFolder:
        parameters = Parameters.checked({"arm": arm, "profile": profile, "runs": str(tmp_path)})
        return open_run(ROOT, STUDY, STUDY.profile(profile), parameters)

    for arm in ("ollama-q4-parallel", "ollama-q4", "vllm-bf16"):
        grown = opened(arm, "tuned")
    compared = grown.run.contrasts
    assert len(compared) > 1
    assert opened("vllm-bf16", "quick").run.contrasts == compared
    with pytest.raises(StoreError, match="measures the experiment session"):
        opened("vllm-bf16", "coldstart")
