"""Arms, told apart by what a probe needs to know of them."""

from __future__ import annotations

from heavyweight.design import Arm

OURS = frozenset({"ollama", "vllm", "emulated"})
"""Servers that the study starts."""


def ours(arm: Arm) -> bool:
    """Whether the study starts the server."""
    return arm.server in OURS


def real(arm: Arm) -> bool:
    """Ollama or vLLM, started by the study."""
    return arm.server in ("ollama", "vllm")


def shipped(arm: Arm) -> bool:
    """vLLM as it comes: the same server as the one with a data type, but for type and cores."""
    return arm.server == "vllm" and arm.dtype is None


def like_ollama(arm: Arm) -> bool:
    """Ollama, or what imitates it."""
    return arm.server == "ollama" or (arm.emulate is not None and arm.emulate.api == "ollama")
