"""What answers at a URL: its model, its version, and its processes if they can be seen."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil

from heavyweight import keys
from heavyweight.errors import BadInput, ServerError
from heavyweight.load.address import is_loopback, port_of, server_root
from heavyweight.load.apis import api_for
from heavyweight.paths import scrub
from heavyweight.servers.asking import get_json
from heavyweight.text import plain

PATIENCE_S = 10.0
MOST_SAID = 200  # characters
STATE_ROUTE = "/emulator/state"
VERSION_ROUTES = ("/api/version", "/version")
_FORWARDERS = ("docker-proxy", "rootlessport", "pasta", "slirp4netns", "sshd", "ssh")


@dataclass(frozen=True)
class Target:
    """A server that runs already.

    Args:
        base_url: without /v1.
        api: how it is spoken to.
        model: name under which it serves the model.
        headers: of each request; never stored. A value may name a variable, ``$MY_KEY``.
        emulated: it says of itself that it imitates a server.
        version: as it said; None: it has no such route.
        pgid: process group, where it is on this machine and can be seen.
    """

    base_url: str
    api: str
    model: str
    headers: dict[str, str] = field(repr=False)
    emulated: bool
    version: str | None
    pgid: int | None

    @property
    def server(self) -> Literal["openai", "emulated"]:
        """The kind of server."""
        return "emulated" if self.emulated else "openai"

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def public_model(self) -> str:
        """The model's name as it may be stored: some servers call it by its path."""
        return _told(self.model)

    @property
    def public_url(self) -> str | None:
        """The address as it may be stored: only this machine's."""
        return self.base_url if self.here else None


def find(
    url: str, api: str, model: str | None, headers: dict[str, str], allow_remote: bool
) -> Target:
    """Ask a server what it is.

    Raises:
        BadInput: no address of a server, another machine's without leave, a model that it does
            not serve, or several models and none named.
        ServerError: nobody answers there.
    """
    api_for(api)
    root = server_root(url, allow_remote)
    said = _json(f"{root}{STATE_ROUTE}", headers)
    emulated = isinstance(said, dict) and "in_flight" in said
    versions = (_json(f"{root}{route}", headers) for route in VERSION_ROUTES)
    found = next(
        (_told(v["version"]) for v in versions if isinstance(v, dict) and "version" in v), None
    )
    return Target(
        base_url=root,
        api=api,
        model=_model(root, api, model, headers),
        headers=headers,
        emulated=emulated,
        version=found,
        pgid=process_group_of(root),
    )


def _told(said: object) -> str:
    """What a server says of itself, as it may be stored and shown."""
    return scrub(plain(str(said)))[:MOST_SAID]


def _asked(url: str, headers: dict[str, str]) -> Any:
    sent = {name: keys.expanded(name, value) for name, value in headers.items()}
    return get_json(url, PATIENCE_S, sent)


def _json(url: str, headers: dict[str, str]) -> Any:
    """What a route says; None where there is no such route."""
    try:
        return _asked(url, headers)
    except ServerError:
        return None


def _model(root: str, api: str, model: str | None, headers: dict[str, str]) -> str:
    """The model that was named, if it is served; else the only one that is."""
    ollama = api.startswith("ollama")
    route = "/api/tags" if ollama else "/v1/models"
    try:
        said = _asked(f"{root}{route}", headers)
    except ServerError as error:
        if isinstance(error.__cause__, OSError) and getattr(error.__cause__, "code", None) is None:
            raise ServerError(
                f"no server answers at {root}",
                "a server that runs",
                "start it, or mend the URL",
            ) from error
        if model is not None:  # it answers, and does not list its models
            return model
        raise ServerError(
            f"the server does not list its models at {route}", "a list", "name one with --model"
        ) from error
    served = _names(said, ollama)
    if model is None and len(served) == 1:
        return served[0]
    wanted = (model, f"{model}:latest")  # as Ollama calls a model without a tag
    if model is not None and any(name in served for name in wanted):
        return model
    raise BadInput(
        f"it serves no model {model!r}" if model else f"it serves {len(served)} models",
        f"one of {', '.join(served)}" if served else "a server that has a model",
        "name one of them with --model" if served else "load a model into the server",
    )


def _names(said: Any, ollama: bool) -> list[str]:
    key, name = ("models", "name") if ollama else ("data", "id")
    entries = said.get(key) if isinstance(said, dict) else None
    return [str(one[name]) for one in entries or [] if isinstance(one, dict) and name in one]


def process_group_of(root: str) -> int | None:
    """The process group that listens at an address of this machine.

    Returns:
        None where it is another machine, the process cannot be seen, only forwards to a server
        elsewhere (a container, a tunnel), or shares its group with this process.
    """
    if not is_loopback(urlsplit(root).hostname or ""):
        return None
    port = port_of(root)
    with contextlib.suppress(psutil.Error, OSError, PermissionError, AttributeError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if listens and connection.pid is not None:
                if psutil.Process(connection.pid).name() in _FORWARDERS:
                    return None
                group = os.getpgid(connection.pid)
                return None if group in (os.getpgid(0), os.getsid(0)) else group
    return None
