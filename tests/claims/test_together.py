"""Several runs of one study: which are read together, and which of them judges a claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heavyweight.claims import Evidence, Verdict, judge_runs
from heavyweight.estimates import assess
from heavyweight.paths import study_root
from heavyweight.records import Run
from heavyweight.store import RunFolder, write_json
from heavyweight.together import together
from tests.claims.runs import FOUR, TWO, pretend


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence.of(study_root())


def run_of(path: Path, arms: Any = TWO, edit: dict[str, Any] | None = None) -> RunFolder:
    folder = pretend(path, arms=arms, users=(1, 8), blocks=3)
    changed: Run = folder.run.model_copy(update={"run": path.name, **(edit or {})})
    write_json(path / "run.json", changed)
    return RunFolder.open(path)


def judged(evidence: Evidence, *runs: RunFolder) -> dict[str, Verdict]:
    return {v.claim.id: v for v in judge_runs([assess(run) for run in runs], evidence)}


def test_the_newest_run_of_each_experiment_is_read_beside_the_studys(tmp_path: Path) -> None:
    main = run_of(tmp_path / "quick-1")
    run_of(tmp_path / "quick-2")  # the same experiment: another study
    old = {"experiment": "parallel", "created_utc": "2026-01-01T00:00:00+00:00"}
    run_of(tmp_path / "parallel-1", edit=old)
    run_of(tmp_path / "parallel-2", edit={"experiment": "parallel"})
    run_of(tmp_path / "memory-1", edit={"experiment": "memory"})
    run_of(tmp_path / "emulated-1", edit={"experiment": "lengths", "emulated": True})
    names = [folder.run.run for folder in together(main)]
    assert names == ["quick-1", "memory-1", "parallel-2"]


def test_a_run_on_the_same_machine_goes_before_a_newer_one_on_another(tmp_path: Path) -> None:
    main = run_of(tmp_path / "quick-1")
    later = {"experiment": "memory", "created_utc": "2027-01-01T00:00:00+00:00"}
    other = run_of(tmp_path / "memory-2", edit=later)
    for session in other.sessions():
        record = session.record
        moved = record.machine.model_copy(update={"machine_id": "another"})
        changed = record.model_copy(update={"machine": moved})
        write_json(session.path / "session.json", changed)
    assert [folder.run.run for folder in together(main)] == ["quick-1", "memory-2"]
    run_of(tmp_path / "memory-1", edit={"experiment": "memory"})
    assert [folder.run.run for folder in together(main)] == ["quick-1", "memory-1"]


def test_a_claim_is_judged_by_the_run_that_has_its_arms(tmp_path: Path, evidence: Evidence) -> None:
    main = run_of(tmp_path / "quick-1")
    slots = run_of(tmp_path / "parallel-1", FOUR, {"experiment": "parallel"})
    alone, both = judged(evidence, main), judged(evidence, main, slots)
    assert alone["Q2a"].answer == "inconclusive"
    assert "not in this run" in alone["Q2a"].why
    assert both["Q2a"].answer == "refuted"  # eight slots give more than half as much again
    assert both["Q2a"].runs == ("parallel-1",)
    assert both["B3c"].runs == ("quick-1",)
    assert both["B3c"].measured[0].estimate == alone["B3c"].measured[0].estimate


def test_the_order_of_runs_does_not_depend_on_what_they_say(
    tmp_path: Path, evidence: Evidence
) -> None:
    main = run_of(tmp_path / "quick-1")
    again = run_of(tmp_path / "other-1", edit={"experiment": "parallel"})
    assert judged(evidence, main, again)["B3c"].runs == ("quick-1",)
    assert judged(evidence, again, main)["B3c"].runs == ("other-1",)


def test_an_emulated_run_decides_nothing_beside_a_measured_one(
    tmp_path: Path, evidence: Evidence
) -> None:
    main = run_of(tmp_path / "quick-1")
    imitated = run_of(tmp_path / "parallel-1", FOUR, {"experiment": "parallel", "emulated": True})
    assert judged(evidence, main, imitated)["Q2a"].answer == "inconclusive"
