"""What real servers wrote of their KV cache, and what is read from it."""

from __future__ import annotations

import pytest

from heavyweight.errors import ServerError
from heavyweight.experiments import kv_cache, kv_probe
from heavyweight.experiments.equal_streams import Grown
from heavyweight.experiments.kv_cache import Counters, Reserved

# Ollama 0.24.0, SmolLM2-135M, one slot: lines as they came, shortened at the right.
OLLAMA = """\
time=2026-11-24T17:28:47.241Z level=INFO source=device.go:245 msg="model weights" size="92.1 MiB"
time=2026-11-24T17:28:47.241Z level=INFO source=device.go:256 msg="kv cache" size="45.0 MiB"
time=2026-11-24T17:28:47.263Z level=INFO source=runner.go:895 msg=load request="{Operation:commit \
LoraPath:[] Parallel:1 BatchSize:512 FlashAttention:Auto KvSize:2048 KvCacheType: NumThreads:2 \
GPULayers:[] MultiUserCache:false ProjectorPath: MainGPU:0 UseMmap:false}"
llama_model_loader: - kv   9:                          llama.block_count u32              = 30
load_tensors:          CPU model buffer size =    92.10 MiB
llama_context:        CPU  output buffer size =     0.19 MiB
llama_kv_cache:        CPU KV buffer size =    45.00 MiB
llama_kv_cache: size =   45.00 MiB (  2048 cells,  30 layers,  1/1 seqs), K (f16):   22.50 MiB
llama_context:        CPU compute buffer size =    98.25 MiB
"""
# vLLM 0.21.0 on a CPU with --num-gpu-blocks-override 128, four streams in flight; some labels left
# out.
VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="smollm2-135m"} 4.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="smollm2-135m"} 0.03937007874015752
vllm:prompt_tokens_total{engine="0",model_name="smollm2-135m"} 347.0
vllm:prompt_tokens_created{engine="0",model_name="smollm2-135m"} 1.764126889e+09
vllm:prompt_tokens_cached_total{engine="0",model_name="smollm2-135m"} 0.0
vllm:generation_tokens_total{engine="0",model_name="smollm2-135m"} 241.0
vllm:request_prompt_tokens_sum{engine="0",model_name="smollm2-135m"} 63.0
vllm:cache_config_info{_block_size_resolved="True",block_size="128",cache_dtype="auto",\
kv_cache_memory_bytes="2147483648",kv_cache_dtype_skip_layers="[]",num_cpu_blocks="None",\
num_gpu_blocks="128",num_gpu_blocks_override="128",user_specified_block_size="False"} 1.0
"""


def test_ollama_tells_size_and_bytes_of_its_last_load() -> None:
    assert kv_cache.of_ollama(OLLAMA, 8, 2048) == Reserved(
        2048, None, 45 * 2**20, "KvSize in its log"
    )
    again = OLLAMA.replace("KvSize:2048", "KvSize:16384").replace("= 45.00 MiB", "= 360.00 MiB")
    again = again.replace("KV buffer size =    45.00", "KV buffer size =   360.00")
    found = kv_cache.of_ollama(OLLAMA + again, 8, 2048)
    assert (found.tokens, found.told_bytes) == (16_384, 360 * 2**20)


def test_buffers_on_several_devices_are_added() -> None:
    line = "llama_kv_cache:        CPU KV buffer size =    45.00 MiB\n"
    both = OLLAMA.replace(line, line + line.replace("  CPU", "CUDA0").replace("45.00", "15.50"))
    assert kv_cache.of_ollama(both, 1, 2048).told_bytes == 60.5 * 2**20


def test_a_log_that_does_not_tell_leaves_what_was_configured() -> None:
    found = kv_cache.of_ollama("nothing was loaded", 8, 2048)
    assert (found.tokens, found.told_bytes) == (16_384, None)
    assert "configured" in found.source
    assert found.assigned_tokens(None) == 16_384, "a slot's part is assigned for good"


def test_vllm_tells_its_blocks_and_one_of_the_pool_never_counts() -> None:
    reserved = kv_cache.of_vllm(VLLM)
    assert reserved == Reserved(16_384, 128, None, "vllm:cache_config_info")
    counters = Counters.of(VLLM)
    assert counters == Counters(0.03937007874015752, 347 + 241)
    assert reserved.assigned_tokens(counters.usage) == 5 * 128
    assert reserved.assigned_tokens(0.0) == 0
    assert reserved.assigned_tokens(1.0) == 127 * 128


@pytest.mark.parametrize(
    "text", ["", VLLM.replace('num_gpu_blocks="128"', 'num_gpu_blocks="None"'), "<html>"]
)
def test_metrics_that_do_not_tell_are_no_number(text: str) -> None:
    assert kv_cache.of_vllm(text) is None


def test_an_older_name_of_the_gauge_is_read_too() -> None:
    assert Counters.of(VLLM.replace("kv_cache_usage", "gpu_cache_usage")) == Counters.of(VLLM)
    assert Counters.of(VLLM.replace("kv_cache_usage", "other_usage")) is None


def test_tokens_of_a_stream_grow_with_its_chunks() -> None:
    stream = Grown(60, 32, tuple(range(0, 160, 10)))  # 16 chunks of 2 tokens
    assert stream.tokens_at(-1) == 60
    assert stream.tokens_at(0) == 62
    assert stream.tokens_at(75) == 60 + 16
    assert stream.tokens_at(1000) == 92


def test_a_server_that_does_not_tell_its_cache_is_not_guessed_at() -> None:
    with pytest.raises(ServerError, match="does not tell how much KV cache"):
        kv_probe.ask(None, [], None, lambda: "")
    with pytest.raises(ServerError, match="how much of the KV cache is assigned"):
        kv_probe.ask(None, [], Reserved(16_384, 128), lambda: "")


def in_flight(wasted: float, block: int | None = 128) -> dict:
    return {"moment": "in flight", "sequences": 8, "tokens_in_flight": 800, "assigned_tokens": 1024,
            "reserved_tokens": 16_384, "block_tokens": block,
            "wasted_tokens_per_sequence": wasted}  # fmt: skip


@pytest.mark.parametrize(
    ("wasted", "idle_tokens", "block", "answer", "yes"),
    [
        ([28, 128], 0, 128, "yes", 2),
        ([28, 129], 0, 128, "no", 1),
        ([28, 28], 128, 128, "no", 2),  # something is kept when nothing is in flight
        ([28, 28], None, None, "no", 0),  # no blocks: a part for each slot
    ],
)
def test_the_answer_is_yes_only_where_every_reading_and_the_idle_one_agree(
    wasted: list, idle_tokens: int | None, block: int | None, answer: str, yes: int
) -> None:
    rows = [in_flight(tokens, block) for tokens in wasted]
    idle = [] if idle_tokens is None else [{"moment": "idle", "assigned_tokens": idle_tokens}]
    seen = kv_probe._seen(rows, idle, Reserved(16_384, block))
    assert (seen["answer"], seen["yes"]) == (answer, yes)
    assert seen["value"] == pytest.approx(1 - 800 / 1024)
    assert len(seen["trials"]) == len(rows) + len(idle)
