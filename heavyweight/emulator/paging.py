"""The KV cache of an emulated vLLM: a pool of blocks, which streams are given as they grow."""

from __future__ import annotations

from collections.abc import Iterable

BLOCKS, BLOCK_TOKENS = 1024, 16


def usage(tokens: Iterable[int]) -> float:
    """Share of the blocks that streams hold; as in vLLM, one block of the pool does not count.

    Args:
        tokens: of each stream that is at work, those whose keys and values are in the cache.
    """
    return sum(-(-count // BLOCK_TOKENS) for count in tokens) / (BLOCKS - 1)


def config() -> str:
    """The line of /metrics that tells the size of the pool."""
    return (
        f'vllm:cache_config_info{{block_size="{BLOCK_TOKENS}",engine="0",'
        f'num_gpu_blocks="{BLOCKS}"}} 1.0\n'
    )
