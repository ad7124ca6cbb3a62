"""The experiment parallel from its notebook to its analysis, over emulated servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from heavyweight import report
from heavyweight.design import load_study
from heavyweight.estimates import assess, gain_table
from tests.experiments import emulated
from tests.experiments.emulated import ROOT

PROFILE = """
arms = ["emulated-slots", "emulated-four"]
contrasts = { A = ["emulated-four", "emulated-slots"] }
users = [1, 4]
blocks = 1
"""


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_a_study_of_slots_from_its_notebook_to_its_analysis(tmp_path: Path) -> None:
    folder = emulated.run(emulated.study(tmp_path / "study", "parallel", PROFILE), "parallel")
    assert folder.run.experiment == "parallel"
    assert folder.run.lengths == []
    for session in folder.sessions():
        assert session.record.complete
        assert session.record.experiment == "parallel"
        assert (session.path / "parallel-1.ipynb").exists()
    run = assess(folder)
    assert len(run.cells) == 2 * 2
    assert run.cells["work_valid"].all()
    assert run.missing.empty
    # A busy machine makes cells INVALID; their work is sound, and that is what is looked at.
    sound = run.cells.assign(valid=True)
    gains = gain_table(type(run)(**{**vars(run), "cells": sound})).set_index("users")
    assert 2.5 < gains.loc[4, "gain"] < 5, "4 users on 4 slots, each as fast as alone"
    assert 0.7 < gains.loc[1, "gain"] < 1.4

    shown = report.execute("parallel", folder.path)
    said = str([cell.get("outputs") for cell in shown.cells])
    assert "EMULATED, 4 slots" in said
    assert "resident memory" in said


def test_the_studys_arms_of_slots_differ_in_nothing_else() -> None:
    study = load_study(ROOT / "study.toml")
    profile = study.profile("parallel")
    arms = [study.arm(name) for name in profile.arms]
    quantised = [arm for arm in arms if arm.server == "ollama" and arm.artefact == "gguf-q4"]
    assert [arm.slots for arm in quantised] == [1, 2, 4, 8, 16, 32]
    assert len({arm.model_copy(update=SAME).model_dump_json() for arm in quantised}) == 1
    shipped, both = study.arm("vllm-shipped"), study.arm("vllm-bf16")
    assert shipped.env == {"VLLM_CPU_OMP_THREADS_BIND": "auto"}, "vLLM's own default"
    assert shipped.slots == both.slots
    assert set(profile.session_minutes) == set(profile.arms)


SAME = {"name": "", "label": "", "slots": 1}
