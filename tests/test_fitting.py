"""Arms that a machine or a model cannot have are left out and named; the others stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from heavyweight.claims import gpu
from heavyweight.design import Arm, load_study
from heavyweight.errors import BadInput
from heavyweight.fitting import fitting, flag_value, gpus_needed, left_out, makes_fp8

STUDY = load_study(Path(__file__).parents[1] / "study.toml")
FULL = STUDY.profile("gpu-full")
TWO = {"vllm-fp16-tp2", "ollama-f16-two-gpus"}


def vllm(*flags: str) -> Arm:
    return STUDY.arm("vllm-fp16").model_copy(update={"flags": list(flags)})


def test_an_arm_says_by_its_own_flags_how_many_gpus_it_needs() -> None:
    assert {name for name, arm in STUDY.arms.items() if gpus_needed(arm) == 2} == TWO
    assert gpus_needed(vllm("--enforce-eager", "--tensor-parallel-size", "4")) == 4


@pytest.mark.parametrize(
    "flags",
    [
        ("--tensor-parallel-size", "2"), ("--tensor-parallel-size=2",), ("-tp", "2"), ("-tp=2",),
        ("--tensor_parallel_size", "2"), ("--tensor_parallel_size=2",), ("-tp", "4", "-tp", "2"),
        ("--enforce-eager", "-tp", "2", "--seed=4"),
    ],
)  # fmt: skip
def test_a_number_of_ranks_may_be_written_in_many_ways(flags: tuple[str, ...]) -> None:
    assert gpus_needed(vllm(*flags)) == 2


def test_the_value_of_a_flag() -> None:
    assert flag_value(["--a", "1"], "--a") == "1"
    assert flag_value(["--a=b=c"], "--a") == "b=c"
    assert flag_value(["--ab=1", "--a-b", "2"], "--a") is None
    assert flag_value(["--b", "1", "--a"], "--a", "-a") == ""
    assert flag_value(["--a="], "--a") == ""
    assert flag_value([], "--a") is None


@pytest.mark.parametrize(
    ("flags", "made"),
    [
        (("--quantization", "fp8"), True), (("--quantization=fp8",), True), (("-q", "fp8"), True),
        (("--quantization", "awq"), False), (("--kv-cache-dtype", "fp8"), False), ((), False),
    ],
)  # fmt: skip
def test_weights_are_made_fp8_however_it_is_written(flags: tuple[str, ...], made: bool) -> None:
    assert makes_fp8(vllm(*flags)) is made


@pytest.mark.parametrize("given", [("many",), ("0",), ("-2",), ()])
def test_a_number_of_ranks_that_is_none_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="--tensor-parallel-size"):
        gpus_needed(vllm("--tensor-parallel-size", *given))


@pytest.mark.parametrize(("gpus", "gone"), [(0, TWO), (1, TWO), (2, set()), (8, set())])
def test_arms_of_two_gpus_go_where_there_is_one(gpus: int, gone: set[str]) -> None:
    model = STUDY.model(FULL.model)
    assert set(left_out(STUDY, FULL, model, gpus)) == gone
    fitted = fitting(STUDY, FULL, model, gpus)
    assert fitted.arms == [name for name in FULL.arms if name not in gone]
    assert ("T" in fitted.contrasts) is not gone
    assert {"A", "B", "C", "D"} <= set(fitted.contrasts)
    assert all(arm in fitted.arms for pair in fitted.contrasts.values() for arm in pair)


def test_a_model_without_awq_loses_that_arm_and_its_contrast() -> None:
    model = STUDY.model("granite-3.3-8b")
    assert left_out(STUDY, FULL, model, 2) == {
        "vllm-awq": "granite-3.3-8b has no awq_repo in study.toml",
        "vllm-gptq": "granite-3.3-8b has no gptq_repo in study.toml",
    }
    assert "D" not in fitting(STUDY, FULL, model, 2).contrasts
    assert list(left_out(STUDY, FULL, STUDY.model("qwen3-8b"), 2)) == ["vllm-gptq"]
    assert not left_out(STUDY, FULL, STUDY.model(FULL.model), 2)


def test_a_profile_of_which_nothing_fits_is_refused() -> None:
    alone = FULL.model_copy(update={"arms": ["vllm-fp16-tp2"]})
    with pytest.raises(BadInput, match="vllm-fp16-tp2 needs 2 GPUs, and there is 1"):
        fitting(STUDY, alone, STUDY.model(FULL.model), 1)


def test_gpu_profiles_have_what_the_ledger_compares() -> None:
    for name in ("gpu-full", "gpu-smoke"):
        profile = STUDY.profile(name)
        assert profile.needs_gpu
        assert profile.contrasts["D"] == ("vllm-awq", "ollama-q4-parallel")
        assert set(profile.session_minutes) == set(profile.arms)
        assert {gpu.SIXTEEN, *gpu.QUANTISED.values()} <= set(profile.arms)
    assert {STUDY.arm(a).slots for a in FULL.arms if a.startswith("ollama-q4")} == {1, 8, 32}
    one = {STUDY.arm(a).slots for a in FULL.arms if a.startswith("ollama-f16")}
    assert one == {1, 8, 32}
    assert min(FULL.users) == 1
    assert max(FULL.users) == 256
    assert STUDY.profile("gpu-smoke").arms == FULL.arms
