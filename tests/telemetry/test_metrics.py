"""What servers tell of themselves becomes numbers under the study's names."""

import pytest

from heavyweight.records import TELEMETRY_QUANTITIES
from heavyweight.servers.ollama import OllamaServer
from heavyweight.servers.vllm import VllmServer
from heavyweight.telemetry.metrics import VLLM_NAMES, read_ollama, read_vllm
from tests.servers.arms import arm
from tests.servers.conftest import answering

# The form of vLLM 0.21.0's answer; a histogram and a created series are among it.
VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="smollm2-135m"} 8.0
vllm:num_requests_waiting{engine="0",model_name="smollm2-135m"} 42.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="smollm2-135m",reason="capacity"} 42.0
vllm:kv_cache_usage_perc{engine="0",model_name="smollm2-135m"} 0.01648351648351649
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="smollm2-135m"} 15806.0
vllm:prefix_cache_queries_created{engine="0",model_name="smollm2-135m"} 1.795e+09
vllm:prefix_cache_hits_total{engine="0",model_name="smollm2-135m"} 128.0
vllm:num_preemptions_total{engine="0",model_name="smollm2-135m"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="smollm2-135m"} 15806.0
vllm:generation_tokens_total{engine="0",model_name="smollm2-135m"} 1.2e+04
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="smollm2-135m"} 7.0
process_resident_memory_bytes 1.1e+09
"""
PS = {
    "models": [{"name": "a", "size": 210_000_000, "size_vram": 200_000_000, "context_length": 2048}]
}


def test_vllms_numbers():
    assert read_vllm(VLLM) == {
        "requests_running": 8, "requests_waiting": 42,
        "kv_used_fraction": pytest.approx(0.016484, rel=1e-4), "prefix_queries_tokens": 15806,
        "prefix_hits_tokens": 128, "preemptions": 0, "prompt_tokens": 15806,
        "generation_tokens": 12000,
    }  # fmt: skip


def test_two_engines_are_one_server():
    second = VLLM.replace('engine="0"', 'engine="1"').replace("0.01648351648351649", "0.75")
    told = read_vllm(VLLM + second)
    assert (told["requests_running"], told["kv_used_fraction"]) == (16, 0.75)


def test_an_older_name_is_understood_and_a_newer_one_goes_first():
    old = VLLM.replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    assert read_vllm(old)["kv_used_fraction"] == pytest.approx(0.0165, rel=1e-2)
    both = VLLM + 'vllm:gpu_cache_usage_perc{engine="0"} 0.9\n'
    assert read_vllm(both)["kv_used_fraction"] == pytest.approx(0.0165, rel=1e-2)


def test_what_is_not_told_is_left_out():
    assert read_vllm("") == {}
    assert read_vllm("vllm:num_requests_running 3.0\n") == {"requests_running": 3}


def test_ollamas_numbers():
    assert read_ollama(PS) == {
        "models_loaded": 1, "models_bytes": 210_000_000, "models_vram_bytes": 200_000_000,
    }  # fmt: skip
    assert read_ollama({"models": None})["models_loaded"] == 0
    assert read_ollama({"models": [{"size": None}]})["models_bytes"] == 0


def test_every_number_is_declared():
    declared = {one.name for one in TELEMETRY_QUANTITIES if one.source == "server"}
    assert declared == {*VLLM_NAMES, *read_ollama(PS)}


@pytest.mark.parametrize(
    ("server", "table", "expected"),
    [
        (VllmServer(arm("vllm")), {"/metrics": VLLM}, ("requests_waiting", 42)),
        (OllamaServer(arm("ollama")), {"/api/ps": PS}, ("models_loaded", 1)),
    ],
)
def test_a_server_is_asked_and_its_silence_is_no_error(server, table, expected):
    with answering(table) as port:
        server.base_url = f"http://127.0.0.1:{port}"
        name, value = expected
        assert server.metrics()[name] == value
        table.update(dict.fromkeys(table, 500))
        assert server.metrics() == {}
        table.update(dict.fromkeys(table, "<html>"))
        assert server.metrics() == {}
    assert server.metrics() == {}  # nobody listens any more
