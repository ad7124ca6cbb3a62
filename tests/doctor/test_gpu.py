"""The doctor's look at a GPU, through the real ctypes path on a library that plays the driver."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heavyweight.design import load_study
from heavyweight.doctor import memory
from heavyweight.servers import install_vllm

ROOT = Path(__file__).parents[2]
STUDY = load_study(ROOT / "study.toml")
SCRIPT = """
import json, sys
from pathlib import Path
from heavyweight.design import load_study
from heavyweight.doctor.gpu import examine_gpu
root = Path(sys.argv[1])
study = load_study(root / "study.toml")
profile = study.profile(sys.argv[2])
found = examine_gpu(root, study, profile, study.model(sys.argv[3] or profile.model))
print(json.dumps([vars(one) for one in found]))
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc for the stub")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", folder / "libnvidia-ml.so.1",
         Path(__file__).with_name("stub.c")],
        check=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def env(tmp_path, library):
    kept = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    return kept | {
        "LD_LIBRARY_PATH": str(library),
        "HEAVYWEIGHT_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }


def examine(env, profile="gpu-full", model="qwen3-8b", **stub):
    given = {f"STUB_{name.upper()}": str(value) for name, value in stub.items()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ROOT, profile, model],
        env=env | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


BESIDE = {"disk for the weights", "RAM"}  # of the machine that runs the tests


def missing(found):
    return {name for name, one in found.items() if one["ok"] is False} - BESIDE


def test_a_healthy_gpu_lacks_nothing(env):
    found = examine(env)
    assert not missing(found)
    card = found["GPU and driver"]["found"]
    assert card == "NVIDIA A100-SXM4-80GB, 80 GiB; driver 580.65.06"
    assert found["persistence mode"]["ok"]
    assert found["other users of the GPU"]["found"].startswith("none; 0.5 GiB")
    # An A100 has no FP8 arithmetic: told, and no reason to stop.
    assert found["compute capability"]["ok"] is None
    assert "vllm-fp8" in found["compute capability"]["found"]
    assert examine(env, capability=90)["compute capability"]["ok"]


def test_arms_that_do_not_fit_are_left_out_and_named(env):
    left = examine(env, count=1)["arms left out"]["found"]
    assert "vllm-fp16-tp2 needs 2 GPUs, and there is 1" in left
    assert "ollama-f16-two-gpus" in left
    assert "arms left out" not in examine(env, count=2, model="llama-3.1-8b")
    left = examine(env, count=2, model="granite-3.3-8b")["arms left out"]["found"]
    assert left == (
        "vllm-awq granite-3.3-8b has no awq_repo in study.toml;"
        " vllm-gptq granite-3.3-8b has no gptq_repo in study.toml"
    )


@pytest.mark.parametrize(
    ("stub", "name", "part"),
    [
        ({"init": 18}, "GPU and driver", "different versions"),
        ({"init": 9}, "GPU and driver", "kernel module is not loaded"),
        ({"init": 999}, "GPU and driver", "Unknown Error"),
        ({"handle": 15}, "GPU and driver", "is lost"),
        ({"count": 0}, "GPU and driver", "shows no GPU"),
        ({"cuda": 12080}, "CUDA", "carries 12.8; vLLM 0.21.0 needs 13.0"),
        ({"capability": 75}, "compute capability", "7.5: too old for vllm-bf16"),
        ({"gib": 16}, "GPU memory", "16.0 GiB; more is needed by"),
        ({"programs": 2}, "other users of the GPU", "2 programs compute on it, 6.0 GiB"),
        ({"used_mib": 9000}, "other users of the GPU", "cannot be seen from here"),
        ({"mig": 1}, "MIG", "cut into instances"),
    ],
)
def test_what_would_spoil_the_hours_is_missing_with_a_remedy(env, stub, name, part):
    found = examine(env, **stub)
    assert missing(found) == {name}
    assert part in found[name]["found"]
    assert found[name]["remedy"]


@pytest.mark.parametrize(
    ("stub", "name", "part"),
    [
        ({"persistence": 0}, "persistence mode", "off"),
        ({"persistence": -1}, "persistence mode", "does not say"),
        ({"power_mw": 300000}, "power limit", "300 W, lowered from 400 W"),
        ({"programs": -1}, "other users of the GPU", "not told"),
        ({"ecc": -1}, "ECC", "has none"),
        ({"capability": -1}, "compute capability", "does not say"),
        ({"count": 2, "name_2": "NVIDIA T400"}, "GPU and driver", "NVIDIA T400"),
    ],
)
def test_what_a_reader_must_know_is_told_and_stops_nothing(env, stub, name, part):
    found = examine(env, **stub)
    assert not missing(found)
    assert found[name]["ok"] is None
    assert part in found[name]["found"]


def test_a_gpu_without_mig_is_fine(env):
    assert examine(env, mig=-1)["MIG"] == {
        "name": "MIG", "found": "this GPU has none", "ok": True, "remedy": ""
    }  # fmt: skip


def test_no_driver_is_told_with_all_that_can_be_looked_at_without(env):
    found = examine(env | {"LD_LIBRARY_PATH": ""})
    assert missing(found) == {"GPU and driver"}
    assert {"disk for the weights", "Hugging Face token", "RAM"} <= set(found)


def test_gated_weights_need_a_token_which_is_never_shown(env):
    found = examine(env, model="llama-3.1-8b")["Hugging Face token"]
    assert found["ok"] is False
    assert "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct" in found["remedy"]
    assert "qwen3-8b" in found["remedy"]
    found = examine(env | {"HF_TOKEN": "hf_secret"}, model="llama-3.1-8b")["Hugging Face token"]
    assert found["ok"]
    assert "hf_secret" not in str(found)
    assert examine(env, model="qwen3-8b")["Hugging Face token"]["ok"]


def test_the_command_ends_with_1_where_something_is_missing(env):
    command = [Path(sys.executable).parent / "heavyweight", "doctor", "--gpu", "--json"]
    done = subprocess.run(
        [*command, "--profile", "article", "--model", "qwen3-8b"],
        env=env | {"STUB_MIG": "1"}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    names = [one["name"] for one in json.loads(done.stdout)]
    assert {"MIG", "Python", "Go"} <= set(names)


def test_a_profile_for_the_gpu_is_refused_before_anything_is_installed(env, tmp_path):
    for name in ("study.toml", "data/models.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    command = [Path(sys.executable).parent / "heavyweight", "study", "run", "--profile", "article"]
    done = subprocess.run(
        command, env=env | {"STUB_CUDA": "12040", "STUB_PROGRAMS": "1"}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    for part in ("not ready for profile article", "carries 12.4", "1 programs", "HF_TOKEN",
                 "heavyweight doctor --gpu"):  # fmt: skip
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache" / "servers").exists()


def needs(name, model="llama-3.1-8b", profile="gpu-full"):
    kv = memory.kv_bytes_per_token(ROOT, STUDY.model(model))
    arm, chosen = STUDY.arm(name), STUDY.profile(profile)
    return memory.need(arm, STUDY.model(model), chosen, STUDY.same, kv)


def test_memory_is_counted_as_the_servers_reserve_it():
    assert memory.kv_bytes_per_token(ROOT, STUDY.model("llama-3.1-8b")) == 131_072
    assert memory.kv_bytes_per_token(ROOT, STUDY.model("smollm2-135m").model_copy(
        update={"name": "unknown"})) is None  # fmt: skip
    one, many = needs("ollama-f16"), needs("ollama-f16-32")
    assert one.weights == many.weights == 16_060_522_496
    assert many.cache == 32 * one.cache == 32 * 2048 * 131_072
    vllm = needs("vllm-fp16")
    assert vllm.cache == 256 * (64 + memory.TEMPLATE_TOKENS + 128) * 131_072
    assert needs("vllm-bf16-kv16k", profile="gpu-memory").cache == 16_384 * 131_072
    half = needs("vllm-fp16-tp2")
    assert (half.weights, half.cache) == (vllm.weights / 2, vllm.cache / 2)
    assert needs("vllm-awq").weights < needs("vllm-fp16").weights / 2


def test_the_cuda_that_is_asked_for_is_that_of_the_documents():
    text = (ROOT / "data" / "article" / "documents.toml").read_text()
    assert 'VLLM_MAIN_CUDA_VERSION: str = "13\\.0"' in text
    assert install_vllm.CUDA_DRIVER == 13000
