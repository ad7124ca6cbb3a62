"""Verdicts on runs whose truth is known, and on what must never support one."""

from __future__ import annotations

import dataclasses
import math

import pytest

from heavyweight.article.rules import Contradiction
from heavyweight.claims import Evidence, Part, counts, decisions, judge_runs, verdict_table
from heavyweight.claims.correcting import corrected
from heavyweight.claims.told import contradiction
from heavyweight.estimates import assess
from heavyweight.paths import study_root
from heavyweight.records import ServerStart
from heavyweight.stats import Estimate
from tests.claims.runs import FOUR, OLLAMA, PARALLEL, TWO, VLLM, pretend
from tests.synthetic import START, write_run

MACHINELESS = {"arithmetic", "source"}


@pytest.fixture(scope="module")
def evidence():
    return Evidence.of(study_root())


@pytest.fixture(scope="module")
def judged(evidence, tmp_path_factory):
    """Verdicts by id on a run with four arms, six blocks and little spread."""
    path = tmp_path_factory.mktemp("runs") / "four"
    run = pretend(path, FOUR, users=(1, 4, 8, 50), blocks=6, spread=0.01)
    return {v.claim.id: v for v in judge_runs([assess(run)], evidence)}


def truth(users, above=VLLM, below=OLLAMA):
    return above.tok_s(users, 16) / below.tok_s(users, 16)


@pytest.mark.parametrize(("claim", "users"), [("B1c", 1), ("B2c", 4), ("B3c", 8), ("B4c", 50)])
def test_a_ratio_is_the_true_one_and_its_verdict_follows(judged, claim, users):
    found = judged[claim]
    (part,) = [p for p in found.parts if p.estimate is not None]
    assert part.estimate.value == pytest.approx(truth(users), rel=0.05)
    low, high = part.limits
    published = found.claim.published[0].value
    assert (low, high) == pytest.approx((published / 1.2, published * 1.2))
    expected = "reproduced" if low < truth(users) < high else "refuted"
    assert found.answer == expected


def test_one_slot_does_not_grow(judged):
    assert judged["B5"].answer == "refuted"
    assert judged["B5"].parts[0].estimate.value == pytest.approx(1.0, abs=0.05)


def test_more_slots_are_compared_with_one(judged):
    part = judged["Q2a"].parts[0]
    assert part.estimate.value == pytest.approx(truth(8, PARALLEL, OLLAMA), rel=0.05)
    assert judged["Q2a"].answer == "refuted"


def test_tuned_ollama_is_the_better_of_both_and_the_untuned_one_decides_nothing(judged):
    beside, *tuned = judged["H1"].parts
    assert not beside.counts
    assert [p.of.split(" / ")[1] for p in tuned] == [
        "Ollama Q4, 8 slots at 50 users", "Ollama F16, 8 slots at 50 users",
    ]  # fmt: skip
    assert judged["H1"].answer == "refuted"  # the true ratios of both lie below 4.8


def test_a_crossover_is_judged_in_every_contrast(judged):
    assert len(judged["D1"].parts) == 3
    assert all(part.unit == "users" for part in judged["D1"].parts)


def test_a_single_users_disadvantages_are_judged_and_set_up_is_missing(judged):
    *numbers, set_up = judged["D3"].parts
    assert [part.of for part in numbers] == [
        "tok/s, vLLM / Ollama", "median TTFT, Ollama / vLLM", "resident memory, Ollama / vLLM",
    ]  # fmt: skip
    assert set_up.estimate is None


def test_the_latencies_are_turned_so_that_ollamas_comes_first(judged):
    part = judged["L2r"].parts[0]
    assert part.of.startswith("Ollama Q4, 1 slot / vLLM BF16")
    assert part.estimate.value > 1


def test_a_percentile_that_is_not_estimable_names_the_profile_that_has_enough(judged):
    assert judged["L3r"].answer == "inconclusive"
    assert "not estimable" in judged["L3r"].why
    assert judged["L3r"].judged_by == "heavyweight study run --profile tail"


def test_absolute_claims_are_inconclusive_elsewhere_with_what_was_measured_beside(judged):
    found = judged["B4b"]
    assert found.answer == "inconclusive"
    assert "not on an A40" in found.why
    assert found.parts[0].estimate.value == pytest.approx(OLLAMA.tok_s(50, 16), rel=0.05)
    assert math.isnan(found.parts[0].p)


@pytest.mark.parametrize(
    ("gpu", "model", "judges"),
    [
        ("NVIDIA A40", "llama-3.1-8b", True),
        ("NVIDIA A40-8Q", "llama-3.1-8b", False),  # a slice of one
        ("NVIDIA A40", "smollm2-135m", False),
        ("NVIDIA RTX A4000", "llama-3.1-8b", False),
        ("NVIDIA A100-SXM4-40GB", "llama-3.1-8b", False),
    ],
)
def test_absolute_claims_are_judged_in_the_articles_setting_only(
    evidence, tmp_path, gpu, model, judges
):
    arms = (OLLAMA, dataclasses.replace(VLLM, name="vllm-fp16"))
    run = pretend(tmp_path / "run", arms, gpu=gpu, model=model, users=(50,), spread=0.01)
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}["B4b"]
    assert found.answer == ("refuted" if judges else "inconclusive")
    if not judges:
        assert found.judged_by == "heavyweight study run --profile article, on an A40"


def test_a_size_in_the_articles_setting_is_judged_by_a_profile_of_a_gpu(evidence, tmp_path):
    run = pretend(tmp_path / "run", (OLLAMA, VLLM), users=(8,))
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}
    for name in ("R1a", "R1b"):
        assert found[name].judged_by == "heavyweight study run --profile gpu-memory, on an A40"


def test_a_bound_that_is_kept_does_not_keep_a_claim_open(evidence, tmp_path):
    """920 tok/s at 50 users in the article's own setting: its band holds, its bound refutes not."""
    fast = dataclasses.replace(VLLM, name="vllm-fp16", ttft_ms=10.0, itl_ms=52.0, crowding=0.0)
    assert fast.tok_s(50, 16) == pytest.approx(920, rel=0.15)
    run = pretend(tmp_path / "run", (OLLAMA, fast), gpu="NVIDIA A40", model="llama-3.1-8b",
                  users=(50,), spread=0.001)  # fmt: skip
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}["B4a"]
    assert found.answer == "reproduced"
    assert "possible, which is no proof" in " ".join(part.why for part in found.parts)


def test_on_a_gpu_the_profile_that_has_its_arms_is_named(evidence, tmp_path):
    bf16 = dataclasses.replace(VLLM)  # contrast A wants vllm-fp16 where there is a GPU
    run = pretend(tmp_path / "run", (OLLAMA, bf16), gpu="NVIDIA H100", users=(1, 50))
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}
    assert found["B4c"].judged_by == "heavyweight study run --profile article, on a GPU"
    assert found["D1"].judged_by == "heavyweight study run --profile gpu-full, on a GPU"
    others = {name: one for name, one in evidence.known.profiles.items() if "gpu" not in name}
    known = dataclasses.replace(evidence.known, profiles=others)
    without = dataclasses.replace(evidence, known=known)
    found = {v.claim.id: v for v in judge_runs([assess(run)], without)}
    assert found["D1"].judged_by.startswith("a profile with the arms ollama-f16-parallel")


def test_arithmetic_and_documents_need_no_run(evidence):
    found = judge_runs([], evidence)
    assert len(found) == 68
    for verdict in found:
        decided = [p for p in verdict.parts if p.answer != "inconclusive"]
        assert {part.kind for part in decided} <= MACHINELESS, verdict.claim.id
    by_id = {v.claim.id: v.answer for v in found}
    # By the audit's arithmetic and the versions' own documents.
    for claim in ("B1a", "B2a", "B3a", "B3b", "V2", "T4", "R4", "D6a", "P1"):
        assert by_id[claim] == "refuted", claim
    for claim in ("B4a", "V1", "V3", "V4"):  # possible by the bound: no proof
        assert by_id[claim] == "inconclusive", claim
    for claim in ("A3", "A4", "T2", "U3"):
        assert by_id[claim] == "reproduced", claim


def test_emulated_servers_support_no_verdict(evidence, tmp_path):
    arms = tuple(dataclasses.replace(arm) for arm in TWO)
    run = write_run(tmp_path / "emulated", arms=arms, users=(1, 4, 8, 50), spread=0.001)
    assert run.run.emulated
    without = {v.claim.id: v.answer for v in judge_runs([], evidence)}
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}
    assert {name: v.answer for name, v in found.items()} == without
    assert not [part for v in found.values() for part in v.parts if part.estimate is not None]
    assert "evidence of nothing" in found["B4c"].why


def test_an_emulated_session_in_a_measured_run_spoils_it(evidence, tmp_path):
    run = pretend(
        tmp_path / "mixed",
        edit_session=lambda s: s.model_copy(update={"emulated": s.block == 2}),
        users=(1, 50),
    )
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}
    assert "evidence of nothing" in found["B4c"].why


def test_cold_starts_are_judged_only_where_both_definitions_agree(evidence, tmp_path):
    def started(first_ms, alone_ms):
        def edit(session):
            slow = session.arm.startswith("vllm")
            start = ServerStart.model_validate(
                START.model_dump()
                | {
                    "first_token_ms": 1000.0
                    * (first_ms if slow else 1)
                    * (1 + session.block / 1e3),
                    "first_request_ttft_ms": 50.0 * (alone_ms if slow else 1),
                }
            )
            return session.model_copy(update={"starts": [start]})

        return edit

    answers, told = {}, {}
    for name, ratios in {"both": (2.7, 2.7), "one": (2.7, 9.0), "none": (40.0, 0.2)}.items():
        run = pretend(tmp_path / name, edit_session=started(*ratios), users=(1,))
        found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}["Sr"]
        answers[name], told[name] = found.answer, found.judged_by
    assert answers == {"both": "reproduced", "one": "inconclusive", "none": "refuted"}
    assert "by one reading" in told["one"]


def test_holm_takes_verdicts_and_never_gives_them(judged):
    for verdict in judged.values():
        assert verdict.adjusted in (verdict.answer, "inconclusive"), verdict.claim.id
        for part in verdict.parts:
            if not math.isnan(part.p_adjusted):
                assert part.p_adjusted >= part.p
                if part.widened is not None and part.answer != "inconclusive":
                    assert part.widened.low <= part.estimate.low


def test_a_contradiction_follows_the_other_claim(evidence):
    """D4 is refuted only as far as U1 is reproduced."""
    rule = next(r for r in evidence.ledger.by_id["D4"].rules if isinstance(r, Contradiction))
    holds, open_ = {"U1": "reproduced"}, {"U1": "inconclusive"}
    found = contradiction(rule, holds, open_)
    assert (found.answer, found.adjusted, found.counts) == ("refuted", "inconclusive", True)
    found = contradiction(rule, open_, open_)
    assert (found.answer, found.counts) == ("inconclusive", False)


def test_a_number_that_decides_without_a_test_decides_nothing_after_holm():
    estimate = Estimate(2.0, 1.5, math.inf, 4, 0.95, "another method")
    part = Part("shape", "threshold", "x", "refuted", "why.", estimate=estimate, adjusted="refuted")
    assert corrected([part], 0.05)[0].adjusted == "inconclusive"


def test_a_read_document_is_not_touched_by_holm():
    part = Part("source", "source", "x", "refuted", "why.", adjusted="refuted")
    assert corrected([part], 0.05)[0].adjusted == "refuted"


def test_more_tests_make_the_correction_stricter(evidence, tmp_path):
    p = {}
    for name, arms in (("two", TWO), ("four", FOUR)):
        run = pretend(tmp_path / name / "run", arms, users=(1, 4, 8, 50), blocks=4)
        found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}
        p[name] = found["B4c"].parts[0]
    assert p["two"].p == pytest.approx(p["four"].p)
    assert p["two"].p_adjusted <= p["four"].p_adjusted


def test_a_rule_says_whether_it_is_older_than_the_data(evidence, judged):
    date = evidence.ledger.versions[0].date.isoformat()
    found = judged["B4c"]
    assert found.rule_date == date
    assert found.older_than_data is (date < "2026-05-19")  # the synthetic run's own date
    assert judged["B3a"].older_than_data is None  # no data decided it
    assert judged["B1a"].older_than_data is None  # arithmetic did, though it was measured too
    assert judged["B1a"].kind == "arithmetic"


def test_the_tables_have_every_claim_once(evidence, judged):
    verdicts = list(judged.values())
    table = verdict_table(verdicts)
    assert list(table["id"]) == [claim.id for claim in evidence.ledger.claims]
    assert set(table["verdict"]) == {"reproduced", "refuted", "inconclusive"}
    undecided = table[table["verdict"] == "inconclusive"]
    assert (undecided["judged_by"].str.len() > 0).all()
    assert (table["why"].str.len() > 0).all()
    tally = counts(verdicts)
    assert tally.loc["all", "claims"] == 68
    whole = tally.drop(index="all")
    assert (whole.sum() == tally.loc["all"]).all()
    assert (whole[["reproduced", "refuted", "inconclusive"]].sum(axis=1) == whole["claims"]).all()


def test_every_decision_of_the_article_rests_on_claims(evidence, judged):
    table = decisions(evidence.article, list(judged.values()))
    assert len(table) == len(evidence.article.decision)
    assert (table["claims"] != "-").all()
