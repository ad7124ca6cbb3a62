"""Whether an arm fits into a GPU's memory: weights, KV cache, and something for the runtime.

Simple arithmetic before an hour is paid, on the safe side. What an arm then used is measured.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from heavyweight.design import Arm, Model, Profile, Same
from heavyweight.fitting import gpus_needed, makes_fp8

GIB = 2**30
RUNTIME_BYTES = 2 * GIB  # CUDA's context, activations, compiled graphs: an allowance
VLLM_SHARE = 0.92  # of the memory that vLLM 0.21.0 takes (vllm/config/cache.py)
TEMPLATE_TOKENS = 64  # of the chat format, beside prompt and answer
BITS = {
    "gguf-q4": 4.8944, "gguf-f16": 16.0, "checkpoint": 16.0,
    "checkpoint-awq": 5.712, "checkpoint-gptq": 5.712,
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """Memory of one GPU that an arm needs, bytes.

    Attributes:
        weights: parameters x bits / 8, shared between the arm's GPUs.
        cache: KV cache, shared likewise; None: not known for this model, and not counted.
        share: of the GPU's memory that the server takes at the most.
    """

    weights: float
    cache: float | None
    share: float

    @property
    def memory_bytes(self) -> float:
        """The least size of a GPU that holds it all."""
        return (self.weights + (self.cache or 0) + RUNTIME_BYTES) / self.share


def kv_bytes_per_token(root: Path, model: Model) -> int | None:
    """KV cache of one token at 16 bits, by data/models.toml; None for a model that is not there.

    2 x layers x KV heads x head dimension x 2 bytes (Pope et al. 2023, "Efficiently Scaling
    Transformer Inference", section 2).
    """
    try:
        known = tomllib.loads((root / "data" / "models.toml").read_text("utf-8"))["models"]
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return None
    for one in known:
        if one.get("name") == model.name:
            return 2 * int(one["layers"]) * int(one["kv_heads"]) * int(one["head_dim"]) * 2
    return None


def need(arm: Arm, model: Model, profile: Profile, same: Same, kv_bytes: int | None) -> Need:
    """What an arm needs on each of its GPUs.

    Ollama reserves the whole context of every slot when it starts. vLLM shares its cache between
    its sequences: counted are the tokens of the profile's largest load, or those that the arm asks
    for.

    Args:
        arm: of study.toml.
        model: that is loaded.
        profile: loads and length of the answers.
        same: prompt and context.
        kv_bytes: KV cache of a token; None: not known.
    """
    gpus, slots = gpus_needed(arm), arm.slots or 1
    bits = BITS.get(arm.artefact, 16.0)
    if makes_fp8(arm):
        bits = 16.0  # while it loads; 8 afterwards
    if arm.server == "ollama":
        tokens = slots * same.context_tokens
    elif arm.kv_tokens:
        tokens = arm.kv_tokens
    else:
        each = same.prompt_tokens + TEMPLATE_TOKENS + profile.output_tokens
        tokens = max(min(slots, max(profile.users, default=1)) * each, same.context_tokens)
    return Need(
        weights=model.parameters * bits / 8 / gpus,
        cache=None if kv_bytes is None else tokens * kv_bytes / gpus,
        share=VLLM_SHARE if arm.server == "vllm" else 1.0,
    )
