"""Ports on 127.0.0.1: whether somebody answers, and which are free."""

from __future__ import annotations

import socket

from heavyweight.errors import PortTaken

LOOPBACK = "127.0.0.1"


def port_open(port: int, timeout_s: float = 1.0) -> bool:
    """Whether somebody accepts connections on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _bindable(port: int) -> int | None:
    """The port that could be bound (``port`` 0: any); None if it cannot."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def check_port_free(port: int) -> None:
    """Make sure that nobody answers on the port, and that it can be bound.

    Raises:
        PortTaken: somebody does, or it cannot be.
    """
    if port_open(port) or _bindable(port) is None:
        raise PortTaken(
            f"port {port} on {LOOPBACK} is taken",
            "a free port: a server left over would answer in place of the one that is started",
            f"stop what listens there (ss -ltnp 'sport = :{port}') or choose another port",
        )


def port_for(asked: int | None) -> int:
    """The port that was asked for, which must be free, or any free one.

    Raises:
        PortTaken: somebody listens there.
    """
    if asked is None:
        return free_port()
    check_port_free(asked)
    return asked


def free_port() -> int:
    """Any free port."""
    port = _bindable(0)
    if port is None:
        raise PortTaken("no free port on " + LOOPBACK, "", "close some connections")
    return port
