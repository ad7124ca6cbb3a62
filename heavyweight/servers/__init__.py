"""Servers: install, start, ready, identify, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from heavyweight.errors import BadInput
from heavyweight.machine import usable_cores
from heavyweight.servers.base import (
    Installed,
    ManagedProcess,
    Progress,
    Server,
    ServerConfig,
    check_port_free,
    free_port,
)
from heavyweight.servers.emulated import EmulatedServer
from heavyweight.servers.ollama import OllamaServer
from heavyweight.servers.openai import OpenaiServer
from heavyweight.servers.ports import port_for
from heavyweight.servers.vllm import VllmServer

if TYPE_CHECKING:
    from heavyweight.design import Arm

__all__ = [
    "Installed", "ManagedProcess", "Progress", "Server", "ServerConfig", "check_port_free",
    "cores", "free_port", "install", "installed", "port_for", "server_for",
]  # fmt: skip

KINDS: dict[str, type[Server]] = {
    kind.kind: kind for kind in (OllamaServer, VllmServer, OpenaiServer, EmulatedServer)
}


def server_for(arm: Arm, allow_remote: bool = False) -> Server:
    """The server of an arm, not started.

    Args:
        arm: of study.toml.
        allow_remote: whether an arm's own URL may be on another machine.

    Raises:
        BadInput: the arm's URL cannot be used.
    """
    if arm.server == OpenaiServer.kind:
        return OpenaiServer(arm, allow_remote)
    return KINDS[arm.server](arm)


def installed(arm: Arm) -> Installed | None:
    """What was installed for an arm; None where nothing needs to be.

    Raises:
        NotInstalled: it is missing.
    """
    return None if arm.server == OpenaiServer.kind else server_for(arm).installed()


def install(kind: str, progress: Progress, version: str | None = None) -> Installed:
    """Install a server of a kind (ollama, vllm); what is there and right is kept."""
    return KINDS[kind].install(progress, version)


def cores(wanted: Literal["all"] | list[int]) -> list[int]:
    """The processors that every server gets.

    Raises:
        BadInput: one that this process may not use.
    """
    usable = usable_cores()
    chosen = usable if wanted == "all" else sorted(set(wanted))
    if not chosen or not set(chosen) <= set(usable):
        raise BadInput(f"cores = {wanted}", f"some of {usable}", "correct `cores` in study.toml")
    return chosen
