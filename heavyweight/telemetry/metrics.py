"""What a server tells of itself -> numbers under the study's names.

vLLM's /metrics is Prometheus text (names as in vLLM's vllm/v1/metrics/loggers.py, checked with
0.21.0); Ollama's /api/ps is JSON.
"""

from __future__ import annotations

import re
from typing import Any

# Quantity: the names under which vLLM tells it, the newest first.
VLLM_NAMES: dict[str, tuple[str, ...]] = {
    "requests_running": ("num_requests_running",),
    "requests_waiting": ("num_requests_waiting",),
    "kv_used_fraction": ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
    "prefix_queries_tokens": ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    "prefix_hits_tokens": ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
    "preemptions": ("num_preemptions_total",),
    "prompt_tokens": ("prompt_tokens_total",),
    "generation_tokens": ("generation_tokens_total",),
}
_LINE = re.compile(
    rf"^vllm:({'|'.join(name for names in VLLM_NAMES.values() for name in names)})"
    r"(?:\{[^}]*\})? ([0-9.eE+-]+)$",
    re.M,
)


def read_vllm(text: str) -> dict[str, float]:
    """Numbers of vLLM's /metrics; what it does not tell is left out.

    Engines of one server (data parallel) are added up; of the KV cache, the fullest counts.
    """
    found: dict[str, list[float]] = {}
    for name, value in _LINE.findall(text):
        found.setdefault(name, []).append(float(value))
    told = {}
    for quantity, names in VLLM_NAMES.items():
        values = next((found[name] for name in names if name in found), None)
        if values is not None:
            told[quantity] = max(values) if quantity == "kv_used_fraction" else sum(values)
    return told


def read_ollama(answer: Any) -> dict[str, float]:
    """Numbers of Ollama's /api/ps: models in memory, and what they take."""
    models = answer.get("models") or [] if isinstance(answer, dict) else []
    return {
        "models_loaded": float(len(models)),
        "models_bytes": float(sum(model.get("size") or 0 for model in models)),
        "models_vram_bytes": float(sum(model.get("size_vram") or 0 for model in models)),
    }
