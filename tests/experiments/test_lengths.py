"""The experiment lengths from its notebook to its analysis, over emulated servers."""

from __future__ import annotations

from itertools import combinations, islice
from pathlib import Path

import pytest

from heavyweight import design, report, store
from heavyweight.design import load_study
from heavyweight.estimates import assess, lengths_table
from heavyweight.setting import INDICES
from heavyweight.workload import prompts
from tests.experiments import emulated
from tests.experiments.emulated import ROOT

LENGTHS = [(64, 16), (512, 24)]
PROFILE = """
arms = ["emulated-slots", "emulated-batch"]
contrasts = { A = ["emulated-batch", "emulated-slots"] }
users = [2]
lengths = [[64, 16], [512, 24]]
blocks = 1
"""


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_a_study_of_lengths_from_its_notebook_to_its_analysis(tmp_path: Path) -> None:
    place = emulated.study(tmp_path / "study", "lengths", PROFILE)
    folder = emulated.run(place, "lengths")
    assert folder.run.experiment == "lengths"
    assert folder.run.lengths == LENGTHS
    told: dict[str, int] = {}
    for session in folder.sessions():
        assert session.record.complete
        cells = session.cells()
        there = {(file.cell.prompt_tokens_target, file.cell.output_tokens) for file in cells}
        assert there == set(LENGTHS)
        for file in cells:
            rows = store.frame(file)
            assert (rows["completion_tokens"] == file.cell.output_tokens).all()
            assert rows["prompt_id"].is_unique
            for prompt, tokens in zip(rows["prompt_id"], rows["prompt_tokens"], strict=True):
                assert told.setdefault(prompt, tokens) == tokens
    run = assess(folder)
    assert len(run.cells) == 2 * len(LENGTHS)
    assert run.cells["work_valid"].all(), run.checks[~run.checks["passed"]].to_string()
    assert run.missing.empty
    assert len(lengths_table(run, "A")) == 4 * len(LENGTHS)

    shown = report.execute("lengths", folder.path)
    assert "EMULATED, 64 slots / EMULATED, 1 slot" in str([c.get("outputs") for c in shown.cells])


@pytest.mark.notebook
@pytest.mark.timeout(120)
def test_a_session_by_hand_is_told_its_lengths_and_goes_on(tmp_path: Path) -> None:
    place = emulated.study(tmp_path / "study", "lengths", PROFILE)
    folder, _ = emulated.papermill(place, "lengths", arm="emulated-batch", users="[1]")
    (session,) = folder.sessions()
    assert session.record.complete
    assert folder.run.lengths == LENGTHS
    assert folder.run.users == [1]
    assert [file.cell.users for file in session.cells()] == [1] * len(LENGTHS)
    run = assess(folder)
    assert run.missing.empty
    before = {file.path.name for file in session.cells()}
    session.cells()[0].path.unlink()
    assert len(assess(folder).missing) == 1
    again, _ = emulated.papermill(place, "lengths", arm="emulated-batch", users="[1]")
    (session,) = again.sessions()
    assert {file.path.name for file in session.cells()} == before
    assert len(session.record.starts) == 2, "one load was missing: one start more"


def test_no_prompt_of_one_length_begins_like_one_of_another() -> None:
    study = load_study(ROOT / "study.toml")
    planned = design.loads(study, study.profile("lengths"))
    assert len(planned) == len(study.profile("lengths").lengths)
    names = [
        prompt.messages[0]["content"].partition(":")[0].split()
        for load in planned
        for prompt in islice(
            prompts(study.seed, 1, load.users, load.prompt_tokens, first=load.place * INDICES), 60
        )
    ]
    # Each prompt begins with a name of four words: of no two are more than the first two the same.
    assert all(one[:3] != other[:3] for one, other in combinations(names, 2))


def test_prompts_and_answers_fit_the_context() -> None:
    study = load_study(ROOT / "study.toml")
    for profile in study.profiles.values():
        for asked, answered in profile.lengths:
            # Words aim at a length and miss it by a few tokens.
            assert asked * 1.1 + answered < study.same.context_tokens, (profile.name, asked)
