"""Parts of a start from excerpts of real logs, and a log that is read while it grows.

The excerpts are of Ollama 0.24.0 and vLLM 0.21.0 on a CPU; the GPU's wordings are from the sources
of vLLM 0.21.0. The numbers before the lines are ms from the spawn.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.servers.phases import cache_said, phases_of
from heavyweight.servers.watching import Line, WatchedLog

OLLAMA = """\
41 time=2026-11-24T17:28:47.067Z level=INFO source=routes.go:1864 msg="Listening on 127.0.0.1:43473 (version 0.24.0)"
42 time=2026-11-24T17:28:47.068Z level=INFO source=server.go:433 msg="starting runner" cmd="<cache>/servers/ollama-0.24.0/bin/ollama runner --ollama-engine --port 36719"
67 time=2026-11-24T17:28:47.093Z level=INFO source=types.go:60 msg="inference compute" id=cpu library=cpu compute="" name=cpu
214 time=2026-11-24T17:28:47.240Z level=INFO source=server.go:433 msg="starting runner" cmd="<cache>/servers/ollama-0.24.0/bin/ollama runner --model <cache>/ollama-models/blobs/sha256-6c1f --port 35367"
489 time=2026-11-24T17:28:47.515Z level=INFO source=server.go:1432 msg="llama runner started in 0.27 seconds"
489 time=2026-11-24T17:28:47.515Z level=INFO source=server.go:1432 msg="llama runner started in 0.27 seconds"
760 [GIN] 2026/11/24 - 17:28:47 | 200 |  551.170796ms |       127.0.0.1 | POST     "/v1/chat/completions"
"""  # noqa: E501
VLLM_CPU = """\
9000 (APIServer pid=26872) INFO 11-24 17:32:09 [utils.py:306]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.21.0
16000 (EngineCore pid=26886) INFO 11-24 17:32:16 [core.py:109] Initializing a V1 LLM engine (v0.21.0) with config: model='<cache>/models/smollm2-135m/checkpoint', seed=20260519
23000 (Worker pid=26897) INFO 11-24 17:32:23 [cpu_model_runner.py:104] Starting to load model <cache>/models/smollm2-135m/checkpoint...
24000 (Worker pid=26897) INFO 11-24 17:32:24 [default_loader.py:397] Loading weights took 0.69 seconds
24100 (Worker pid=26897) INFO 11-24 17:32:24 [cpu_model_runner.py:119] Warming up model for the compilation...
33000 (Worker pid=26897) WARNING 11-24 17:32:33 [decorators.py:321] Compiling model again due to a load failure from <cache>/vllm-cache/torch_compile_cache/torch_aot_compile/0d73/rank_0_0/model, reason: 'function' object has no attribute 'finalize_loading'
40000 (Worker pid=26897) INFO 11-24 17:32:40 [decorators.py:708] saved AOT compiled function to <cache>/vllm-cache/torch_compile_cache/torch_aot_compile/0d73/rank_0_0/model
41000 (Worker pid=26897) INFO 11-24 17:32:41 [monitor.py:81] Initial profiling/warmup run took 0.62 s
42000 (Worker pid=26897) INFO 11-24 17:32:42 [cpu_model_runner.py:123] Warming up done.
45000 (EngineCore pid=26886) INFO 11-24 17:32:45 [core.py:306] init engine (profile, create kv cache, warmup model) took 20.70 s
46000 (APIServer pid=26872) INFO 11-24 17:32:46 [api_server.py:617] Starting vLLM server on http://127.0.0.1:36583
"""  # noqa: E501
VLLM_GPU = """\
9000 (EngineCore pid=1) INFO 11-24 17:32:16 [core.py:109] Initializing a V1 LLM engine (v0.21.0) with config: model='x'
12000 (EngineCore pid=1) INFO 11-24 17:32:19 [gpu_model_runner.py:4857] Starting to load model x...
15000 (EngineCore pid=1) INFO 11-24 17:32:22 [default_loader.py:397] Loading weights took 2.50 seconds
15500 (EngineCore pid=1) INFO 11-24 17:32:23 [gpu_model_runner.py:4959] Model loading took 14.99 GiB memory and 3.412345 seconds
21000 (EngineCore pid=1) INFO 11-24 17:32:28 [backends.py:293] Directly load the compiled graph(s) for compile range (1, 8192) from the cache, took 0.512 s
21500 (EngineCore pid=1) INFO 11-24 17:32:28 [monitor.py:53] torch.compile took 5.25 s in total
22000 (EngineCore pid=1) INFO 11-24 17:32:29 [monitor.py:81] Initial profiling/warmup run took 0.40 s
27000 (EngineCore pid=1) INFO 11-24 17:32:34 [gpu_model_runner.py:6243] Graph capturing finished in 4 secs, took 0.55 GiB
28000 (EngineCore pid=1) INFO 11-24 17:32:35 [core.py:299] init engine (profile, create kv cache, warmup model) took 12.40 s (compilation: 5.25 s)
29000 (APIServer pid=2) INFO 11-24 17:32:36 [api_server.py:617] Starting vLLM server on http://127.0.0.1:8000
"""  # noqa: E501
SPAWNED_NS = 7_000_000_000


def lines(log: str) -> list[Line]:
    found = []
    for line in log.splitlines():
        ms, _, text = line.partition(" ")
        found.append(Line(SPAWNED_NS + int(ms) * 1_000_000, text))
    return found


def parts(kind: str, log: str, ready: float, sent: float, first: float) -> dict[str, float]:
    return phases_of(
        kind, lines(log), spawned_ns=SPAWNED_NS, ready_ms=ready, sent_ms=sent, first_ms=first
    )


def without(log: str, *patterns: str) -> str:
    kept = [one for one in log.splitlines() if not any(re.search(p, one) for p in patterns)]
    return "\n".join(kept)


def test_ollama_loads_in_the_first_request() -> None:
    assert parts("ollama", OLLAMA, 68, 74, 640) == pytest.approx(
        {"process": 68, "other": 6, "weights": 489 - 74, "first request": 640 - 489}
    )


def test_vllm_on_a_cpu_gives_no_total_of_its_compilation() -> None:
    found = parts("vllm", VLLM_CPU, 46_100, 46_110, 46_400)
    assert list(found) == [
        "process", "weights", "compile", "engine", "API server", "other", "first request"
    ]  # fmt: skip
    assert found == pytest.approx(
        {
            "process": 23_000,
            "weights": 1000,
            "compile": 41_000 - 620 - 24_100,
            "engine": 45_000 - 24_000 - (41_000 - 620 - 24_100),
            "API server": 1100,
            "other": 10,
            "first request": 290,
        }
    )


def test_without_compilation_there_is_no_such_part() -> None:
    eager = without(VLLM_CPU, "Initial profiling", "AOT", "Compiling")
    found = parts("vllm", eager, 46_100, 46_110, 46_400)
    assert "compile" not in found
    assert found["engine"] == 21_000
    assert cache_said(lines(eager)) == ""


def test_vllm_on_a_gpu_gives_it() -> None:
    found = parts("vllm", VLLM_GPU, 29_100, 29_100, 29_300)
    assert found["process"] == 12_000
    assert found["weights"] == 3_500, "until the model is loaded, not only its files read"
    assert found["compile"] == 5250
    assert found["engine"] == 28_000 - 15_500 - 5250
    assert cache_said(lines(VLLM_GPU)) == "loaded"


def test_a_cache_that_cannot_be_read_is_told_with_its_reason() -> None:
    assert cache_said(lines(VLLM_CPU)) == (
        "refused: 'function' object has no attribute 'finalize_loading', filled"
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ollama", {"process": 100, "other": 50}),
        ("vllm", {"other": 110, "first request": 40}),
        ("emulated", {"process": 100, "other": 10, "first request": 40}),
    ],
)
def test_a_log_that_says_nothing_leaves_what_the_client_saw(kind: str, told: dict) -> None:
    assert parts(kind, "", 100, 110, 150) == pytest.approx(told)


def test_a_line_of_another_wording_falls_to_other() -> None:
    found = parts("vllm", without(VLLM_CPU, "Starting to load"), 46_100, 46_100, 46_400)
    assert found["other"] == 24_000, "process and weights cannot be told apart"
    assert "process" not in found
    assert "weights" not in found
    assert found["first request"] == 300
    ollama = parts("ollama", without(OLLAMA, "runner started"), 68, 74, 640)
    assert ollama == pytest.approx({"process": 68, "other": 640 - 68})


@given(
    order=st.permutations(VLLM_GPU.splitlines() + VLLM_CPU.splitlines() + OLLAMA.splitlines()),
    steps=st.lists(st.integers(0, 5000), min_size=40, max_size=40),
    ends=st.tuples(*[st.floats(0.1, 1e5)] * 3).map(sorted),
    kind=st.sampled_from(["ollama", "vllm", "emulated"]),
)
def test_no_part_is_negative_and_they_add_up_whatever_the_log_says(
    order: list[str], steps: list[int], ends: list[float], kind: str
) -> None:
    seen = itertools.accumulate(steps)
    log = [
        Line(SPAWNED_NS + ms * 1_000_000, line.partition(" ")[2])
        for ms, line in zip(seen, order, strict=False)
    ]
    ready, sent, first = ends
    found = phases_of(
        kind, log, spawned_ns=SPAWNED_NS, ready_ms=ready, sent_ms=sent, first_ms=first
    )
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(first)


# ------------------------------------------------------------------ a log that grows


def test_lines_are_stamped_when_they_appear(tmp_path) -> None:
    path = tmp_path / "server.log"
    code = (
        "import sys, time\n"
        "for part in ('one\\n', 'two ', 'halves\\n', 'no end'):\n"
        "    print(part, end='', flush=True); time.sleep(0.15)\n"
    )
    with WatchedLog(path) as log:
        began_ns = time.perf_counter_ns()
        assert log.lines() == []
        with path.open("wb") as out:
            subprocess.run([sys.executable, "-S", "-c", code], stdout=out, check=True)
        ended_ns = time.perf_counter_ns()
    one, two = log.lines()
    assert (one.text, two.text) == ("one", "two halves")
    assert began_ns < one.seen_ns < two.seen_ns < ended_ns
    assert two.seen_ns - one.seen_ns > 0.2e9, "stamped when its end came"


def test_bytes_that_are_no_text_do_no_harm(tmp_path) -> None:
    path = tmp_path / "server.log"
    with WatchedLog(path) as log:
        path.write_bytes(b"\xff\xfe\r\n\n")
    assert [line.text for line in log.lines()] == ["��\r", ""]


def test_a_log_that_never_comes_is_empty(tmp_path) -> None:
    with WatchedLog(tmp_path / "none.log") as log:
        pass
    assert log.lines() == []
