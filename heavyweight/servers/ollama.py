"""Ollama: one slot or several, a model folder of the study's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar

from heavyweight.errors import BadInput, ServerError
from heavyweight.paths import cache_dir
from heavyweight.records import ServerIdentity
from heavyweight.servers import install_ollama
from heavyweight.servers.asking import get_json, post_json, status_of
from heavyweight.servers.base import Installed, Progress, Server, ServerConfig
from heavyweight.servers.installing import find
from heavyweight.telemetry.metrics import read_ollama

# The runner says in the log with what it loaded the model; nothing else tells the slots.
_LOADED = re.compile(r"Operation:commit .*?Parallel:(\d+) .*?KvSize:(\d+) .*?NumThreads:(\d+)")


class OllamaServer(Server):
    """`ollama serve`; the model is loaded by the first request."""

    kind: ClassVar[str] = "ollama"
    usual_port: ClassVar[int | None] = 11434

    @classmethod
    def install(cls, progress: Progress, version: str | None = None) -> Installed:
        """A binary on PATH of this version, else Ollama's release, else its Go module."""
        return install_ollama.install(version or install_ollama.VERSION, progress)

    def installed(self) -> Installed:
        """What was installed for the arm's version."""
        return find("ollama", self.arm.version or install_ollama.VERSION)

    def files(self) -> list[Path]:
        """Its program, the libraries of a release beside it, and its folder of models."""
        program = self.installed().path
        return [program, program.parent.parent / "lib" / "ollama", cache_dir() / "ollama-models"]

    def settings(self) -> dict[str, str]:
        """Slots and the arm's variables, and how output lengths are made equal."""
        return {
            "slots": f"OLLAMA_NUM_PARALLEL={self.arm.slots or 1}",
            "length": "end tokens renamed in the GGUF: Ollama has no ignore_eos",
            "decoding": "greedy; repeat_penalty 1 in the model, for the route cannot set it",
            "env": " ".join(f"{name}={value}" for name, value in self.arm.env.items()),
        }

    def command(self, config: ServerConfig) -> list[str]:
        """``ollama serve``, which takes no flags."""
        if self.arm.flags:
            raise BadInput(
                f"arm {self.arm.name} has flags {self.arm.flags}",
                "none: `ollama serve` takes none",
                "set OLLAMA_* variables in the arm's env",
            )
        return [str(self.installed().path), "serve"]

    def environment(self, config: ServerConfig) -> dict[str, str]:
        """Address, models, context and slots; none of the user's own settings."""
        home = cache_dir() / "ollama-home"  # it writes a key pair and reads settings there
        home.mkdir(parents=True, exist_ok=True)
        address = {} if config.default_port else {"OLLAMA_HOST": f"127.0.0.1:{config.port}"}
        return address | {
            "HOME": str(home),
            "OLLAMA_MODELS": str(cache_dir() / "ollama-models"),
            "OLLAMA_CONTEXT_LENGTH": str(config.context_tokens),
            "OLLAMA_NUM_PARALLEL": str(self.arm.slots or 1),
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_NO_CLOUD": "1",
        }

    def name_of_model(self, config: ServerConfig) -> str:
        """The name given by ``models prepare``; empty where no model is asked for."""
        return (config.artefact.ollama_name or "") if config.artefact else ""

    def answers(self) -> bool:
        """Whether it tells its version."""
        return status_of(f"{self.base_url}/api/version") == 200

    def ready(self, timeout_s: float | None = None) -> float:
        """Wait until it answers; ms from the spawn. See :meth:`Server.ready`."""
        ready_ms = super().ready(timeout_s)
        config = self._given()
        if self.served_model and len(config.cores) != os.cpu_count():
            self._limit_threads(len(config.cores))
        return ready_ms

    def _limit_threads(self, threads: int) -> None:
        """Serve a copy of the model's description with as many threads as cores were given.

        Ollama counts the machine's cores and does not look at its affinity: on some of them it
        would run too many threads. No route but the model's parameters can tell it.
        """
        name = f"{self.served_model}-t{threads}"
        post_json(
            f"{self.base_url}/api/create",
            {
                "model": name, "from": self.served_model, "stream": False,
                "parameters": {"num_thread": threads},
            },
        )  # fmt: skip
        self.served_model = name

    def identify(self) -> ServerIdentity:
        """Version, the blob that the model's name stands for, and how it is loaded.

        Context and slots are known once the first request has loaded the model: ask after it.

        Raises:
            ServerError: another version, weights, context or number of slots than the arm says.
        """
        config = self._given()
        version = str(get_json(f"{self.base_url}/api/version").get("version"))
        if self.arm.version is not None:
            self._expect("version", version, self.arm.version)
        detail: dict[str, str] = {}
        digest: str | None = None
        if self.served_model:
            digest = self._weights(detail)
            if config.artefact is not None and config.artefact.sha256:
                self._expect("weights (sha256)", digest, config.artefact.sha256)
            self._loaded(detail)
        return ServerIdentity(
            server="ollama", version=version, model=self.served_model, model_digest=digest,
            detail=detail,
        )  # fmt: skip

    def _weights(self, detail: dict[str, str]) -> str | None:
        """Checksum of the GGUF behind the model's name; what else is known goes to detail."""
        try:
            shown = post_json(f"{self.base_url}/api/show", {"model": self.served_model})
        except ServerError as error:
            raise ServerError(
                f"Ollama does not serve {self.served_model}: {error.found}",
                "a model made by this study",
                "heavyweight models prepare",
            ) from error
        about = shown.get("details", {})
        detail["quantisation"] = str(about.get("quantization_level"))
        detail["parameters"] = " ".join(str(shown.get("parameters", "")).split())
        blob = re.search(r"^FROM .*sha256[-:]([0-9a-f]{64})", shown.get("modelfile", ""), re.M)
        return blob.group(1) if blob else None

    def _loaded(self, detail: dict[str, str]) -> None:
        """Check context and slots of the loaded model; nothing if none is loaded yet."""
        config = self._given()
        loaded = get_json(f"{self.base_url}/api/ps").get("models") or []
        if not loaded:
            return
        detail["size_bytes"] = str(loaded[0].get("size"))
        detail["size_vram_bytes"] = str(loaded[0].get("size_vram"))
        detail["context_tokens"] = str(loaded[0].get("context_length"))
        self._expect("context", loaded[0].get("context_length"), config.context_tokens)
        said = _LOADED.findall(config.log_path.read_text("utf-8", "replace"))
        if said:
            slots, kv_tokens, threads = said[-1]
            detail |= {"slots": slots, "kv_tokens": kv_tokens, "threads": threads}
            self._expect("slots", int(slots), self.arm.slots or 1)

    def metrics(self) -> dict[str, float]:
        """Models in memory and what they take; see :func:`read_ollama`."""
        try:
            return read_ollama(get_json(f"{self.base_url}/api/ps", timeout_s=1.0))
        except ServerError:
            return {}
