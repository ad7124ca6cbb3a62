"""The roofline of decoding: what memory bandwidth, arithmetic and capacity allow at most.

A decode step gives every user one token and reads all weights once, however many users share it;
so tokens a second are at most users x steps a second (Williams, Waterman & Patterson 2009,
"Roofline"; Pope et al. 2023, "Efficiently Scaling Transformer Inference", section 2). Speculative
decoding gives more than one token a step, and is outside of these bounds. Time for launching
kernels, sampling and the network only adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heavyweight.errors import BadInput
from heavyweight.physics.hardware import Gpu
from heavyweight.physics.models import Architecture

# Bits a weight. Q8_0 keeps 32 weights in 34 bytes; Q4_K_M mixes types, and for Llama-3.1-8B comes
# to 4.8944 (ggml-org/llama.cpp, tools/quantize/README.md); other models differ in the second digit.
PRECISIONS = {"fp16": 16.0, "bf16": 16.0, "fp8": 8.0, "q8": 8.5, "q4": 4.8944}


def gb(count_bytes: float) -> float:
    """Bytes in GB, 10^9."""
    return count_bytes / 1e9


def gib(count_bytes: float) -> float:
    """Bytes in GiB, 2^30."""
    return count_bytes / 2**30


def weights_bytes(model: Architecture, bits: float = 16) -> float:
    """Memory of the weights alone: parameters x bits / 8."""
    return model.parameters * _above("bits", bits) / 8


def read_bytes_per_step(model: Architecture, bits: float = 16) -> float:
    """Weights that one decode step reads, bytes.

    All but the input embedding: of that table one row a token is looked up, which is not counted.
    A tied embedding is the output head too, and as that it is read whole.
    """
    return _used_parameters(model) * _above("bits", bits) / 8


def kv_bytes_per_token(model: Architecture, kv_bits: float = 16) -> float:
    """KV cache of a token: 2 x layers x KV heads x head dimension x bits / 8 (Pope et al. 2023)."""
    return 2 * model.layers * model.kv_heads * model.head_dim * _above("kv_bits", kv_bits) / 8


def step_bytes(
    model: Architecture,
    users: int,
    context_tokens: float = 0,
    *,
    bits: float = 16,
    kv_bits: float = 16,
) -> float:
    """All that one decode step reads: the weights once, and the KV cache of each user's context.

    Args:
        model: what is decoded.
        users: that share the step.
        context_tokens: of each, on average while it decodes; 0: the cache is left out.
        bits: of a weight.
        kv_bits: of a number in the cache.
    """
    cache = _users(users) * _from_zero("context_tokens", context_tokens)
    return read_bytes_per_step(model, bits) + cache * kv_bytes_per_token(model, kv_bits)


def steps_per_s_at_most(
    gpu: Gpu,
    model: Architecture,
    users: int = 1,
    context_tokens: float = 0,
    *,
    bits: float = 16,
    kv_bits: float = 16,
) -> float:
    """Decode steps a second that memory allows: bandwidth / bytes read a step."""
    read = step_bytes(model, users, context_tokens, bits=bits, kv_bits=kv_bits)
    return gpu.memory_bytes_per_s / read


def flop_per_s(gpu: Gpu, bits: float = 16) -> float | None:
    """Peak dense arithmetic: at FP8 from 8 bits down where the GPU has it, else at 16 bits.

    Kernels that compute in INT8 on a GPU without FP8 may exceed it.
    """
    small = gpu.fp8_tflops if bits <= 8 else None
    tflops = small or gpu.fp16_tflops
    return None if tflops is None else tflops * 1e12


def prefill_s_at_least(
    gpu: Gpu, model: Architecture, prompt_tokens: int, bits: float = 16
) -> float:
    """Least time to read a prompt, s: one user's, nothing of it cached.

    2 FLOP a parameter and token (Kaplan et al. 2020, "Scaling Laws for Neural Language Models",
    section 2.1) against the peak, the output head for the last token only; or one reading of the
    weights, if that takes longer. The attention over the prompt is left out: it only adds.
    """
    tokens = _above("prompt_tokens", prompt_tokens)
    head = model.table_parameters
    flop = 2 * ((_used_parameters(model) - head) * tokens + head)
    reading_s = read_bytes_per_step(model, bits) / gpu.memory_bytes_per_s
    peak = flop_per_s(gpu, bits)
    return reading_s if peak is None else max(flop / peak, reading_s)


def memory_bytes(
    model: Architecture,
    users: int,
    context_tokens: float,
    *,
    bits: float = 16,
    kv_bits: float = 16,
) -> float:
    """Weights and the KV cache of all contexts; nothing for activations and the runtime."""
    cache = _users(users) * _from_zero("context_tokens", context_tokens)
    return weights_bytes(model, bits) + cache * kv_bytes_per_token(model, kv_bits)


def kv_tokens_that_fit(
    gpu: Gpu, model: Architecture, *, bits: float = 16, kv_bits: float = 16
) -> int | None:
    """Tokens of KV cache beside the weights; 0 if the weights do not fit, None without a size."""
    if gpu.memory_bytes is None:
        return None
    left = gpu.memory_bytes - weights_bytes(model, bits)
    return max(0, math.floor(left / kv_bytes_per_token(model, kv_bits)))


def users_that_fit(
    gpu: Gpu,
    model: Architecture,
    context_tokens: int,
    *,
    bits: float = 16,
    kv_bits: float = 16,
) -> int | None:
    """Users whose whole contexts fit beside the weights; None without a size."""
    tokens = kv_tokens_that_fit(gpu, model, bits=bits, kv_bits=kv_bits)
    return None if tokens is None else tokens // int(_above("context_tokens", context_tokens))


@dataclass(frozen=True)
class Bound:
    """What one load can have at most.

    Args:
        users: concurrent.
        steps_per_s: decode steps that memory allows.
        memory_tok_s: all users' tokens a second that memory bandwidth allows.
        compute_tok_s: the same of arithmetic; None where the peak is not known.
        memory_bytes: weights and KV cache.
        tokens_a_user: of KV cache that fit, for each; None where the size is not known.
        fits: whether weights and contexts do (at least one token each); None likewise.
    """

    users: int
    steps_per_s: float
    memory_tok_s: float
    compute_tok_s: float | None
    memory_bytes: float
    tokens_a_user: int | None
    fits: bool | None

    @property
    def tok_s(self) -> float:
        """The smaller of the two."""
        return min(self.memory_tok_s, self.compute_tok_s or math.inf)

    @property
    def limited_by(self) -> str:
        """Which of the two it is."""
        return "memory bandwidth" if self.tok_s == self.memory_tok_s else "compute"


def bound(
    gpu: Gpu,
    model: Architecture,
    users: int,
    context_tokens: int = 0,
    *,
    bits: float = 16,
    kv_bits: float = 16,
) -> Bound:
    """Tokens a second of all users together, at most.

    Memory bandwidth: users x steps a second. Compute: peak FLOP/s / (2 FLOP x parameters that take
    part); attention is left out, which only lowers what can be reached.

    Args:
        gpu: one, not several.
        model: what is decoded.
        users: concurrent, all in one batch.
        context_tokens: of each; 0: reading the KV cache is left out, and the bound holds for any.
        bits: of a weight.
        kv_bits: of a number in the KV cache.

    Raises:
        BadInput: users below 1, or another number that cannot be.
    """
    steps = steps_per_s_at_most(gpu, model, users, context_tokens, bits=bits, kv_bits=kv_bits)
    peak = flop_per_s(gpu, bits)
    room = kv_tokens_that_fit(gpu, model, bits=bits, kv_bits=kv_bits)
    return Bound(
        users=users,
        steps_per_s=steps,
        memory_tok_s=users * steps,
        compute_tok_s=None if peak is None else peak / (2 * _used_parameters(model)),
        memory_bytes=memory_bytes(model, users, context_tokens, bits=bits, kv_bits=kv_bits),
        tokens_a_user=None if room is None else room // users,
        fits=None if room is None else room // users >= max(1, context_tokens),
    )


def _used_parameters(model: Architecture) -> int:
    """Parameters that take part in a step: all but an input embedding that is only looked up."""
    return model.parameters - (0 if model.tied else model.table_parameters)


def _above(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise BadInput(f"{name} {value:g}", "a number above 0", "mend it")
    return value


def _from_zero(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise BadInput(f"{name} {value:g}", "0 or more", "mend it")
    return value


def _users(users: int) -> int:
    if isinstance(users, bool) or users != int(users) or users < 1:
        raise BadInput(f"{users} users", "a whole number above 0", "mend it")
    return users
