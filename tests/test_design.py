"""study.toml is refused with one clear message, and planned the same way every time."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight import design, identity
from heavyweight.errors import BadInput
from heavyweight.kinds import EXPERIMENTS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "study.toml").read_text()


@pytest.fixture(scope="module")
def study() -> design.Study:
    return design.load_study(ROOT / "study.toml")


def test_the_profiles_are_those_that_the_readme_names(study: design.Study) -> None:
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^\| `([a-z-]+)` \|", readme, re.M))
    assert set(study.profiles) == named
    assert study.profile("quick").users == [1, 4, 8, 50]
    assert study.profile("full").blocks == 6


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("users = [1, 4]\n", 'users = [1, "four"]\n', "profiles.smoke.users"),
        ("users = [1, 4]\n", "users = [1, 1]\n", "each load once"),
        ("blocks = 1\n", "blocks = 0\n", "profiles.smoke.blocks"),
        ("blocks = 1\n", "blocks = 1\nblcks = 2\n", "blcks"),
        ('arms = ["ollama-q4", "vllm-bf16"]', 'arms = ["ollama-q5", "vllm-bf16"]', "ollama-q5"),
        ('model = "smollm2-135m"', 'model = "smollm3"', "smollm3"),
        ('server = "ollama"', 'server = "olama"', "server"),
        ("seed = 20260519", "seed = -1", "seed"),
        ("schema = 1", "schema = 2", "schema"),
        ("[arms.ollama-q4]", '[arms."ollama/../../q4"]', "arms"),
        ("[models.smollm2-135m]", '[models."../smollm2-135m"]', "models"),
        ("[profiles.aa]", '[profiles."/aa"]', "profiles"),
        ("seed = 2026", "sead = 2026", "sead: no key"),
        ("min_requests = 30 # fin", "min_requests = -3 # fin", "limits.min_requests"),
        ("context_tokens = 2048", "context_tokens = 10", "context_tokens = 10: profiles."),
        ('cores = "all"', "cores = [0, -1]", "cores"),
        ("schema = 1", "schema = = 1", "not TOML"),
        ('emulate = { api = "ollama", ttft_ms = 20, itl_ms = 2 }\n', "", "emulate"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in TEXT
    path = tmp_path / "study.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(BadInput) as error:
        design.load_study(path)
    assert told in str(error.value)
    assert "Remedy:" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"study\.toml"):
        design.load_study(tmp_path / "study.toml")


@pytest.mark.parametrize("kind", ["profile", "arm", "model"])
def test_an_unknown_name_gets_the_nearest_known_one(study: design.Study, kind: str) -> None:
    name = next(iter(getattr(study, f"{kind}s")))
    with pytest.raises(BadInput, match=f"did you mean '{name}'"):
        getattr(study, kind)(name + "x")


@given(seed=st.integers(0, 2**63), blocks=st.integers(1, 12))
def test_a_plan_has_every_arm_once_a_block_and_every_load_once_a_session(
    seed: int, blocks: int
) -> None:
    table = tomllib.loads(TEXT)
    study = design.Study.model_validate(table | {"seed": seed})
    profile = study.profile("full")
    profile = profile.model_copy(update={"blocks": blocks})
    sessions = design.plan(study, profile)
    assert [s.block for s in sessions] == sorted(s.block for s in sessions)
    for block in range(1, blocks + 1):
        mine = [s for s in sessions if s.block == block]
        assert sorted(s.arm for s in mine) == sorted(profile.arms)
        assert [s.order for s in mine] == list(range(1, len(mine) + 1))
    assert all(sorted(s.users) == sorted(profile.users) for s in sessions)
    assert sessions == design.plan(study, profile)


def seeded(study: design.Study, seed: int) -> design.Study:
    return study.model_copy(update={"seed": seed})


def test_the_order_varies_between_blocks_and_seeds(study: design.Study) -> None:
    profile = study.profile("full").model_copy(update={"blocks": 12})
    orders = {
        tuple(s.arm for s in design.plan(seeded(study, seed), profile) if s.block == block)
        for seed in range(4)
        for block in range(1, 13)
    }
    assert len(orders) > 12  # of the 24 orders of four arms, in 48 draws
    for place in range(4):
        assert {order[place] for order in orders} == set(profile.arms)


def test_adding_an_arm_does_not_move_the_loads_of_the_others(study: design.Study) -> None:
    quick, full = study.profile("quick"), study.profile("full")
    loads = design.loads(study, quick)
    assert design.load_order(study.seed, 2, "ollama-q4", loads) == next(
        s.loads for s in design.plan(study, quick) if s.name == "b02-ollama-q4"
    )
    few = full.model_copy(update={"arms": ["ollama-q4"]})
    mine = {s.name: s.loads for s in design.plan(study, full)}
    assert all(mine[s.name] == s.loads for s in design.plan(study, few))


def test_every_pair_of_lengths_is_a_load_with_prompts_of_its_own(study: design.Study) -> None:
    profile = study.profile("lengths")
    session = design.plan(study, profile)[0]
    pairs = [(one.prompt_tokens, one.output_tokens) for one in session.loads]
    assert sorted(pairs) == sorted(profile.lengths)
    assert sorted(one.place for one in session.loads) == list(range(len(pairs)))
    assert session.cells == len(pairs)


def test_every_experiment_has_a_profile_and_a_notebook(study: design.Study) -> None:
    planned = {profile.experiment for profile in study.profiles.values()}
    assert planned == set(EXPERIMENTS)
    for name in planned:
        assert (ROOT / "notebooks" / f"{name}.ipynb").exists()


def test_the_cell_id_depends_on_what_defines_it_and_not_on_the_label(study: design.Study) -> None:
    arm = study.arm("ollama-q4")
    base = identity.cell_id(arm, "f" * 64, {"ollama": "0.24.0"}, users=1, block=1)
    relabelled = arm.model_copy(update={"label": "another name"})
    assert identity.cell_id(relabelled, "f" * 64, {"ollama": "0.24.0"}, users=1, block=1) == base
    others = [
        identity.cell_id(arm, "e" * 64, {"ollama": "0.24.0"}, users=1, block=1),
        identity.cell_id(arm, "f" * 64, {"ollama": "0.25.0"}, users=1, block=1),
        identity.cell_id(arm, "f" * 64, {"ollama": "0.24.0"}, users=2, block=1),
        identity.cell_id(arm, "f" * 64, {"ollama": "0.24.0"}, users=1, block=2),
        identity.cell_id(study.arm("ollama-q4-parallel"), "f" * 64, {"ollama": "0.24.0"},
                       users=1, block=1),
    ]  # fmt: skip
    assert len({base, *others}) == 6


def test_only_an_arm_of_vllm_sizes_a_kv_cache(study: design.Study) -> None:
    assert study.arm("vllm-bf16-kv16k").kv_tokens == 8 * study.same.context_tokens
    fields = study.arm("ollama-q4").model_dump(exclude_unset=True)
    with pytest.raises(ValueError, match="only an arm of vllm has it"):
        design.Arm(**fields, kv_tokens=256)
    with pytest.raises(ValueError, match="multiple of 128"):
        design.Arm(**study.arm("vllm-bf16").model_dump(exclude_unset=True), kv_tokens=100)


@pytest.mark.parametrize("name", ["lengths", "parallel", "mechanisms"])
def test_a_run_that_an_earlier_version_began_goes_on(name: str) -> None:
    folder = ROOT / "data" / f"reference-{name}"
    begun = design.load_study(folder / "study.toml")
    record = json.loads((folder / "run.json").read_text())
    profile = begun.profile(record["profile"])
    arms = [begun.arm(arm) for arm in profile.arms]
    assert identity.plan_sha256(begun, profile, arms, {}) == record["plan_sha256"]


def test_a_field_that_came_later_counts_where_it_is_set(study: design.Study) -> None:
    arm = study.arm("vllm-bf16")
    base, sized = (
        identity.cell_id(one, "f" * 64, {"vllm": "0.21.0"}, users=1, block=1)
        for one in (arm, arm.model_copy(update={"kv_tokens": 16_384}))
    )
    assert base != sized


@pytest.mark.parametrize(
    "line",
    [
        'env = { HF_TOKEN = "typed-by-hand" }',
        'flags = ["--api-key", "typed-by-hand"]',
        'flags = ["--api-key=typed-by-hand"]',
        'extra_body = { auth = [{ "api-key" = "typed-by-hand" }] }',
    ],
)
def test_a_key_that_was_typed_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    """What an arm says is copied into the run, and a run is given away."""
    path = tmp_path / "study.toml"
    arm = f'[arms.own]\nlabel = "own"\nserver = "openai"\nartefact = "none"\n{line}\n\n'
    path.write_text(TEXT.replace("[profiles.smoke]", arm + "[profiles.smoke]", 1))
    with pytest.raises(BadInput, match="arm 'own': a value typed for") as error:
        design.load_study(path)
    assert "typed-by-hand" not in str(error.value)


def test_words_that_only_sound_like_keys_are_let_through(tmp_path: Path) -> None:
    arm = (
        '[arms.own]\nlabel = "own"\nserver = "openai"\nartefact = "none"\n'
        'flags = ["--max-num-batched-tokens", "20480000", "--tokenizer", "a-tokenizer"]\n'
        "extra_body = { max_tokens = 5, stop_token_ids = [1, 2] }\n\n"
    )
    path = tmp_path / "study.toml"
    path.write_text(TEXT.replace("[profiles.smoke]", arm + "[profiles.smoke]", 1))
    assert design.load_study(path).arm("own").flags[1] == "20480000"
