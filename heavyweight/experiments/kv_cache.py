"""What a server says of its KV cache: how much it reserves, and how much of it is assigned.

Read from Ollama 0.24.0 and vLLM 0.21.0:

- Ollama gives each slot a context of its own when the model is loaded, and tells so in its log
  only: ``KvSize`` is slots x context, and llama.cpp prints the bytes of each buffer. Whatever a
  request needs of it, the whole is taken.
- vLLM reserves a number of blocks at its start (labels of ``vllm:cache_config_info``) and assigns
  them to sequences as they grow. ``vllm:kv_cache_usage_perc`` is the share of blocks that are not
  free (v1/core/block_pool.py, get_usage): one block of the pool is never given out and does not
  count, and a block that is only kept for the prefix cache counts as free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_COMMIT = "Operation:commit"
_KV_SIZE = re.compile(r"KvSize:(\d+)")
_KV_BUFFER = re.compile(r"llama_kv_cache: +\S+ KV buffer size = +([\d.]+) MiB")
_CONFIG = re.compile(r"^vllm:cache_config_info\{([^}]*)\}", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_USAGE = re.compile(r"^vllm:(?:kv|gpu)_cache_usage_perc(?:\{[^}]*\})? (\S+)$", re.M)
_TOKENS = re.compile(r"^vllm:(?:prompt|generation)_tokens(?:_total)?(?:\{[^}]*\})? (\S+)$", re.M)


@dataclass(frozen=True)
class Reserved:
    """The KV cache that a server has taken.

    Args:
        tokens: that it has room for.
        block_tokens: in which it is assigned to sequences; None: a slot has its own part for good.
        told_bytes: its size, where the server tells.
        source: who says so.
    """

    tokens: int
    block_tokens: int | None = None
    told_bytes: int | None = None
    source: str = ""

    def assigned_tokens(self, usage: float | None) -> int:
        """Tokens for which room is assigned, in whole blocks.

        Args:
            usage: share of the blocks that are not free; one block of the pool never counts.
        """
        if self.block_tokens is None or usage is None:
            return self.tokens
        blocks = self.tokens // self.block_tokens - 1
        return round(usage * blocks) * self.block_tokens


def of_ollama(log: str, slots: int, context_tokens: int) -> Reserved:
    """What Ollama reserved when it last loaded a model.

    Args:
        log: all that it wrote.
        slots: as configured, for a log that does not tell.
        context_tokens: of each slot.
    """
    last = log[log.rfind(_COMMIT) :] if _COMMIT in log else ""
    if not (size := _KV_SIZE.search(last)):
        return Reserved(slots * context_tokens, source="slots x context, as configured")
    buffers = [float(mib) for mib in _KV_BUFFER.findall(last)]
    told = round(sum(buffers) * 2**20) if buffers else None
    return Reserved(int(size[1]), told_bytes=told, source="KvSize in its log")


def of_vllm(metrics: str) -> Reserved | None:
    """What vLLM reserved at its start; None: its metrics do not tell.

    Args:
        metrics: the text of /metrics.
    """
    if not (config := _CONFIG.search(metrics)):
        return None
    labels = dict(_LABEL.findall(config[1]))
    blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    if not (blocks.isdigit() and size.isdigit()):
        return None
    return Reserved(int(blocks) * int(size), int(size), source="vllm:cache_config_info")


@dataclass(frozen=True)
class Counters:
    """vLLM's metrics at one moment; it changes all of them after the same step.

    Args:
        usage: share of the blocks that are not free.
        tokens: of prompts and answers, all that it ever worked on.
    """

    usage: float
    tokens: float

    @classmethod
    def of(cls, metrics: str) -> Self | None:
        """From the text of /metrics; None where it has no such counters."""
        usage, tokens = _USAGE.search(metrics), _TOKENS.findall(metrics)
        if usage is None or not tokens:
            return None
        return cls(float(usage[1]), sum(map(float, tokens)))
