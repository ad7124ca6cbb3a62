"""Claims that need a GPU, on runs that pretend to have one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from heavyweight.article.ledger import load_claims
from heavyweight.article.rules import Probe
from heavyweight.claims import Evidence, gpu, judge_runs
from heavyweight.claims.measured import Measured
from heavyweight.estimates import Assessment, assess
from heavyweight.estimates.blocks import load_at
from heavyweight.paths import study_root
from heavyweight.physics import bound, load_hardware, load_models
from heavyweight.records import Session
from tests.claims.runs import OLLAMA, VERSIONS, VLLM, pretend
from tests.experiments.remembered import KV16K, remembered
from tests.synthetic import SyntheticArm

FP16 = SyntheticArm("vllm-fp16", "vLLM FP16", slots=64, itl_ms=3.0, crowding=0.05)
AWQ = SyntheticArm("vllm-awq", "vLLM AWQ", slots=64, itl_ms=2.0, crowding=0.05)
GPTQ = SyntheticArm("vllm-gptq", "vLLM GPTQ", slots=64, itl_ms=2.0, crowding=0.05)
FP8 = SyntheticArm("vllm-fp8", "vLLM FP8", slots=64, itl_ms=2.0, crowding=0.05)
RANKS = SyntheticArm("vllm-fp16-tp2", "vLLM FP16, 2 GPUs", slots=64, itl_ms=2.0, crowding=0.05)
GIB = 2**30


def loaded(sizes: dict[str, float]):
    """Sessions whose server said how much its weights take, in GiB."""

    def edit(session: Session) -> Session:
        assert session.identity
        size = round(sizes[session.arm] * GIB) + session.block
        detail = session.identity.detail | {"weights_loaded_bytes": str(size)}
        return session.model_copy(
            update={"identity": session.identity.model_copy(update={"detail": detail})}
        )

    return edit


def on(path: Path, arms, card: str = "NVIDIA A40", **options) -> Assessment:
    run = pretend(
        path, arms=arms, gpu=card, model="llama-3.1-8b", users=(1, 8), blocks=3, **options
    )
    return assess(run)


def test_the_share_of_the_roofline_is_throughput_over_the_bound(tmp_path: Path) -> None:
    found = on(tmp_path / "run", (OLLAMA, FP16))
    item = gpu.roofline_share(found, "vllm-fp16", load_at(found, 8))
    card = load_hardware().gpu("A40")
    limit = bound(card, load_models().by_name["llama-3.1-8b"], 8).tok_s
    cells = found.cells[(found.cells["arm"] == "vllm-fp16") & (found.cells["users"] == 8)]
    assert item.estimate is not None
    share = cells["throughput_tok_s"].mean() / limit
    assert item.estimate.value == pytest.approx(share, rel=0.02)


def test_without_a_gpu_or_a_known_card_there_is_no_share(tmp_path: Path) -> None:
    bare = on(tmp_path / "bare", (OLLAMA, FP16), card="")
    assert gpu.roofline_share(bare, "vllm-fp16", load_at(bare, 8)).missing == "no GPU was measured"
    odd = on(tmp_path / "odd", (OLLAMA, FP16), card="NVIDIA Riva 128")
    assert "Riva 128" in gpu.roofline_share(odd, "vllm-fp16", load_at(odd, 8)).missing


def test_a_machine_or_a_model_that_was_not_told_is_no_reason_to_break(tmp_path: Path) -> None:
    found = on(tmp_path / "run", (OLLAMA, FP16))
    sessions = found.sessions.astype({"gpus": object, "model": object})
    sessions.loc[sessions["block"] == 1, ["gpus", "model"]] = None
    found = dataclasses.replace(found, sessions=sessions)
    missing = gpu.roofline_share(found, "vllm-fp16", load_at(found, 8)).missing
    for part in ("a GPU that was not told", "a model that was not told", "NVIDIA A40"):
        assert part in missing


@pytest.mark.parametrize(
    ("gpu_name", "same"), [("A40", True), ("A.0", False), ("A40 (PCIe", False)]
)
def test_the_articles_card_is_a_name_and_no_pattern(
    tmp_path: Path, gpu_name: str, same: bool
) -> None:
    ledger = load_claims()
    setting = ledger.setting.model_copy(update={"gpu": gpu_name})
    run = assess(pretend(tmp_path / "run", gpu="NVIDIA A40", model=setting.model, users=(1,)))
    measured = Measured(run, ledger.model_copy(update={"setting": setting}), VERSIONS)
    assert measured.in_setting is same


@pytest.mark.parametrize(
    ("name", "known"),
    [("NVIDIA A100-SXM4-80GB", "A100 80 GB SXM"), ("NVIDIA GeForce RTX 4090", "RTX 4090"),
     ("NVIDIA A40", "A40"), ("NVIDIA A40-8Q", None)],
)  # fmt: skip
def test_a_card_is_known_by_its_drivers_name(name: str, known: str | None) -> None:
    card = load_hardware().of_driver(name)
    assert (card and card.name) == known


def test_what_quantisation_saves_is_of_the_weights_as_they_were_loaded(tmp_path: Path) -> None:
    sizes = {"vllm-fp16": 15.0, "vllm-awq": 5.4, "vllm-fp8": 8.5}
    found = on(tmp_path / "run", (FP16, AWQ, FP8), edit_session=loaded(sizes))
    by_name = {item.of.split()[0]: item for item in gpu.saved(found)}
    assert by_name["AWQ"].estimate.value == pytest.approx(0.64, abs=1e-3)
    assert by_name["FP8"].estimate.value == pytest.approx(1 - 8.5 / 15, abs=1e-3)
    assert by_name["AWQ"].estimate.low <= by_name["AWQ"].estimate.value
    assert "vllm-gptq" in by_name["GPTQ"].missing


def test_little_saved_refutes_and_what_was_not_measured_leaves_it_open(tmp_path: Path) -> None:
    evidence = Evidence.of(study_root())
    for size, answer in ((5.4, "inconclusive"), (12.0, "refuted")):
        sizes = {"vllm-fp16": 15.0, "vllm-awq": size, "vllm-fp8": size}
        found = on(tmp_path / f"run-{size}", (FP16, AWQ, FP8), edit_session=loaded(sizes))
        verdict = {v.claim.id: v for v in judge_runs([found], evidence)}["V7"]
        assert verdict.answer == answer, verdict.why


def test_what_all_three_save_reproduces(tmp_path: Path) -> None:
    sizes = {"vllm-fp16": 15.0, "vllm-awq": 5.4, "vllm-gptq": 5.4, "vllm-fp8": 8.5}
    found = on(tmp_path / "run", (FP16, AWQ, GPTQ, FP8), edit_session=loaded(sizes))
    verdict = {v.claim.id: v for v in judge_runs([found], Evidence.of(study_root()))}["V7"]
    assert verdict.answer == "reproduced", verdict.why


@pytest.mark.parametrize(
    ("least", "answer"), [(0.6, "reproduced"), (0.0, "refuted"), (None, "inconclusive")]
)
def test_two_ranks_must_both_compute(tmp_path: Path, least: float | None, answer: str) -> None:
    found = on(tmp_path / "run", (FP16, RANKS))
    if least is not None:
        found.cells["gpu_util_least"] = least
    claim = load_claims().by_id["T1"]
    rule = next(rule for rule in claim.rules if isinstance(rule, Probe))
    assert gpu.ranks(rule, found).answer == answer


def controlled(path: Path, fp8: float = 8.5, told: float = 18.0, card: str = "NVIDIA A40"):
    """A run of the memory on a GPU: the weights of FP8 and the memory with a small KV cache, GiB.

    vLLM by itself takes 43 GiB, and its weights at 16 bits are 15 GiB.
    """
    sizes = {"vllm-fp16": 15.0, "vllm-fp8": fp8, "vllm-bf16": 15.0, "vllm-bf16-kv16k": 15.0}
    vram = dict.fromkeys(sizes, 43.0 * GIB) | {"vllm-bf16-kv16k": told * GIB}
    return assess(
        remembered(
            path,
            (VLLM, KV16K, FP16, FP8),
            vram if card else None,
            loaded(sizes),
            gpu=card,
            model="llama-3.1-8b",
            contrasts={},
            blocks=3,
        )
    )


def test_flags_that_act_leave_only_what_documents_say_of_the_other_server(tmp_path: Path) -> None:
    evidence = Evidence.of(study_root())
    verdict = {v.claim.id: v for v in judge_runs([controlled(tmp_path / "run")], evidence)}["D7"]
    memory, weights = verdict.measured
    assert memory.estimate.value == pytest.approx(18 / 43, rel=1e-3)
    assert weights.estimate.value == pytest.approx(1 - 8.5 / 15, abs=1e-3)
    assert [part.answer for part in verdict.measured] == ["reproduced", "reproduced"]
    assert "peak GPU memory at 8 users" in memory.why
    said = [part for part in verdict.parts if part.by == "source"]
    assert sum(part.counts for part in said) == 1
    assert verdict.answer == next(part.answer for part in said if part.counts) == "inconclusive"
    assert verdict.judged_by == "nothing more: documents leave it open"


@pytest.mark.parametrize("changed", [{"fp8": 14.9}, {"told": 42.9}])
def test_a_flag_that_does_not_act_refutes(tmp_path: Path, changed: dict[str, float]) -> None:
    found = controlled(tmp_path / "run", **changed)
    verdict = {v.claim.id: v for v in judge_runs([found], Evidence.of(study_root()))}["D7"]
    assert verdict.answer == "refuted", verdict.why


def test_without_a_gpu_the_flags_are_not_judged_by_other_memory(tmp_path: Path) -> None:
    found = controlled(tmp_path / "run", card="")
    verdict = {v.claim.id: v for v in judge_runs([found], Evidence.of(study_root()))}["D7"]
    assert "no GPU was measured" in verdict.why
    assert verdict.judged_by == "heavyweight study run --profile gpu-memory, on a GPU"
