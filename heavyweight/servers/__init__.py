"""Servers: install, start, ready, identify, stop."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal

from heavyweight.errors import BadInput
from heavyweight.kinds import SERVERS
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
from heavyweight.servers.ports import port_for

if TYPE_CHECKING:
    from heavyweight.design import Arm

__all__ = [
    "Installed", "ManagedProcess", "Progress", "Server", "ServerConfig", "adapter",
    "check_port_free", "cores", "free_port", "install", "installed", "port_for", "server_for",
]  # fmt: skip


def adapter(kind: str) -> type[Server]:
    """The class of a kind of server, as :data:`heavyweight.kinds.SERVERS` names it."""
    module, _, name = SERVERS[kind].adapter.partition(":")
    found: type[Server] = getattr(importlib.import_module(module), name)
    return found


def server_for(arm: Arm, allow_remote: bool = False) -> Server:
    """The server of an arm, not started.

    Args:
        arm: of study.toml.
        allow_remote: whether an arm's own URL may be on another machine.

    Raises:
        BadInput: the arm's URL cannot be used.
    """
    return adapter(arm.server)(arm, allow_remote)


def installed(arm: Arm) -> Installed | None:
    """What was installed for an arm; None where nothing needs to be.

    Raises:
        NotInstalled: it is missing.
    """
    return server_for(arm).installed() if arm.started else None


def install(kind: str, progress: Progress, version: str | None = None) -> Installed:
    """Install a server of a kind (ollama, vllm); what is there and right is kept."""
    return adapter(kind).install(progress, version)


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
