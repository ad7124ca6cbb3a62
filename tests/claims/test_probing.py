"""Claims on mechanisms and memory, by probes whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heavyweight.claims import Evidence, Verdict, judge_runs
from heavyweight.estimates import assess
from heavyweight.paths import study_root
from heavyweight.records import Probe
from heavyweight.store import RunFolder, write_json, write_probe
from tests.claims.runs import FOUR, pretend
from tests.synthetic import SyntheticArm

SHIPPED = SyntheticArm("vllm-shipped", "vLLM as shipped", slots=64)
ARMS = (*FOUR, SHIPPED)
KIND = {"overlap": 20, "same-step": 10, "slot-recycling": 8}


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence.of(study_root())


def asked(
    run: RunFolder, probe: str, answers: dict[str, list[str]], values: list[float] | None = None
) -> None:
    """Put a probe to arms of a run: their answers by block."""
    for folder in run.sessions():
        session = folder.record
        if session.arm not in answers:
            continue
        answer = answers[session.arm][session.block - 1]
        trials = KIND.get(probe, 1)
        write_probe(
            folder.path,
            Probe.model_validate(
                {
                    "probe": probe, "question": "?", "run": session.run,
                    "session": session.session, "arm": session.arm, "server": session.server,
                    "block": session.block, "start_id": 1, "emulated": False, "answer": answer,
                    "yes": trials if answer == "yes" else 0,
                    "trials": [{"yes": answer == "yes"}] * trials,
                    "value": values[session.block - 1] if values else None,
                    "value_unit": "steps", "why": f"it says {answer}",
                    "finished_utc": "2026-11-26T00:00:00+00:00",
                }
            ),
        )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = pretend(tmp_path / "mechanisms-1", arms=ARMS, users=(1, 8), blocks=3)
    write_json(folder.path / "run.json", folder.run.model_copy(update={"experiment": "mechanisms"}))
    return RunFolder.open(folder.path)


def judged(run: RunFolder, evidence: Evidence) -> dict[str, Verdict]:
    return {v.claim.id: v for v in judge_runs([assess(run)], evidence)}


YES, NO = ["yes"] * 3, ["no"] * 3


@pytest.mark.parametrize(
    ("claim", "probe", "arms", "yes", "no", "mixed"),
    [
        ("Q1", "overlap", ["ollama-q4"], "reproduced", "refuted", "refuted"),
        ("V6", "dtype", ["vllm-shipped"], "reproduced", "refuted", "inconclusive"),
        ("A2", "swap", ["ollama-q4"], "reproduced", "refuted", "inconclusive"),
        ("A1", "ports", ["ollama-q4", "vllm-bf16"], "reproduced", "refuted", "inconclusive"),
        ("D5", "offline", ["ollama-q4", "vllm-bf16"], "reproduced", "refuted", "inconclusive"),
    ],
)
def test_a_claim_follows_its_probe(
    run: RunFolder, evidence: Evidence, claim: str, probe: str, arms: list[str],
    yes: str, no: str, mixed: str, tmp_path: Path,
) -> None:  # fmt: skip
    for number, (answers, expected) in enumerate(
        [(YES, yes), (NO, no), (["yes", "no", "yes"], mixed), (["unknown"] * 3, "inconclusive")]
    ):
        copy = pretend(tmp_path / f"run-{number}", arms=ARMS, users=(1, 8), blocks=3)
        asked(copy, probe, dict.fromkeys(arms, answers))
        assert judged(copy, evidence)[claim].answer == expected, answers


def test_tokens_in_the_same_step_refute_contexts_of_their_own(
    run: RunFolder, evidence: Evidence
) -> None:
    asked(run, "same-step", {"ollama-q4-parallel": YES})
    found = judged(run, evidence)["Q3"]
    assert found.answer == "refuted"
    assert any(part.by == "probe" and part.from_run for part in found.parts)


def test_an_arm_that_is_not_the_claims_decides_nothing(run: RunFolder, evidence: Evidence) -> None:
    asked(run, "overlap", {"vllm-bf16": NO, "ollama-q4-parallel": NO})
    assert judged(run, evidence)["Q1"].answer == "inconclusive"


def test_one_server_that_was_not_asked_leaves_the_claim_open(
    run: RunFolder, evidence: Evidence
) -> None:
    asked(run, "offline", {"ollama-q4": YES})
    found = judged(run, evidence)["D5"]
    assert found.answer == "inconclusive"
    assert "vllm was not asked" in found.why


@pytest.mark.parametrize(("trials", "answer"), [(6, "inconclusive"), (7, "reproduced")])
def test_fewer_trials_than_the_rule_asks_for_decide_nothing(
    run: RunFolder, evidence: Evidence, monkeypatch: pytest.MonkeyPatch, trials: int, answer: str
) -> None:
    monkeypatch.setitem(KIND, "overlap", trials)  # in each of three blocks; twenty are needed
    asked(run, "overlap", {"ollama-q4": YES})
    assert judged(run, evidence)["Q1"].answer == answer


@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        ([1.0, 1.1, 1.0], "reproduced"),
        ([6.0, 6.5, 6.2], "refuted"),
        ([1.0, 3.0, 2.0], "inconclusive"),
    ],
)
def test_steps_from_a_freed_slot_are_held_against_two(
    run: RunFolder, evidence: Evidence, steps: list[float], answer: str
) -> None:
    asked(run, "slot-recycling", {"vllm-bf16": YES}, steps)
    found = judged(run, evidence)["Q5"]
    assert found.answer == answer
    assert found.measured[0].unit == "steps"


def kv(run: RunFolder, arm: str, assigned: float, used: float, block_tokens: float | None) -> None:
    """What a probe of the KV cache saw, in each block of an arm: eight sequences."""
    for folder in run.sessions():
        session = folder.record
        if session.arm != arm:
            continue
        wobble = 1 + 0.01 * session.block
        trial: dict[str, Any] = {
            "moment": "in flight", "sequences": 8, "block_tokens": block_tokens,
            "reserved_tokens": 16384, "assigned_tokens": assigned,
            "tokens_in_flight": used / wobble,
            "wasted_tokens_per_sequence": (assigned - used / wobble) / 8,
        }  # fmt: skip
        write_probe(
            folder.path,
            Probe.model_validate(
                {
                    "probe": "kv-cache", "question": "?", "run": session.run,
                    "session": session.session, "arm": arm, "server": session.server,
                    "block": session.block, "start_id": 1, "emulated": False, "answer": "yes",
                    "trials": [trial], "why": "", "finished_utc": "2026-11-26T00:00:00+00:00",
                }
            ),
        )  # fmt: skip


@pytest.mark.parametrize(("assigned", "answer"), [(1100.0, "reproduced"), (3000.0, "refuted")])
def test_wasted_kv_cache_is_held_against_a_block_and_the_others_share(
    run: RunFolder, evidence: Evidence, assigned: float, answer: str
) -> None:
    contrasts = run.run.contrasts | {"C": ("vllm-bf16", "ollama-f16-parallel")}
    write_json(run.path / "run.json", run.run.model_copy(update={"contrasts": contrasts}))
    again = RunFolder.open(run.path)
    kv(again, "vllm-bf16", assigned, 1000.0, 128)
    kv(again, "ollama-f16-parallel", 16384.0, 1000.0, None)
    found = judged(again, evidence)["Q4"]
    assert found.answer == answer, found.why
    assert found.measured[0].estimate is not None
