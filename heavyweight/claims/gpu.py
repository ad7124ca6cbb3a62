"""Claims that need a GPU, or two: how near a server comes to the card's limit, what quantisation
saves, whether flags on its memory act, and whether all cards compute."""

from __future__ import annotations

import dataclasses

from heavyweight.article.claim import Answer
from heavyweight.article.rules import Condition, Probe, Threshold
from heavyweight.claims.experiments import peak_ratio
from heavyweight.claims.items import Item, absent, level_item, ratio_item
from heavyweight.claims.verdict import Part
from heavyweight.estimates import Assessment
from heavyweight.estimates.blocks import Load, by_block, over_sessions
from heavyweight.estimates.pairing import paired
from heavyweight.physics import PRECISIONS, bound, load_hardware, load_models
from heavyweight.stats import Estimate

SIXTEEN = "vllm-fp16"
QUANTISED = {"AWQ": "vllm-awq", "GPTQ": "vllm-gptq", "FP8": "vllm-fp8"}
RANKS = "vllm-fp16-tp2"
# vLLM fills the GPU with its KV cache by default; one arm is told by flags how large it may be.
FILLS, TOLD = "vllm-bf16", "vllm-bf16-kv16k"
LESS_MEMORY = Threshold(
    kind="mechanism", by="threshold",
    reproduced=Condition(op="<", value=0.9), refuted=Condition(op=">=", value=0.9),
)  # fmt: skip
LESS_WEIGHTS = Threshold(
    kind="mechanism", by="threshold",
    reproduced=Condition(op=">=", value=0.3), refuted=Condition(op="<", value=0.3),
)  # fmt: skip
COMPUTES = 0.05  # mean utilisation of a GPU from which it is said to take part
# AWQ and GPTQ: 4 bits, and a scale and a zero for 128 weights.
BITS = {"gguf-q4": PRECISIONS["q4"], "checkpoint-awq": 4.25, "checkpoint-gptq": 4.25}


def roofline_share(assessment: Assessment, arm: str, load: Load | None) -> Item:
    """Throughput as a share of what memory and arithmetic of the GPU allow, at one load.

    Args:
        assessment: of a run on one kind of GPU.
        arm: which server.
        load: the largest that was measured; None: it was not measured.
    """
    of = f"{assessment.label(arm)}, share of the roofline"
    sessions = assessment.sessions[assessment.sessions["arm"] == arm]
    cards = set(sessions["gpus"].fillna("a GPU that was not told"))
    models = set(sessions["model"].fillna("a model that was not told"))
    if load is None or not len(sessions) or cards == {""}:
        return Item(of, missing="no GPU was measured")
    gpu = load_hardware().of_driver(next(iter(cards))) if len(cards) == 1 else None
    model = load_models().by_name.get(next(iter(models))) if len(models) == 1 else None
    if gpu is None or model is None:
        return Item(of, missing=f"the limit of {', '.join(sorted(cards | models))} is not known")
    bits = BITS.get(str(sessions["artefact"].iloc[0]), PRECISIONS["fp16"])
    limit = bound(gpu, model, int(load[0]), bits=bits).tok_s
    found = by_block(assessment, arm, load, "throughput_tok_s")
    return level_item(f"{of} at {load[0]} users", found, assessment.run.blocks, "", 1 / limit)


def saved(assessment: Assessment) -> list[Item]:
    """Share of the memory of the weights that each quantisation saves against 16 bits.

    vLLM fills the GPU with its KV cache whatever the weights take, so the weights are compared, as
    it says in its log that it loaded them.

    Args:
        assessment: of a run on a GPU.
    """
    return [_saved(name, assessment) for name in QUANTISED]


def _saved(name: str, assessment: Assessment) -> Item:
    """What one quantisation saves."""
    arms = QUANTISED[name], SIXTEEN
    of = f"{name} against 16 bits, share of the weights' memory that is saved"
    if missing := absent(arms, assessment):
        return Item(of, missing=missing)
    sides = [over_sessions(assessment, one, "weights_loaded_bytes") for one in arms]
    item = ratio_item(of, paired(arms, sides), assessment.run.blocks)
    if item.estimate is None:
        return item
    return dataclasses.replace(item, estimate=_rest(item.estimate), pairing=None)


def _rest(share: Estimate) -> Estimate:
    """1 - a share, with its interval; on the log scale it has no test any more."""
    return dataclasses.replace(
        share, value=1 - share.value, low=1 - share.high, high=1 - share.low,
        method="1 - a ratio over blocks",
    )  # fmt: skip


def control(assessment: Assessment) -> list[tuple[Item, Threshold]]:
    """What vLLM's flags do, those that size its KV cache and FP8, and from where on they act.

    Args:
        assessment: of a run of the experiment memory on a GPU.
    """
    return [(_set_memory(assessment), LESS_MEMORY), (_saved("FP8", assessment), LESS_WEIGHTS)]


def _set_memory(assessment: Assessment) -> Item:
    """The GPU's memory with a KV cache that flags size, over that which vLLM fills by itself."""
    arms = TOLD, FILLS
    of = " / ".join(map(assessment.label, arms)) + ", peak GPU memory"
    if missing := absent(arms, assessment):
        return Item(of, missing=missing)
    if set(assessment.sessions["gpus"]) == {""}:
        return Item(of, missing="no GPU was measured")
    return peak_ratio(arms, assessment, of)


def ranks(rule: Probe, assessment: Assessment) -> Part:
    """Whether vLLM worked on two GPUs, told to do so by one flag.

    Args:
        rule: of the claim.
        assessment: of a run with the arm of two ranks.
    """
    nothing = Part(rule.kind, rule.by, "vLLM, 2 GPUs", "inconclusive", "")
    cells = assessment.cells[assessment.cells["arm"] == RANKS]
    good = cells[cells["work_valid"] & cells["gpu_util_least"].notna()]
    if good.empty:
        return dataclasses.replace(nothing, why=f"arm {RANKS} did no work in this run.")
    least = float(good["gpu_util_least"].min())
    answer: Answer = "reproduced" if least >= COMPUTES else "refuted"
    why = f"In {len(good)} cells with the one flag, each GPU was busy for at least {least:.0%}."
    return dataclasses.replace(
        nothing, of=assessment.label(RANKS), answer=answer, adjusted=answer, why=why, from_run=True
    )
