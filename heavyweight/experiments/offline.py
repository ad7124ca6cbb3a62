"""``python -m heavyweight.experiments.offline SPEC.json``: one start, one question, one stop.

Run inside a network namespace of its own (``unshare --net``), it brings up the loopback, which is
the only interface there, and says what the server did.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from heavyweight import load, models, servers
from heavyweight.design import Arm, Model
from heavyweight.errors import StudyError
from heavyweight.paths import scrub
from heavyweight.store import write_text
from heavyweight.workload import RESERVED

ELSEWHERE = ("192.0.2.1", 9)  # an address for documentation, which belongs to nobody (RFC 5737)
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
PATIENCE_S = 1.0


class Spec(BaseModel):
    """What is started, and where it is told what came of it.

    Attributes:
        parent_pid: the server is stopped when this process is gone.
        start_s: how long the server may take to be ready.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: Arm
    model: Model
    cores: list[int]
    context_tokens: int
    seed: int
    block: int
    log_path: Path
    told_path: Path
    parent_pid: int
    start_s: float


class Told(BaseModel):
    """What was seen.

    Attributes:
        interfaces: of the network, by name.
        outside: what came of an attempt to leave the machine.
        answered: whether the server streamed an answer.
        ready_ms: spawn to ready.
        first_token_ms: spawn to the first token.
        error: why it did not answer; empty if it did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    interfaces: list[str]
    outside: Literal["unreachable", "reached", "silent"]
    answered: bool = False
    ready_ms: float | None = None
    first_token_ms: float | None = None
    error: str = ""


def loopback_up() -> None:
    """Bring up the loopback of this network namespace; nothing happens where it is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack_from("16xH", fcntl.ioctl(any_socket, _GET_FLAGS, request))[0]
        if not flags & _UP:
            fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14s", b"lo", flags | _UP, b""))


def outside() -> Literal["unreachable", "reached", "silent"]:
    """Try to open a connection to another machine, that there is not."""
    try:
        with socket.create_connection(ELSEWHERE, timeout=PATIENCE_S):
            return "reached"
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "reached"
    except OSError:
        return "unreachable"


def interfaces() -> list[str]:
    """Names of the network interfaces that this process sees."""
    return sorted(name for _, name in socket.if_nameindex())


def observe(spec: Spec) -> Told:
    """Start the server, ask it one question, and stop it."""
    loopback_up()
    seen = Told(interfaces=interfaces(), outside=outside())
    server = servers.server_for(spec.arm)
    try:
        config = servers.ServerConfig(
            arm=spec.arm,
            model=spec.model,
            cores=spec.cores,
            context_tokens=spec.context_tokens,
            port=servers.free_port(),
            log_path=spec.log_path,
            seed=spec.seed,
            artefact=models.artefact(spec.model, spec.arm.artefact),
        )
        server.start(config)
        ready_ms = server.ready(spec.start_s)
        first = load.first_token(
            server.base_url, server.served_model, server.extra_body,
            seed=spec.seed, block=spec.block, start_id=RESERVED["offline"][0], api=server.api,
        )  # fmt: skip
        assert server.spawned_ns is not None  # it is ours
        first_ms = (first.first_ns - server.spawned_ns) / 1e6
        return seen.model_copy(
            update={"answered": True, "ready_ms": ready_ms, "first_token_ms": first_ms}
        )
    except StudyError as error:
        return seen.model_copy(update={"error": scrub(str(error))})
    finally:
        server.stop()


def _end(*_: object) -> None:
    raise SystemExit(1)  # through observe's finally, which stops the server


def _end_with(parent_pid: int) -> None:
    """Ask this process to end when its parent is gone."""
    while os.getppid() == parent_pid:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Read the spec, observe, and write what was seen."""
    spec = Spec.model_validate_json(Path(arguments[0]).read_text("utf-8"))
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with, args=(spec.parent_pid,), daemon=True).start()
    write_text(spec.told_path, observe(spec).model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
