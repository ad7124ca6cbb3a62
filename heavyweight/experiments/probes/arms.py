"""Arms, told apart by what a probe needs to know of them."""

from __future__ import annotations

from heavyweight.design import Arm


def started(arm: Arm) -> bool:
    """A server that the study starts."""
    return arm.started


def real(arm: Arm) -> bool:
    """A server that the study starts and that imitates nothing."""
    return arm.started and not arm.emulated


def shipped(arm: Arm) -> bool:
    """vLLM as it comes: the same server as the one with a data type, but for type and cores."""
    return arm.server == "vllm" and arm.dtype is None


def like_ollama(arm: Arm) -> bool:
    """Ollama, or what imitates it."""
    return arm.server == "ollama" or (arm.emulate is not None and arm.emulate.api == "ollama")
