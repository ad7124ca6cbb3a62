"""Whether one GPU on sale holds a 70B model at 16 bits, by data/hardware.toml."""

from __future__ import annotations

from heavyweight.article.claim import Answer
from heavyweight.article.rules import Source
from heavyweight.claims.verdict import Part
from heavyweight.physics import Hardware, Models, gb, kv_tokens_that_fit, weights_bytes
from heavyweight.tables import number

MODEL = "llama-3.1-70b"
CONTEXT_TOKENS = 8192  # a KV cache worth the name: one conversation


def judge(rule: Source, hardware: Hardware, models: Models) -> Part:
    """Look for a GPU whose memory holds the weights and the KV cache of one conversation.

    Args:
        rule: of the claim that several GPUs are needed.
        hardware: GPUs and their memory.
        models: has the 70B model's architecture.
    """
    model = models.model(MODEL)
    room = {gpu.name: kv_tokens_that_fit(gpu, model) or 0 for gpu in hardware.gpus}
    large = [name for name, tokens in room.items() if tokens >= CONTEXT_TOKENS]
    answer: Answer = "refuted" if large else "reproduced"
    weights = f"{number(gb(weights_bytes(model)))} GB of weights"
    if large:
        told = ", ".join(
            f"{name} ({room[name]:,} tokens of KV cache beside them)" for name in large
        )
        why = f"{weights} fit on one GPU: {told}."
    else:
        why = (
            f"No GPU of data/hardware.toml holds {weights} and {CONTEXT_TOKENS} tokens of KV cache."
        )
    return Part(rule.kind, rule.by, "GPUs on sale", answer, why, adjusted=answer)
