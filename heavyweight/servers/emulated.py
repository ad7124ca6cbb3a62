"""The emulated server: timing that is known, for the instrument and the tests, never evidence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import heavyweight
from heavyweight import __version__
from heavyweight.errors import BadInput
from heavyweight.records import ServerIdentity
from heavyweight.servers.asking import get_json, status_of, told
from heavyweight.servers.base import Installed, Progress, Server, ServerConfig
from heavyweight.telemetry.metrics import read_vllm


class EmulatedServer(Server):
    """``python -m heavyweight.emulator`` in the manner of Ollama or of vLLM."""

    kind: ClassVar[str] = "emulated"

    @classmethod
    def install(cls, progress: Progress, version: str | None = None) -> Installed:
        """Nothing to do: it is a part of the study."""
        return Installed("emulated", heavyweight.__version__, Path(sys.executable), {})

    def files(self) -> list[Path]:
        """The study's own modules."""
        return [Path(heavyweight.__file__).parent]

    def settings(self) -> dict[str, str]:
        """The timing that it imitates."""
        told = self.arm.emulate.model_dump(mode="json") if self.arm.emulate else {}
        return {name: str(value) for name, value in told.items()}

    def command(self, config: ServerConfig) -> list[str]:
        """The emulator with the arm's timing."""
        emulate = self.arm.emulate
        if emulate is None:
            raise BadInput(f"arm {self.arm.name} has no emulate", "api, ttft_ms, itl_ms")
        return [
            sys.executable, "-m", "heavyweight.emulator", "--port", str(config.port),
            "--api", emulate.api, "--slots", str(self.arm.slots or 1),
            "--ttft-ms", str(emulate.ttft_ms), "--itl-ms", str(emulate.itl_ms),
            "--model", self.name_of_model(config), *emulate.flags, *self.arm.flags,
        ]  # fmt: skip

    def environment(self, config: ServerConfig) -> dict[str, str]:
        """Output that is not held back, for the log."""
        return {"PYTHONUNBUFFERED": "1"}

    def name_of_model(self, config: ServerConfig) -> str:
        """The model's name in study.toml."""
        return config.model.name

    def answers(self) -> bool:
        """Whether it serves its model."""
        return status_of(f"{self.base_url}/v1/models") == 200

    def identify(self) -> ServerIdentity:
        """The name that it serves; it says of itself that it is emulated."""
        served = [one.get("id") for one in get_json(f"{self.base_url}/v1/models")["data"]]
        self._expect("models", served, [self.served_model])
        return ServerIdentity(server="emulated", version=__version__, model=self.served_model)

    def metrics(self) -> dict[str, float]:
        """Requests at work and waiting, in vLLM's words whatever it imitates."""
        return read_vllm(told(f"{self.base_url}/metrics"))
