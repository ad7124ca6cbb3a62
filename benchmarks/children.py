"""Programs that are started for one run, each on a core of its own and gone after it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cases import MODEL, Case
from heavyweight.errors import ServerError
from heavyweight.servers.process import ManagedProcess, tail

ROOT = Path(__file__).parent.parent
READY_S = 30.0
GRACE_S = 5.0
SLOTS = 4096  # no request waits for another in the server


def finish(
    command: Sequence[str | Path],
    folder: Path,
    core: int,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a client to its end on one core.

    Args:
        command: program and arguments.
        folder: gets its log.
        core: the only one that it and its children may use.
        timeout_s: it failed if it takes longer.
        env: variables on top of the user's own.

    Raises:
        ServerError: it ended badly or not in time; its last lines are in the message.
    """
    words = [str(word) for word in command]
    log = folder / "client.log"
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    process = ManagedProcess.spawn(words, whole, [core], log)
    try:
        status = process.wait(timeout_s)
    finally:
        process.stop(GRACE_S)
    if status != 0:
        how = f"did not end in {timeout_s:.0f} s" if status is None else f"ended with {status}"
        raise ServerError(f"{Path(words[0]).name} {how}; its last lines:\n{tail(log)}\n")


@contextmanager
def emulator(case: Case, folder: Path, core: int) -> Iterator[tuple[int, Path]]:
    """The emulated server of a case on one core; gives its port and its log, whole at the end."""
    told, log = folder / "server.log", folder / "server.jsonl"
    command = [
        sys.executable, "-m", "heavyweight.emulator", "--api", "vllm", "--slots", str(SLOTS),
        "--ttft-ms", str(case.ttft_ms), "--itl-ms", str(case.itl_ms), "--model", MODEL,
        "--log", str(log),
    ]  # fmt: skip
    process = ManagedProcess.spawn(command, dict(os.environ), [core], told)
    try:
        yield _port(process, told), log
    finally:
        process.stop(GRACE_S)


def _port(process: ManagedProcess, told: Path) -> int:
    """The port that the emulator says on its first line."""
    deadline = time.monotonic() + READY_S
    while process.alive() and time.monotonic() < deadline:
        line, end, _ = told.read_text(encoding="utf-8").partition("\n")
        if end:
            return int(json.loads(line)["port"])
        time.sleep(0.02)
    raise ServerError(f"the emulated server did not start; its last lines:\n{tail(told)}\n")
