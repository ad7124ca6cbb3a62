"""Where the time of a start went: a server's log, line by line -> parts that add up.

A part ends where its line appeared in the log. The wordings are those of Ollama 0.24.0
(llm/server.go) and of vLLM 0.21.0 (v1/worker/cpu_model_runner.py and gpu_model_runner.py,
v1/engine/core.py, compilation/monitor.py, compilation/decorators.py). A line that another version
does not write is missing, and its part is then in "other".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from heavyweight.servers.watching import Line

PROCESS, WEIGHTS, COMPILE, ENGINE = "process", "weights", "compile", "engine"
API, FIRST, OTHER = "API server", "first request", "other"

_OLLAMA_LOADED = re.compile(r"llama runner started in ([\d.]+) seconds")
_VLLM_LOADING = re.compile(r"Starting to load model ")
_VLLM_LOADED = (
    re.compile(r"Model loading took \S+ GiB.*? ([\d.]+) seconds"),  # GPU
    re.compile(r"Loading weights took ([\d.]+) seconds"),
)
_VLLM_ENGINE = re.compile(r"init engine \(.*?\) took ([\d.]+) s")
_VLLM_COMPILED = (  # only where vLLM's own compiler is used: on a GPU
    re.compile(r"init engine .*?\(compilation: ([\d.]+) s"),
    re.compile(r"torch\.compile took ([\d.]+) s in total"),
)
_VLLM_WARMING = re.compile(r"Warming up model for the compilation")
_VLLM_WARM_RUN = re.compile(r"Initial profiling/warmup run took ([\d.]+) s")

_CACHE = {
    "loaded": re.compile(r"Directly load (?:AOT compilation|the compiled graph)"),
    "refused": re.compile(r"Compiling model again due to a load failure .*?reason: (.*)"),
    "filled": re.compile(r"saved AOT compiled function to"),
}

Find = Callable[[re.Pattern[str]], tuple[float, str] | None]


def phases_of(
    kind: str, lines: Sequence[Line], *, spawned_ns: int, ready_ms: float, sent_ms: float,
    first_ms: float,
) -> dict[str, float]:  # fmt: skip
    """Parts of the way from the spawn to the first token, in ms, in their order.

    Args:
        kind: of the server, as in study.toml.
        lines: of its log, with the time at which each appeared.
        spawned_ns: time.perf_counter_ns at the spawn.
        ready_ms: spawn to ready.
        sent_ms: spawn to the first request's sending.
        first_ms: spawn to its first token.

    Returns:
        Part -> ms. None is negative, and they add up to ``first_ms``; what no line tells is
        "other". Parts:

        - process: until the server answers (Ollama), or until it begins to load (vLLM: three
          processes start and import one after the other);
        - weights: until the model is loaded; Ollama does so in the first request, and starts
          another process for it;
        - compile: vLLM's torch.compile, or the loading of what its cache holds;
        - engine: vLLM's profiling run, KV cache and warm-up;
        - API server: from vLLM's engine to a server that answers;
        - first request: all that is left of it.
    """
    stamps = [((line.seen_ns - spawned_ns) / 1e6, line.text) for line in lines]

    def find(pattern: re.Pattern[str]) -> tuple[float, str] | None:
        for seen_ms, text in stamps:
            if match := pattern.search(text):
                return seen_ms, match.group(match.lastindex or 0)
        return None

    marks: list[tuple[str, float | None]]
    compile_ms = 0.0
    if kind == "ollama":
        # Sent and loaded; what lies between ready and sent is nobody's.
        loaded = find(_OLLAMA_LOADED)
        marks = [(PROCESS, ready_ms), (OTHER, sent_ms), (WEIGHTS, loaded and loaded[0])]
    elif kind == "vllm":
        loading, engine = find(_VLLM_LOADING), find(_VLLM_ENGINE)
        loaded = next(filter(None, map(find, _VLLM_LOADED)), None)
        marks = [
            (PROCESS, loading and loading[0]), (WEIGHTS, loaded and loaded[0]),
            (ENGINE, engine and engine[0]), (API, ready_ms), (OTHER, sent_ms),
        ]  # fmt: skip
        compile_ms = _compiled_ms(find)
    else:
        marks = [(PROCESS, ready_ms), (OTHER, sent_ms)]
    parts = _parts([*marks, (FIRST, first_ms)], first_ms)
    if compile_ms and ENGINE in parts:
        parts = _carved(parts, min(compile_ms, parts[ENGINE]))
    return parts


def _parts(marks: Sequence[tuple[str, float | None]], first_ms: float) -> dict[str, float]:
    """Marks -> parts: ends never go back, and a part without an end falls to "other"."""
    parts: dict[str, float] = {}
    before_ms, unknown = 0.0, False
    for name, seen_ms in marks:
        if seen_ms is None:
            unknown = True
            continue
        end_ms = min(max(seen_ms, before_ms), first_ms)
        known = OTHER if unknown else name
        parts[known] = parts.get(known, 0.0) + end_ms - before_ms
        before_ms, unknown = end_ms, False
    return parts


def _carved(parts: dict[str, float], compile_ms: float) -> dict[str, float]:
    """The engine's part without its compilation, which comes before it."""
    found: dict[str, float] = {}
    for name, value in parts.items():
        if name == ENGINE:
            found |= {COMPILE: compile_ms, ENGINE: value - compile_ms}
        else:
            found[name] = value
    return found


def _compiled_ms(find: Find) -> float:
    """How long vLLM compiled; 0: it did not, or does not say."""
    for pattern in _VLLM_COMPILED:
        if told := find(pattern):
            return float(told[1]) * 1e3
    # On a CPU it gives no total: from the beginning of the warm-up to its first run, which it
    # makes only where it has compiled.
    warming, run = find(_VLLM_WARMING), find(_VLLM_WARM_RUN)
    if warming is None or run is None:
        return 0.0
    return max(0.0, run[0] - float(run[1]) * 1e3 - warming[0])


def cache_said(lines: Sequence[Line]) -> str:
    """What the log says of the compile cache: loaded, filled, or refused and why; empty: nothing.

    A cache that is refused is filled again: both are said.
    """
    said = []
    for what, pattern in _CACHE.items():
        for line in lines:
            if match := pattern.search(line.text):
                why = match.group(1).strip() if match.lastindex else ""
                said.append(f"{what}: {why}" if why else what)
                break
    return ", ".join(said)
