"""Arithmetic of a GPU's memory, over all of study.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from heavyweight.design import load_study
from heavyweight.doctor.cards import Card
from heavyweight.doctor.gpu import _memory
from heavyweight.doctor.memory import kv_bytes_per_token, need

ROOT = Path(__file__).parents[2]
STUDY = load_study(ROOT / "study.toml")
CARD = Card("a GPU", 80 * 2**30, 0, (9, 0), True, False, True, (700.0, 700.0), ())


@pytest.mark.parametrize("name", STUDY.profiles)
def test_every_arm_of_every_profile_can_be_counted(name: str) -> None:
    profile = STUDY.profile(name)
    model = STUDY.model(profile.model)
    kv = kv_bytes_per_token(ROOT, model)
    for arm in profile.arms:
        assert need(STUDY.arm(arm), model, profile, STUDY.same, kv).memory_bytes > 0, arm
    assert _memory(ROOT, STUDY, profile, model, [CARD]).found


def test_a_profile_without_users_needs_the_cache_of_one() -> None:
    profile, model = STUDY.profile("gpu-full"), STUDY.model("qwen3-8b")
    arm = STUDY.arm("vllm-fp16")
    none = need(arm, model, profile.model_copy(update={"users": []}), STUDY.same, 1)
    one = need(arm, model, profile.model_copy(update={"users": [1]}), STUDY.same, 1)
    assert none == one


@pytest.mark.parametrize("flags", [["-q", "fp8"], ["-q=fp8"], ["--quantization=fp8"]])
def test_weights_that_are_made_fp8_count_at_16_bits(flags: list[str]) -> None:
    profile, model = STUDY.profile("gpu-full"), STUDY.model("qwen3-8b")
    arm = STUDY.arm("vllm-awq").model_copy(update={"flags": flags})
    assert need(arm, model, profile, STUDY.same, 1).weights == 2 * model.parameters
    other = arm.model_copy(update={"flags": ["--quantization", "awq"]})
    assert need(other, model, profile, STUDY.same, 1).weights < model.parameters
