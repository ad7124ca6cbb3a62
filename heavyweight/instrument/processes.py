"""What a calibration starts besides the load generator: the emulated server, and busy cores."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from heavyweight import machine
from heavyweight.errors import NotReady
from heavyweight.instrument.busy import READY
from heavyweight.servers.asking import status_of
from heavyweight.servers.ports import LOOPBACK, free_port
from heavyweight.servers.process import ManagedProcess, clean_environment, tail

READY_S = 90.0  # the busy work has the lowest priority: on a busy machine its start takes long
POLL_S = 0.02
MODEL = "emulated"
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
# One thread of the program is one thread of work.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)


def own_cores() -> tuple[int, int] | None:
    """A core for the client and one for the server; None where there is but one.

    They are not two threads of one core, where there is a choice.
    """
    usable = machine.usable_cores()
    if len(usable) < 2:
        return None
    server, *others = usable
    try:
        text = Path(SIBLINGS.format(server)).read_text("ascii")
    except OSError:
        text = ""
    siblings = core_list(text)
    return ([core for core in others if core not in siblings] or others)[-1], server


def core_list(text: str) -> set[int]:
    """The kernel's list of cores, such as ``0-1,8``; what cannot be read is left out."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last if last.isdigit() else first) + 1))
    return found


@contextmanager
def emulator(
    folder: Path,
    *,
    manner: str,
    ttft_ms: float,
    itl_ms: float,
    slots: int,
    cores: Sequence[int],
    on_start: Callable[[int, int], None],
) -> Iterator[tuple[str, int]]:
    """The emulated server while inside, at normal priority; its log is ``server.jsonl``.

    Args:
        folder: where its log goes.
        manner: whose manner of streaming.
        ttft_ms: time to the first token.
        itl_ms: time between two tokens.
        slots: requests at once.
        cores: that it may use.
        on_start: is told its process group and its port.

    Yields:
        Its URL and its process group.

    Raises:
        NotReady: it did not answer; with its last lines.
    """
    port = free_port()
    command = [
        sys.executable, "-m", "heavyweight.emulator", "--port", str(port), "--api", manner,
        "--slots", str(slots), "--ttft-ms", str(ttft_ms), "--itl-ms", str(itl_ms),
        "--model", MODEL, "--log", str(folder / "server.jsonl"),
    ]  # fmt: skip
    url = f"http://{LOOPBACK}:{port}"
    process = ManagedProcess.spawn(
        command, clean_environment({}), cores, folder / "emulator.log", port
    )
    try:
        on_start(process.pgid, port)
        _wait(process, "the emulated server", lambda: status_of(f"{url}/v1/models") == 200)
        yield url, process.pgid
    finally:
        process.stop()


@contextmanager
def busy_cores(folder: Path, threads: int, cores: Sequence[int]) -> Iterator[None]:
    """Cores kept busy while inside, at the low priority of a study's servers."""
    log = folder / "busy.log"
    process = ManagedProcess.spawn(
        [sys.executable, "-m", "heavyweight.instrument.busy", str(threads), str(os.getpid())],
        clean_environment(ONE_THREAD),
        cores,
        log,
    )
    try:
        process.give_way()
        _wait(process, "the work that keeps cores busy", lambda: READY in tail(log))
        yield
    finally:
        process.stop()


def _wait(process: ManagedProcess, name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not ready():
        if not process.alive() or time.monotonic() > deadline:
            raise NotReady(f"{name} is not ready; its last lines:\n{tail(process.log_path)}")
        time.sleep(POLL_S)
