"""What a server is found to be, and what one start of it is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heavyweight.paths import scrub
from heavyweight.records import Software

if TYPE_CHECKING:
    from heavyweight.design import Arm, Model
    from heavyweight.models import PreparedArtefact


@dataclass(frozen=True)
class Installed:
    """A server that is on this machine and said its version when it was run.

    Attributes:
        name: ollama, vllm or emulated.
        version: as it said itself.
        path: the program, or the Python that runs it.
        build: where it comes from, flags, checksums; kept in every session's record.
    """

    name: str
    version: str
    path: Path
    build: dict[str, str]

    def software(self) -> Software:
        """The same as a record, without names of this machine."""
        detail = {key: scrub(value) for key, value in self.build.items()}
        return Software(name=self.name, version=self.version, detail=detail)


@dataclass(frozen=True)
class ServerConfig:
    """What one start of a server is given.

    Attributes:
        arm: server, version, slots and flags.
        model: the weights.
        cores: processors of the server and all that it starts.
        context_tokens: context of one slot.
        port: on 127.0.0.1, checked to be free.
        log_path: gets stdout and stderr.
        seed: of the server, where it takes one.
        artefact: the model's file or folder; None where the arm loads none.
        default_port: the server is not told its port, which is the one that it comes with.
    """

    arm: Arm
    model: Model
    cores: list[int]
    context_tokens: int
    port: int
    log_path: Path
    seed: int
    artefact: PreparedArtefact | None = None
    default_port: bool = False
