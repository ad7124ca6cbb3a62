"""Models in the study's own Ollama folder, made from the GGUF files by their Modelfiles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from heavyweight.design import Arm, Model
from heavyweight.errors import InstallFailed
from heavyweight.machine import usable_cores
from heavyweight.models.artefacts import GGUF_F16, GGUF_Q4, model_folder
from heavyweight.models.manifest import Artefact
from heavyweight.models.running import running
from heavyweight.models.templates import modelfile
from heavyweight.servers.base import Progress, ServerConfig, free_port
from heavyweight.servers.installing import step
from heavyweight.servers.lock import SessionLock
from heavyweight.servers.ollama import OllamaServer

SUFFIX = {GGUF_Q4: "q4", GGUF_F16: "f16"}
MODEL_LAYER = "application/vnd.ollama.image.model"


def name_in_ollama(model: Model, artefact: str) -> str:
    """Under which name Ollama serves an artefact."""
    return f"{model.name}-{SUFFIX[artefact]}"


def weights_in(ollama_folder: Path, name: str) -> str | None:
    """Checksum of the weights that Ollama keeps under a name; None if it has none.

    Args:
        ollama_folder: OLLAMA_MODELS.
        name: of the model, without a tag.
    """
    try:
        place = ollama_folder / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
        layers = json.loads(place.read_text("utf-8"))["layers"]
        layer = next(one for one in layers if one["mediaType"] == MODEL_LAYER)
        digest = str(layer["digest"]).removeprefix("sha256:")
        blob = ollama_folder / "blobs" / f"sha256-{digest}"
        return digest if blob.stat().st_size == layer["size"] else None
    except (OSError, ValueError, KeyError, StopIteration):
        return None


def ensure(model: Model, artefact: Artefact, arm: Arm, progress: Progress) -> Artefact:
    """Make an artefact known to Ollama, if it is not; its own server is started for that.

    Args:
        model: gives name and chat format.
        artefact: a GGUF file.
        arm: an Ollama arm of the study: which version does it.
        progress: gets a line for each step.

    Returns:
        The artefact with its name in Ollama.

    Raises:
        NotInstalled: Ollama is not.
        SessionBusy: a session is measuring.
        InstallFailed: Ollama does not keep the weights as they are.
    """
    folder, name = model_folder(model), name_in_ollama(model, artefact.name)
    text = modelfile(model, folder / artefact.path)
    digest = hashlib.sha256(text.encode()).hexdigest()
    config = ServerConfig(
        arm=arm, model=model, cores=usable_cores(), context_tokens=2048, port=free_port(),
        log_path=folder / "ollama.log", seed=0,
    )  # fmt: skip
    server = OllamaServer(arm)
    variables = server.environment(config)
    kept_in = Path(variables["OLLAMA_MODELS"])
    known = artefact.modelfile_sha256 == digest and artefact.ollama_name == name
    if known and weights_in(kept_in, name) == artefact.sha256:
        return artefact
    file = folder / f"Modelfile-{SUFFIX[artefact.name]}"
    file.write_text(text, "utf-8")
    command: list[str | Path] = [server.installed().path, "create", name, "-f", file]
    log = folder / "create.log"
    with SessionLock(progress) as lock, running(server, config, lock):
        step(f"giving {artefact.name} of {model.name} to Ollama", command, log, progress, variables)
    found = weights_in(kept_in, name)
    if found != artefact.sha256:
        raise InstallFailed(
            f"Ollama keeps {name} with the checksum {found}",
            f"{artefact.sha256}, the file as it is",
            f"read {config.log_path.name} in the model's folder",
        )
    return artefact.model_copy(update={"ollama_name": name, "modelfile_sha256": digest})
