"""A study measured twice: planned by the run's own copy, measured, and held beside it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from heavyweight import runner
from heavyweight.cli.reproduce import plan_of
from heavyweight.errors import BadInput, ServerError, Stopped
from heavyweight.estimates import assess, reproduction_table
from heavyweight.job import Job
from heavyweight.paths import STUDY_FILE
from heavyweight.store import RunFolder
from heavyweight.tables import reproduction
from tests.command import heavyweight
from tests.synthetic import ARMS, STUDY, SyntheticArm, write_run

SLOWER = (ARMS[0], SyntheticArm(ARMS[1].name, ARMS[1].label, slots=64, itl_ms=4.0, crowding=0.05))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """The same study three times: as it was, again, and where one server is half as fast."""
    place = tmp_path_factory.mktemp("reproduced")
    made = {
        "theirs": write_run(place / "theirs", users=(1, 8), blocks=5),
        "again": write_run(place / "again", users=(1, 8), blocks=4, seed=7),
        "slower": write_run(place / "slower", users=(1, 8), blocks=4, seed=7, arms=SLOWER),
        "once": write_run(place / "once", users=(1, 4), blocks=1, seed=7),
    }
    for folder in made.values():
        (folder.path / STUDY_FILE).write_text(STUDY.read_text())
    return made


def test_the_same_servers_do_not_differ_and_slower_ones_do(runs) -> None:
    theirs = assess(runs["theirs"])
    same = reproduction_table(theirs, assess(runs["again"]))
    assert list(same["users"]) == [1, 8]
    assert not same["differs"].any()
    apart = reproduction_table(theirs, assess(runs["slower"]))
    assert apart["differs"].all()
    truth = [SLOWER[1].tok_s(n, 16) / ARMS[1].tok_s(n, 16) for n in (1, 8)]
    assert list(apart["quotient"]) == pytest.approx(truth, rel=0.05)
    assert list(apart["quotient"]) == pytest.approx(list(apart["ours"] / apart["theirs"]))


def test_one_block_has_no_interval_and_a_load_of_one_side_no_quotient(runs) -> None:
    found = reproduction_table(assess(runs["theirs"]), assess(runs["once"]))
    by_users = found.set_index("users")
    assert list(by_users.index) == [1, 4, 8]
    assert pd.isna(by_users.loc[1, "differs"])
    assert by_users.loc[1, "quotient"] > 0
    assert math.isnan(by_users.loc[4, "quotient"])
    assert "theirs: no valid block" in by_users.loc[4, "note"]
    assert set(reproduction(found)["differ"]) == {"cannot be told"}


def test_the_command_compares_two_runs(runs) -> None:
    both = [str(runs["theirs"].path), "--against", str(runs["slower"].path)]
    done = heavyweight("reproduce", *both, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [row["users"] for row in told["rows"]] == [1, 8]
    assert told["emulated"] is True
    words = heavyweight("reproduce", *both)
    assert "2 leave out 1" in words.stdout
    assert "EMULATED" in words.stdout


def test_the_plan_is_the_runs_own(tmp_path: Path) -> None:
    """Another seed in the copy than in the checkout: the copy counts."""
    folder = write_run(tmp_path / "r", blocks=2)
    record = folder.run.model_copy(update={"profile": "emulated"})
    RunFolder.replace(folder.path, record)
    copy = STUDY.read_text().replace("seed = 20260519", "seed = 77")
    (folder.path / STUDY_FILE).write_text(copy)
    study, profile = plan_of(RunFolder.open(folder.path))
    assert study.seed == 77
    assert (profile.name, profile.blocks, profile.arms) == ("emulated", 2, record.arms)


def test_a_run_without_a_plan_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", blocks=1, users=(1,))
    with pytest.raises(BadInput, match="no plan of its own"):
        plan_of(folder)
    done = heavyweight("reproduce", str(folder.path), "--plan")
    assert done.returncode == 2
    assert "no plan of its own" in done.stderr


def test_a_real_run_and_an_emulated_one_are_not_compared(runs) -> None:
    done = heavyweight("reproduce", "reference", "--against", str(runs["theirs"].path))
    assert done.returncode == 2
    assert "emulated" in done.stderr


def test_the_reference_run_can_be_planned_anew() -> None:
    done = heavyweight("reproduce", "reference", "--plan")
    assert done.returncode == 0, done.stderr
    assert "reproduce-reference" in done.stdout
    assert not (STUDY.parent / "data" / "runs" / "reproduce-reference").exists()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A checkout with one run, of the profile `emulated`."""
    (tmp_path / STUDY_FILE).write_text(STUDY.read_text())
    theirs = write_run(tmp_path / "data" / "runs" / "theirs", users=(1, 4), blocks=2)
    (theirs.path / STUDY_FILE).write_text(STUDY.read_text())
    return tmp_path


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """In place of the runner: steps that are left are measured by no clock.

    Called with how many steps it does before it ends as given, it begins a list of what is done.
    """
    made = write_run(
        tmp_path / "made" / "reproduce-theirs", users=(1, 4), blocks=2, seed=7, arms=SLOWER
    )

    def begin(steps: int | None = None, ends: Exception | None = None) -> list[str]:
        done: list[str] = []

        def execute(job: Job, on_state: object) -> list[ServerError]:
            for step in job.left()[:steps]:
                shutil.copytree(made.path / step.name, job.folder.path / step.name)
                done.append(step.name)
            if isinstance(ends, ServerError):
                return [ends]
            if ends:
                raise ends
            return []

        monkeypatch.setattr(runner, "execute", execute)
        return done

    return begin


def test_the_command_measures_goes_on_and_compares(study: Path, measured) -> None:
    """Stopped after two steps, it says nothing of ratios; called again it measures what is left."""
    first = measured(2, Stopped("stopped", "", "call again"))
    stopped = heavyweight("reproduce", "theirs", cwd=study)
    assert stopped.returncode == 130
    assert "theirs: theirs" not in stopped.stdout
    left = measured()
    done = heavyweight("reproduce", "theirs", cwd=study)
    assert done.returncode == 0, done.stderr
    assert len(first) == 2
    assert first[0] == "instrument"
    sessions = [f"b{block:02d}-{arm.name}" for block in (1, 2) for arm in ARMS]
    assert sorted(first + left) == sorted(["instrument", *sessions]), "nothing twice"
    assert "theirs: theirs, on 2 cores" in done.stdout
    assert "ours: reproduce-theirs, on 2 cores" in done.stdout
    assert "Of 2 quotients with an interval" in done.stdout
    assert "EMULATED" in done.stdout

    again = measured()
    told = heavyweight("reproduce", "theirs", "--json", cwd=study)
    assert told.returncode == 0, told.stderr
    assert again == []
    assert "is complete: nothing to do" in told.stderr
    ours = RunFolder.open(study / "data" / "runs" / "reproduce-theirs")
    assert (ours.run.profile, ours.run.users, ours.run.blocks) == ("emulated", [1, 4], 2)
    assert (ours.path / STUDY_FILE).read_text() == STUDY.read_text()


def test_sessions_that_could_not_be_finished_are_told_and_nothing_is_compared(
    study: Path, measured
) -> None:
    measured(1, ServerError("emulated-slots did not start"))
    done = heavyweight("reproduce", "theirs", "--run", "mine", "--blocks", "1", cwd=study)
    assert done.returncode == 2
    assert "1 session(s) of mine could not be finished" in done.stderr
    assert "emulated-slots did not start" in done.stderr
    assert "theirs: theirs" not in done.stdout
    assert RunFolder.open(study / "data" / "runs" / "mine").run.blocks == 1
