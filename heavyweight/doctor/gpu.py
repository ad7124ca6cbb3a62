"""What a GPU profile needs, looked at before an hour is paid."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from heavyweight.design import Arm, Model, Profile, Study
from heavyweight.doctor.cards import Card, Driver, look
from heavyweight.doctor.finding import Finding
from heavyweight.doctor.memory import GIB, RUNTIME_BYTES, kv_bytes_per_token, need
from heavyweight.errors import NotInstalled
from heavyweight.fitting import fitting, left_out, makes_fp8
from heavyweight.models import disk_bytes, load_manifest
from heavyweight.paths import cache_dir
from heavyweight.servers import install_vllm
from heavyweight.servers.installing import find

OF_OTHERS_BYTES = GIB  # in use beyond what a driver keeps for itself
SERVERS_BYTES = 22e9  # vLLM's packages and uv's copy of them, Ollama's release with its libraries
RUN_BYTES = 1e9  # of what is measured
RAM_GIB = 16  # to convert weights tensor by tensor, and for the servers' own processes
LEAST_CAPABILITY = (7, 5)  # of CUDA 13, for which vLLM's wheel is built, and of AWQ's kernels
BF16_CAPABILITY, FP8_CAPABILITY = (8, 0), (8, 9)
DOCTOR = "heavyweight doctor --gpu"


def examine_gpu(root: Path, study: Study, profile: Profile, model: Model) -> list[Finding]:
    """Look for all that a GPU profile needs; changes nothing.

    Args:
        root: the study's folder.
        study: study.toml.
        profile: what would be measured.
        model: what would be loaded.

    Raises:
        BadInput: no arm of the profile fits this machine.
    """
    try:
        driver, cards = look()
    except NotInstalled as error:
        found = [Finding("GPU and driver", error.found, False, error.remedy)]
        return found + _beside_the_gpu(study, profile, model)
    chosen = fitting(study, profile, model, len(cards))
    arms = [study.arm(name) for name in chosen.arms]
    findings = [
        _cards(driver, cards),
        _cuda(driver, arms),
        _capability(cards, arms),
        _memory(root, study, chosen, model, cards),
        _others(cards),
        _mig(cards),
        _persistence(cards),
        _power(cards),
        _ecc(cards),
    ]
    if gone := left_out(study, profile, model, len(cards)):
        words = "; ".join(f"{name} {why}" for name, why in gone.items())
        findings.append(Finding("arms left out", words, None, "measured without them"))
    return findings + _beside_the_gpu(study, chosen, model)


def refuse_unready(root: Path, study: Study, profile: Profile, model: Model) -> None:
    """Stop before anything long begins, if something that a GPU profile needs is missing.

    Raises:
        NotInstalled: all that is missing, with the remedies, in one message.
        BadInput: no arm of the profile fits this machine.
    """
    missing = [one for one in examine_gpu(root, study, profile, model) if one.ok is False]
    if missing:
        raise NotInstalled(
            f"this machine is not ready for profile {profile.name}: "
            + "; ".join(f"{one.name}: {one.found}" for one in missing),
            "",
            "; ".join(dict.fromkeys(one.remedy for one in missing)) + f"; `{DOCTOR}` shows all",
        )


def _beside_the_gpu(study: Study, profile: Profile, model: Model) -> list[Finding]:
    arms = [study.arm(name) for name in profile.arms]
    wanted = sorted({arm.artefact for arm in arms} - {"none"})
    missing = [name for name in wanted if name not in load_manifest(model).artefacts]
    return [_disk(arms, model, missing), _token(model, missing), _ram()]


def _cards(driver: Driver, cards: Sequence[Card]) -> Finding:
    kinds = {(card.name, card.memory_bytes) for card in cards}
    names = "; ".join(f"{card.name}, {card.memory_bytes / GIB:.0f} GiB" for card in cards)
    found = f"{names}; driver {driver.version}"
    if len(kinds) > 1:
        remedy = "GPUs of one kind (a container with --gpus device=N): servers may choose any"
        return Finding("GPU and driver", found, None, remedy)
    return Finding("GPU and driver", found, True)


def _cuda(driver: Driver, arms: Sequence[Arm]) -> Finding:
    wanted = install_vllm.CUDA_DRIVER
    text = f"{wanted // 1000}.{wanted % 1000 // 10}"
    good = driver.cuda >= wanted or not any(arm.server == "vllm" for arm in arms)
    found = f"the driver carries {driver.cuda_text}; vLLM {install_vllm.VERSION} needs {text}"
    remedy = "" if good else "a machine with driver 580 or later: an older one cannot run vLLM"
    return Finding("CUDA", found, good, remedy)


def _capability(cards: Sequence[Card], arms: Sequence[Arm]) -> Finding:
    name = "compute capability"
    told = [card.capability for card in cards if card.capability]
    if not told:
        return Finding(name, "the driver does not say", None)
    least = min(told)
    found = f"{least[0]}.{least[1]}"
    vllm = [arm for arm in arms if arm.server == "vllm"]
    unable = [
        arm.name
        for arm in vllm
        if least < (BF16_CAPABILITY if arm.dtype == "bfloat16" else LEAST_CAPABILITY)
    ]
    if unable:
        return Finding(
            name, f"{found}: too old for {', '.join(unable)}", False,
            "a newer GPU (7.5 for vLLM, 8.0 for BF16), or name the other arms with --arm",
        )  # fmt: skip
    emulates = [arm.name for arm in vllm if makes_fp8(arm) and least < FP8_CAPABILITY]
    if emulates:
        return Finding(
            name, f"{found}: {', '.join(emulates)} keeps weights in FP8, computes at 16 bits",
            None, "8.9 or later computes in FP8; say so beside that arm's numbers",
        )  # fmt: skip
    return Finding(name, found, True)


def _memory(
    root: Path, study: Study, profile: Profile, model: Model, cards: Sequence[Card]
) -> Finding:
    """The arms' weights and KV cache against the smallest GPU."""
    size, kv = min(card.memory_bytes for card in cards), kv_bytes_per_token(root, model)
    needs = {
        name: need(study.arm(name), model, profile, study.same, kv).memory_bytes
        for name in profile.arms
        if study.arm(name).artefact != "none"
    }
    counted = "weights, " + ("KV cache" if kv else "no KV cache: the model is not in models.toml")
    counted += f", {RUNTIME_BYTES / GIB:.0f} GiB for the runtime"
    too_large = {name: value for name, value in needs.items() if value > size}
    if too_large:
        words = ", ".join(f"{name} {value / GIB:.1f}" for name, value in too_large.items())
        return Finding(
            "GPU memory", f"{size / GIB:.1f} GiB; more is needed by {words} GiB ({counted})", False,
            "a larger GPU, a smaller model (--model), or name the other arms with --arm",
        )  # fmt: skip
    largest = max(needs, key=lambda name: needs[name], default="")
    words = f"; {largest} needs the most, {needs[largest] / GIB:.1f} GiB" if largest else ""
    return Finding("GPU memory", f"{size / GIB:.1f} GiB{words} ({counted})", True)


def _others(cards: Sequence[Card]) -> Finding:
    name = "other users of the GPU"
    programs = [size for card in cards for size in card.processes or ()]
    used = sum(card.used_bytes for card in cards)
    if programs:
        known = sum(size or 0 for size in programs)
        return Finding(
            name, f"{len(programs)} programs compute on it, {known / GIB:.1f} GiB", False,
            "end them (`heavyweight servers stop` for a server of this study), or take another GPU",
        )  # fmt: skip
    if any(card.used_bytes > OF_OTHERS_BYTES for card in cards):
        return Finding(
            name, f"{used / GIB:.1f} GiB are in use by programs that cannot be seen from here",
            False, "somebody shares this GPU: take one of your own",
        )  # fmt: skip
    if any(card.processes is None for card in cards):
        return Finding(name, f"not told; {used / GIB:.1f} GiB in use", None)
    return Finding(name, f"none; {used / GIB:.1f} GiB in use by the driver", True)


def _mig(cards: Sequence[Card]) -> Finding:
    if any(card.mig for card in cards):
        return Finding(
            "MIG", "on: the GPU is cut into instances", False,
            "a whole GPU, or sudo nvidia-smi -mig 0: a slice's numbers are not the GPU's",
        )  # fmt: skip
    told = any(card.mig is False for card in cards)
    return Finding("MIG", "off" if told else "this GPU has none", True)


def _persistence(cards: Sequence[Card]) -> Finding:
    name = "persistence mode"
    if any(card.persistence is False for card in cards):
        return Finding(
            name, "off: each cold start loads the driver too", None, "sudo nvidia-smi -pm 1"
        )
    if all(card.persistence for card in cards):
        return Finding(name, "on", True)
    return Finding(name, "the driver does not say", None)


def _power(cards: Sequence[Card]) -> Finding:
    name = "power limit"
    told = [card.power_w for card in cards if card.power_w]
    if not told:
        return Finding(name, "the driver does not say", None)
    limit, made_for = min(told, key=lambda pair: pair[0] / pair[1])
    if limit < made_for:
        return Finding(
            name, f"{limit:.0f} W, lowered from {made_for:.0f} W", None,
            f"sudo nvidia-smi -pl {made_for:.0f}, or say it beside the numbers",
        )  # fmt: skip
    return Finding(name, f"{limit:.0f} W", True)


def _ecc(cards: Sequence[Card]) -> Finding:
    told = {card.ecc for card in cards if card.ecc is not None}
    if not told:
        return Finding("ECC", "this GPU has none, or the driver does not say", None)
    return Finding("ECC", "on" if all(told) else "off", True)


def _disk(arms: Sequence[Arm], model: Model, missing: Sequence[str]) -> Finding:
    """Room for weights that are not there, for servers that are not, and for the run."""
    need_bytes = disk_bytes(model, missing) + RUN_BYTES
    kinds = {arm.server for arm in arms if arm.installable}
    if not all(_installed(kind, arms) for kind in kinds):
        need_bytes += SERVERS_BYTES
    free = shutil.disk_usage(cache_dir()).free
    good = free >= need_bytes
    of = f"{', '.join(missing)} of {model.title}" if missing else "the run: the weights are there"
    return Finding(
        "disk for the weights",
        f"{free / 1e9:.0f} GB free, {need_bytes / 1e9:.0f} GB needed for {of}", good,
        "" if good else "a larger disk, or HEAVYWEIGHT_CACHE on one; fewer arms with --arm",
    )  # fmt: skip


def _installed(kind: str, arms: Sequence[Arm]) -> bool:
    try:
        version = next(arm.version for arm in arms if arm.server == kind)
        return bool(find(kind, version or ""))
    except NotInstalled:
        return False


def _token(model: Model, missing: Sequence[str]) -> Finding:
    """A token for gated weights, where they must still be fetched. It is never shown."""
    name, repo = "Hugging Face token", model.checkpoint_repo
    if not model.gated:
        return Finding(name, f"not needed: {model.title} is open", True)
    if not {"checkpoint", "gguf-f16"} & set(missing):
        return Finding(name, "not needed: the weights are there, or none are gated", True)
    if os.environ.get("HF_TOKEN"):
        return Finding(
            name, f"set; whether it opens {repo} is seen by `heavyweight models prepare`", True
        )
    return Finding(
        name, f"not set, and {repo} is gated", False,
        f"accept the licence at https://huggingface.co/{repo} and set HF_TOKEN, or an open model: "
        "--model qwen3-8b",
    )  # fmt: skip


def _ram() -> Finding:
    free = psutil.virtual_memory().available / GIB
    good = free >= RAM_GIB
    return Finding(
        "RAM", f"{free:.1f} GiB free, {RAM_GIB} GiB needed", good,
        "" if good else "a machine with more memory: a server that swaps is not measured",
    )  # fmt: skip
