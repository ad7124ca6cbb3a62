"""How far the clocks of two machines are apart, and how sure that is.

Processes of one boot of one machine share CLOCK_MONOTONIC. Between machines the clock is asked over
a connection of its own, many times: a stamp that came back between two of ours lies between them,
so the exchange with the smallest delay bounds the offset by half of that delay (Cristian 1989,
"Probabilistic clock synchronization", Distributed Computing 3).
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from heavyweight.errors import StudyError

PINGS = 400
PATIENCE_S = 10.0
TOKEN_BYTES = 16
_STAMP_BYTES = 8
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")


def clock_name() -> str:
    """Which CLOCK_MONOTONIC this process reads: equal names, one clock.

    It is the boot of the kernel and the process's time namespace; where neither is known (no
    Linux), a name that equals no other.
    """
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return f"unknown-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        return f"{boot} {os.readlink(_TIME_NAMESPACE)}"
    except OSError:  # a kernel without time namespaces
        return boot


@dataclass(frozen=True)
class Reading:
    """Another clock, seen from this one.

    Args:
        offset_ns: it less this machine's.
        error_ns: by how much the offset may be wrong.
    """

    offset_ns: int
    error_ns: int


SAME = Reading(0, 0)


def new_token() -> str:
    """What a caller must know to be answered by a served clock."""
    return secrets.token_hex(TOKEN_BYTES)


def serve_clock(host: str, token: str) -> int:
    """Answer the pings of one caller that knows the token, in a thread; returns the port.

    The thread ends with the connection, or when nobody calls.

    Args:
        host: address on which this machine is reached.
        token: of :func:`new_token`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    listener.settimeout(PATIENCE_S)
    threading.Thread(target=_answer, args=(listener, bytes.fromhex(token)), daemon=True).start()
    return int(listener.getsockname()[1])


def _answer(listener: socket.socket, token: bytes) -> None:
    with listener:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
    with connection:
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if not secrets.compare_digest(_read(connection, TOKEN_BYTES), token):
                return
            while connection.recv(1):
                connection.sendall(time.perf_counter_ns().to_bytes(_STAMP_BYTES, "big"))
        except OSError:
            return


def read_clock(host: str, port: int, token: str) -> Reading:
    """Ask a served clock.

    Raises:
        StudyError: it cannot be reached.
    """
    best: Reading | None = None
    try:
        with socket.create_connection((host, port), PATIENCE_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(bytes.fromhex(token))
            for _ in range(PINGS):
                before_ns = time.perf_counter_ns()
                connection.sendall(b"?")
                theirs_ns = int.from_bytes(_read(connection, _STAMP_BYTES), "big")
                delay_ns = time.perf_counter_ns() - before_ns
                if best is None or delay_ns // 2 + 1 < best.error_ns:
                    best = Reading(theirs_ns - before_ns - delay_ns // 2, delay_ns // 2 + 1)
    except OSError as error:
        raise StudyError(
            f"the clock of a worker cannot be compared: {error}",
            "workers that can be reached from here on any port",
            "open the firewall between them, or use workers of this machine: --fleet local:N",
        ) from error
    assert best is not None
    return best


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("the connection was closed")
        data += more
    return data


def between(before: Reading, after: Reading) -> Reading:
    """The offset while a load ran, from the readings around it.

    The offset moves from the one reading to the other (drift = after - before); in the middle it
    is wrong by at most half of that, besides the worse of both readings.
    """
    drift_ns = after.offset_ns - before.offset_ns
    return Reading(
        before.offset_ns + drift_ns // 2,
        max(before.error_ns, after.error_ns) + (abs(drift_ns) + 1) // 2,
    )


def furthest_apart_ns(readings: list[Reading]) -> int:
    """How far any two of the clocks may be apart once their offsets are taken off."""
    return sum(sorted(reading.error_ns for reading in readings)[-2:])
