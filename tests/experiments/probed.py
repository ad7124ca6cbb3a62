"""Emulated servers of known behaviour, and a prober that is put to one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heavyweight import servers
from heavyweight.design import Arm, load_study
from heavyweight.experiments.footprint import Footprint
from heavyweight.experiments.probes import Mechanism, Prober
from heavyweight.machine import usable_cores
from heavyweight.parameters import Parameters
from heavyweight.servers.emulated import EmulatedServer
from heavyweight.setting import Setting

ROOT = Path(__file__).parents[2]
STUDY = load_study(ROOT / "study.toml")


def arm(
    *flags: str, slots: int = 1, ttft_ms: float = 5, itl_ms: float = 5, api: str = "ollama"
) -> Arm:
    """An emulated arm; ``flags`` are the emulator's."""
    emulate = {"api": api, "ttft_ms": ttft_ms, "itl_ms": itl_ms, "flags": list(flags)}
    return Arm.model_validate(
        {"name": "emulated-arm", "label": "EMULATED", "server": "emulated", "artefact": "none",
         "slots": slots, "emulate": emulate}
    )  # fmt: skip


def setting(of: Arm) -> Setting:
    """What a session of that arm is."""
    profile = STUDY.profile("emulated")
    return Setting(
        root=ROOT, study=STUDY, profile=profile, arm=of, model=STUDY.model("emulated"),
        parameters=Parameters.checked({"arm": "emulated-slots", "profile": "emulated"}),
        cores=usable_cores(), artefact=None, installed=None,
    )  # fmt: skip


@contextmanager
def started(of: Arm, folder: Path, name: str = "server") -> Iterator[EmulatedServer]:
    """The server of an arm, ready, and stopped in the end."""
    server = EmulatedServer(of)
    config = setting(of).server_config(
        of, port=servers.free_port(), log_path=folder / f"{name}.log"
    )
    server.start(config)
    try:
        server.ready()
        yield server
    finally:
        server.stop()


@contextmanager
def probing(mechanism: Mechanism, of: Arm, folder: Path, **fields: Any) -> Iterator[Prober]:
    """A prober whose server runs, where the probe does not start its own."""

    @contextmanager
    def starting(other: Arm) -> Iterator[servers.Server]:
        with started(other, folder, "own") as server:
            yield server

    if mechanism.own_start:
        yield Prober(mechanism, setting(of), EmulatedServer(of), folder, starting, **fields)
        return
    with started(of, folder) as server:
        assert server.process
        ready = Footprint.of(server.process.pgid)
        given = {"at_ready": ready} | fields
        yield Prober(mechanism, setting(of), server, folder, starting, **given)
