"""Addresses of servers: read strictly, so that no two readers see two hosts in one of them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from heavyweight.errors import BadInput

# Letters, digits, dot, dash and underscore, or an IPv6 address in brackets; then perhaps a port.
# User names, backslashes, blanks and whatever else parsers read in different ways are refused.
_PLACE = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::\d{1,5})?")
_PATH = re.compile(r"[A-Za-z0-9._~/-]*")


def server_root(base_url: str, allow_remote: bool = False) -> str:
    """The address of a server without /v1.

    Raises:
        BadInput: no http address, one with a user or a password, or another machine's without
            leave.
    """
    try:
        url = urlsplit(base_url)
        host, port = url.hostname, url.port
    except ValueError:  # a port that is no number, a bracket that is not closed
        raise _no_address(base_url) from None
    if url.username is not None or url.password is not None:
        raise BadInput(
            "an address with a user or a password in it",
            "something like http://127.0.0.1:8000/v1",
            "leave it out; a key is sent by `heavyweight load --header`, from the environment",
        )
    plain = _PLACE.fullmatch(url.netloc) and _PATH.fullmatch(url.path)
    apart = url.query or url.fragment or not base_url.isprintable() or base_url != base_url.strip()
    if url.scheme not in ("http", "https") or not host or not plain or apart or port == 0:
        raise _no_address(base_url)
    if not (allow_remote or is_loopback(host)):
        raise BadInput(
            f"{host} is another machine",
            "a server on this machine (127.0.0.1, ::1 or localhost), so that no load is sent to"
            " others by mistake",
            "say --allow-remote if it is yours: the rate and the bound of the load are told first",
        )
    return base_url.rstrip("/").removesuffix("/v1")


def _no_address(base_url: str) -> BadInput:
    return BadInput(
        f"{base_url.rpartition('@')[2]!r} is no address of a server",
        "something like http://127.0.0.1:8000/v1",
        "check --base-url, or base_url in study.toml",
    )


def port_of(url: str) -> int:
    """The port of an address of a server; where it names none, the one of its scheme."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, without asking a name server.

    Other names than localhost may be resolved to any machine, those that end in .localhost too: a
    name server is asked for them where the system does not know better.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
