"""Physics: values computed by hand, properties, the files, and what is refused."""

from __future__ import annotations

import heapq
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from heavyweight import physics
from heavyweight.cli.app import app
from heavyweight.design import load_study
from heavyweight.errors import BadInput
from heavyweight.paths import study_root

ROOT = study_root(Path(__file__).parent)
HARDWARE = physics.load_hardware(ROOT / "data" / "hardware.toml")
MODELS = physics.load_models(ROOT / "data" / "models.toml")
A40, LLAMA = HARDWARE.gpu("A40"), MODELS.model("llama-3.1-8b")

users_ = st.integers(1, 4096)
contexts = st.integers(0, 131_072)
gpus = st.sampled_from(HARDWARE.gpus)
models = st.sampled_from(MODELS.models)
precisions = st.sampled_from(sorted(set(physics.PRECISIONS.values())))

# ------------------------------------------------------------------ by hand


def test_llama_is_counted_by_hand():
    """q, o: 4096 x 4096 = 16,777,216 each; k, v: 4096 x 1024 = 4,194,304 each; gate, up, down:
    4096 x 14336 = 58,720,256 each; two norms: 8,192. A layer: 33,554,432 + 8,388,608 + 176,160,768
    + 8,192 = 218,112,000; 32 of them 6,979,584,000. Two tables of 128256 x 4096 = 525,336,576 and
    the last norm, 4,096: 8,030,261,248."""
    layer = 2 * 16_777_216 + 2 * 4_194_304 + 3 * 58_720_256 + 8_192
    assert layer == 218_112_000
    assert physics.count_parameters(LLAMA) == 32 * layer + 2 * 525_336_576 + 4_096 == 8_030_261_248


def test_biases_and_norms_of_heads_are_counted_by_hand():
    """Qwen2.5-14B: biases of 5120 + 2 x 1024 = 7,168 a layer, 48 layers: 344,064.
    Qwen3-14B: norms of 2 x 128 = 256 a layer, 40 layers: 10,240."""
    for name, field, extra in (
        ("qwen2.5-14b", "qkv_bias", 344_064),
        ("qwen3-14b", "qk_norm", 10_240),
    ):
        model = MODELS.model(name)
        without = model.model_copy(update={field: False})
        assert physics.count_parameters(model) - physics.count_parameters(without) == extra


def test_memory_of_llama_by_hand():
    """8,030,261,248 x 2 bytes = 16.0605 GB = 14.9575 GiB; without the table of 525,336,576 x 2
    bytes 15.0098 GB. KV cache: 2 x 32 x 8 x 128 x 2 bytes = 131,072 = 128 KiB."""
    weights = physics.weights_bytes(LLAMA)
    assert physics.gb(weights) == pytest.approx(16.0605, abs=1e-4)
    assert physics.gib(weights) == pytest.approx(14.9575, abs=1e-4)
    assert physics.read_bytes_per_step(LLAMA) == 16_060_522_496 - 1_050_673_152 == 15_009_849_344
    assert physics.kv_bytes_per_token(LLAMA) == 131_072
    assert physics.kv_bytes_per_token(LLAMA, kv_bits=8) == 65_536


@pytest.mark.parametrize(
    ("gpu", "users", "tok_s"),
    # 696e9 / 15.0098e9 = 46.3696; x 4, 8, 50. 1008e9 / 15.0098e9 = 67.156.
    [("A40", 1, 46.370), ("A40", 4, 185.478), ("A40", 8, 370.957), ("A40", 50, 2318.48),
     ("RTX 4090", 1, 67.156)],
)  # fmt: skip
def test_rooflines_by_hand(gpu, users, tok_s):
    found = physics.bound(HARDWARE.gpu(gpu), LLAMA, users)
    assert found.tok_s == pytest.approx(tok_s, rel=1e-4)
    assert found.limited_by == "memory bandwidth"
    assert found.steps_per_s == pytest.approx(tok_s / users, rel=1e-4)


def test_reading_the_cache_is_counted_by_hand():
    """50 x 4,096 tokens x 131,072 bytes = 26.8435 GB, with 15.0098 GB of weights 41.8534 GB;
    696 / 41.8534 = 16.6295 steps/s, 831.47 tok/s. With 16.0605 GB of weights in memory 42.9041 GB
    of 48 GiB = 51.5396 GB: they fit. (51.5396 - 16.0605) GB / 131,072 bytes = 270,684 tokens, or
    66 users with 4,096 each."""
    found = physics.bound(A40, LLAMA, 50, 4096)
    assert found.tok_s == pytest.approx(831.47, rel=1e-4)
    assert physics.gb(found.memory_bytes) == pytest.approx(42.9041, abs=1e-3)
    assert found.fits
    assert physics.kv_tokens_that_fit(A40, LLAMA) == pytest.approx(270_684, abs=2)
    assert physics.users_that_fit(A40, LLAMA, 4096) == 66
    assert physics.bound(A40, LLAMA, 67, 4096).fits is False


def test_compute_decides_where_the_batch_is_large():
    """149.7e12 / (2 x 7,504,924,672) = 9,973 tok/s, which 46.37 steps/s reach with 215.1 users."""
    assert physics.bound(A40, LLAMA, 215).limited_by == "memory bandwidth"
    large = physics.bound(A40, LLAMA, 216)
    assert large.limited_by == "compute"
    assert large.tok_s == pytest.approx(9973.4, rel=1e-4)


def test_prefill_by_hand():
    """2 x (6,979,588,096 x 512 + 525,336,576) = 7.1482e12 FLOP / 149.7e12 = 47.75 ms. One token
    is bound by reading the weights: 15.0098 / 696 = 21.57 ms."""
    assert physics.prefill_s_at_least(A40, LLAMA, 512) == pytest.approx(0.047750, rel=1e-4)
    assert physics.prefill_s_at_least(A40, LLAMA, 1) == pytest.approx(0.021566, rel=1e-4)


def test_a_tied_table_is_read_as_the_head():
    small = MODELS.model("smollm2-135m")
    assert physics.read_bytes_per_step(small) == physics.weights_bytes(small) == 269_030_016


def test_queues_by_hand():
    """920 x 2.1 / 50 = 38.64 and 155 x 18.4 / 50 = 57.04 tokens; 50 x (1 - 3.2 / 18.4) = 41.304
    slots; 155 / 62 = 2.5; 0.5 requests/s x 4 s = 2 in flight."""
    assert physics.output_tokens_at_most(920, 2.1, 50) == pytest.approx(38.64)
    assert physics.output_tokens_at_most(155, 18.4, 50) == pytest.approx(57.04)
    assert physics.slots_for_wait(3.2, 18.4, 50) == pytest.approx(41.304, abs=1e-3)
    assert physics.slots_needed(155, 62) == 2.5
    assert physics.in_flight(0.5, 4) == 2


# ------------------------------------------------------------------ properties


@given(gpus, models, users_, contexts, precisions)
def test_bounds_are_consistent(gpu, model, users, context, bits):
    one, more = (physics.bound(gpu, model, n, context, bits=bits) for n in (users, users + 1))
    assert 0 < one.tok_s <= more.tok_s * (1 + 1e-12)
    assert one.tok_s <= min(one.memory_tok_s, one.compute_tok_s)
    assert one.tok_s <= physics.bound(gpu, model, users, bits=bits).tok_s
    fit = physics.users_that_fit(gpu, model, max(1, context), bits=bits)
    assert one.fits == (users <= fit)
    assert one.fits == (one.tokens_a_user >= max(1, context))
    if one.fits:
        assert one.memory_bytes <= gpu.memory_bytes


@given(models, precisions)
def test_a_step_reads_no_more_than_all_weights(model, bits):
    read, weights = physics.read_bytes_per_step(model, bits), physics.weights_bytes(model, bits)
    assert read <= weights
    assert (read == weights) == model.tied
    assert weights == pytest.approx(physics.weights_bytes(model) * bits / 16)


@given(gpus, models, st.integers(1, 100_000))
def test_longer_prompts_take_longer(gpu, model, tokens):
    short, long = (physics.prefill_s_at_least(gpu, model, n) for n in (tokens, 2 * tokens))
    assert 0 < short <= long <= 2 * short * (1 + 1e-9)


@given(st.integers(1, 500), st.floats(0.01, 1), st.floats(0.01, 1e3))
def test_slots_and_waits_are_each_others_inverse(users, share, response_s):
    wait = physics.wait_s(response_s, users, share * users)
    assert physics.slots_for_wait(wait, response_s, users) == pytest.approx(share * users)


@pytest.mark.parametrize(("users", "slots"), [(50, 1), (50, 8), (10, 3), (4, 4)])
def test_the_wait_is_that_of_a_queue_that_is_run(users, slots):
    free = [0.0] * min(slots, users)
    due = [(0.0, user) for user in range(users)]
    waited = responded = 0.0
    for served in range(400 * users):
        sent, user = heapq.heappop(due)
        start = max(sent, heapq.heappop(free))
        end = start + 1.0
        heapq.heappush(free, end)
        heapq.heappush(due, (end, user))
        if served > 10 * users:
            waited, responded = waited + start - sent, responded + end - sent
    assert waited / responded == pytest.approx(physics.wait_s(1.0, users, slots), abs=0.01)


@given(st.floats(0.1, 1e5), st.floats(0.01, 1e3), st.integers(1, 500))
def test_littles_law_gives_back_the_users(tok_s, response_s, users):
    tokens = physics.output_tokens_at_most(tok_s, response_s, users)
    assert physics.in_flight(tok_s / tokens, response_s) == pytest.approx(users)


# ------------------------------------------------------------------ files


def test_models_of_the_study_have_the_same_parameters():
    study = load_study(ROOT / "study.toml")
    shared = set(study.models) & set(MODELS.by_name)
    assert shared >= {"llama-3.1-8b", "smollm2-135m"}
    for name in shared:
        assert study.model(name).parameters == MODELS.model(name).parameters, name


def test_every_gpu_names_its_source():
    assert len(HARDWARE.gpus) >= 21
    for gpu in HARDWARE.gpus:
        assert gpu.vendor in gpu.source, gpu.name
        assert "." in gpu.source.split(", ")[-1], f"{gpu.name}: no address"


@pytest.mark.parametrize("name", ["rtx4090", "RTX-4090", " rtx 4090"])
def test_names_are_found_as_they_are_typed(name):
    assert HARDWARE.gpu(name).name == "RTX 4090"


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("hardware.toml", "memory_bandwidth_gb_s = 696", "memory_bandwidth_gb_s = 0", "gpus A40"),
        ("hardware.toml", 'name = "A10"', 'name = "A40"', "A40 stands twice"),
        ("hardware.toml", "tdp_w = 150\n", "", "A10 has no tdp_w"),
        ("hardware.toml", 'price_source = "Runpod', 'price_of = "Runpod', "price_of"),
        ("models.toml", "parameters = 8_030_261_248", "parameters = 8_030_261_249", "counted"),
        ("models.toml", "kv_heads = 8", "kv_heads = 7", "evenly"),
        ("models.toml", 'name = "llama-2-7b"', 'name = "llama-3.1-8b"', "stands twice"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(tmp_path, file, old, new, told):
    text = (ROOT / "data" / file).read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / file
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    load = physics.load_hardware if file == "hardware.toml" else physics.load_models
    with pytest.raises(BadInput, match=file) as caught:
        load(path)
    assert told in str(caught.value)


# ------------------------------------------------------------------ config.json


def config_of(model, **changes):
    """What Hugging Face has for a model of data/models.toml."""
    kind = "qwen2" if model.qkv_bias else "qwen3" if model.qk_norm else "llama"
    return {
        "model_type": kind,
        "num_hidden_layers": model.layers,
        "hidden_size": model.hidden,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "intermediate_size": model.intermediate,
        "vocab_size": model.vocab,
        "tie_word_embeddings": model.tied,
        "max_position_embeddings": model.context,
    } | changes


@pytest.mark.parametrize("model", MODELS.models, ids=lambda model: model.name)
def test_a_config_gives_the_same_model(tmp_path, model):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of(model)), encoding="utf-8")
    found = physics.read_config(path)
    assert found.name == tmp_path.name
    assert found.parameters == model.parameters
    assert physics.read_bytes_per_step(found) == physics.read_bytes_per_step(model)
    assert physics.kv_bytes_per_token(found) == physics.kv_bytes_per_token(model)


def test_what_old_configs_leave_out_is_derived(tmp_path):
    model = MODELS.model("llama-2-13b")
    config = config_of(model)
    for name in ("head_dim", "num_key_value_heads", "tie_word_embeddings"):
        del config[name]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert physics.read_config(path).parameters == model.parameters


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "type None"),
        ('{"model_type": "mixtral"}', "'mixtral'"),
        ('{"model_type": "llama"}', "has no num_hidden_layers"),
        (json.dumps(config_of(LLAMA, hidden_size="wide")), "no whole numbers"),
        (json.dumps(config_of(LLAMA, num_attention_heads=0)), "heads: "),
        (json.dumps(config_of(LLAMA, num_hidden_layers=0)), "layers: "),
        (json.dumps(config_of(LLAMA, quantization_config={"bits": 4})), "quantised weights"),
        (json.dumps(config_of(LLAMA, num_key_value_heads=5)), "evenly"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(tmp_path, text, told):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        physics.read_config(path)
    assert told in str(caught.value)


# ------------------------------------------------------------------ bad numbers


@pytest.mark.parametrize("users", [0, -1, 1.5, True])
def test_users_that_cannot_be_are_refused(users):
    with pytest.raises(BadInput, match="users"):
        physics.bound(A40, LLAMA, users)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: physics.weights_bytes(LLAMA, 0),
        lambda: physics.weights_bytes(LLAMA, math.inf),
        lambda: physics.bound(A40, LLAMA, 1, -1),
        lambda: physics.bound(A40, LLAMA, 1, bits=math.nan),
        lambda: physics.prefill_s_at_least(A40, LLAMA, 0),
        lambda: physics.users_that_fit(A40, LLAMA, 0),
        lambda: physics.in_flight(0, 1),
        lambda: physics.output_tokens_at_most(1, 1, 0),
        lambda: physics.slots_needed(1, -1),
        lambda: physics.slots_for_wait(2, 1, 50),
        lambda: physics.wait_s(1, 50, 51),
        lambda: HARDWARE.gpu("A4O"),
        lambda: MODELS.model("lama-3.1-8b"),
    ],
)
def test_numbers_that_cannot_be_are_refused(ask):
    with pytest.raises(BadInput):
        ask()


def test_what_is_not_known_of_a_gpu_stays_unknown():
    found = physics.bound(physics.Gpu(name="mine", memory_bandwidth_gb_s=500), LLAMA, 4)
    assert (found.compute_tok_s, found.tokens_a_user, found.fits) == (None, None, None)
    assert found.tok_s == pytest.approx(4 * 500e9 / 15_009_849_344)


# ------------------------------------------------------------------ command


def ask(*arguments):
    """What the command prints, as JSON."""
    done = CliRunner().invoke(app, ["physics", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


@pytest.mark.parametrize("users", [["1", "8", "50"], ["1,8,50"], ["1", "8,50"]])
def test_loads_are_said_with_blanks_or_commas(users):
    said = ask("--gpu", "A40", "--model", "llama-3.1-8b", "--users", *users)
    found = [(row["users"], round(row["tok_s"])) for row in said["bounds"]]
    assert found == [(1, 46), (8, 371), (50, 2318)]
    assert said["read_bytes_per_step"] == 15_009_849_344


def test_a_gpu_and_a_model_that_are_in_no_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config_of(LLAMA)), encoding="utf-8")
    own = ("--bandwidth-gb-s", "696", "--memory-gb", "48", "--tflops", "149.7")
    said = ask(*own, "--config", str(tmp_path / "config.json"))
    known = ask("--gpu", "A40", "--model", "llama-3.1-8b")
    assert said["bounds"] == known["bounds"]
    assert [row["users"] for row in said["bounds"]] == [1, 4, 8, 50]


def test_weights_and_contexts_change_the_bounds():
    model = ("--gpu", "H100 SXM", "--model", "llama-3.1-70b", "--users", "8")
    full, small = ask(*model), ask(*model, "--weights", "fp8", "--context", "2048")
    assert not full["bounds"][0]["fits"]
    assert full["users_that_fit"] is None
    assert small["bits"] == 8
    assert small["bounds"][0]["fits"]
    assert small["users_that_fit"] == 22  # (80 GiB - 70.55 GB) / (320 KiB x 2,048)


def test_it_is_printed_with_formulas_and_units():
    arguments = ["physics", "--gpu", "A40", "--model", "llama-3.1-8b", "--users", "1", "50"]
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    for words in ("696 GB/s / 15.0 GB", "46.4 a second", "16.1 GB = 15.0 GiB", "128 KiB a token",
                  "2,318", "memory bandwidth", "without speculative decoding"):  # fmt: skip
        assert words in shown
    longer = CliRunner().invoke(app, [*arguments, "--context", "8192"], catch_exceptions=False)
    assert "users that fit   33 " in longer.stdout
    known = CliRunner().invoke(app, ["physics", "--list"], catch_exceptions=False).stdout
    assert "MI325X" in known
    assert "qwen2.5-32b" in known
    assert set(ask("--list")) == {"gpus", "models"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gpu", "A4O", "--model", "llama-3.1-8b"], "did you mean 'A40'"),
        (["--gpu", "A40", "--model", "lama-3.1-8b"], "did you mean 'llama-3.1-8b'"),
        (["--gpu", "A40"], "no model"),
        (["--model", "llama-3.1-8b"], "no GPU"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--config", "config.json"], "one of --model"),
        (["--gpu", "A40", "--config", "no-such.json"], "cannot read no-such.json"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "8"], "without --users"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--users", "0"], "0 users"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--users=-8"], "-8 users"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--users", "many"], "whole numbers"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--weights", "q5"], "one of fp16"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--bits", "0"], "--bits 0"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--context", "-1"], "context_tokens -1"),
        (["--gpu", "A40", "--model", "llama-3.1-8b", "--prompt", "0"], "prompt_tokens 0"),
        (["--bandwidth-gb-s", "-5", "--model", "llama-3.1-8b"], "memory_bandwidth_gb_s -5"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(arguments, told):
    with pytest.raises(BadInput) as caught:
        CliRunner().invoke(app, ["physics", *arguments], catch_exceptions=False)
    assert told in str(caught.value)
