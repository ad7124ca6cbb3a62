"""Arms, a model and configurations for the tests of servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heavyweight.design import Arm, Model
from heavyweight.machine import usable_cores
from heavyweight.models import PreparedArtefact
from heavyweight.servers.base import ServerConfig, free_port

SHA256 = "ab" * 32
MODEL = Model(name="tiny", title="Tiny", parameters=1, source="none")


def arm(server: str, **fields: Any) -> Arm:
    """An arm of a kind, with what that kind must have."""
    must: dict[str, Any] = {
        "ollama": {"version": "0.24.0", "slots": 8, "artefact": "gguf-q4"},
        "vllm": {"version": "0.21.0", "slots": 64, "artefact": "checkpoint", "dtype": "bfloat16"},
        "openai": {"artefact": "none"},
        "emulated": {
            "artefact": "none", "slots": 1,
            "emulate": {"api": "ollama", "ttft_ms": 5, "itl_ms": 1},
        },
    }[server]  # fmt: skip
    return Arm(name=f"{server}-arm", label=server, server=server, **(must | fields))


def artefact(path: Path, ollama_name: str | None = None) -> PreparedArtefact:
    """An artefact that was never made."""
    return PreparedArtefact(
        name="x", path=path, sha256=SHA256, size_bytes=1, ollama_name=ollama_name, dtypes={}
    )


def config(of: Arm, log: Path, **fields: Any) -> ServerConfig:
    """A configuration on a free port and all cores."""
    given: dict[str, Any] = {
        "arm": of, "model": MODEL, "cores": usable_cores(), "context_tokens": 2048,
        "port": free_port(), "log_path": log, "seed": 7,
    }  # fmt: skip
    return ServerConfig(**(given | fields))
