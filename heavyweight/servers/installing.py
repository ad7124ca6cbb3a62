"""What every installation shares: the record of what is there, steps with progress, GPUs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from heavyweight.errors import InstallFailed, NotInstalled, ServerError
from heavyweight.machine import cpu_info, usable_cores
from heavyweight.paths import cache_dir
from heavyweight.servers.base import Installed, Progress
from heavyweight.servers.process import ManagedProcess, tail

RECORD = "install.json"
HEARTBEAT_S = 10.0


def folder_of(name: str, version: str) -> Path:
    """Where a version of a server is installed."""
    return cache_dir() / "servers" / f"{name}-{version}"


def find(name: str, version: str) -> Installed:
    """A server that was installed and is still there.

    Raises:
        NotInstalled: it is not.
    """
    record = folder_of(name, version) / RECORD
    try:
        told = json.loads(record.read_text("utf-8"))
        installed = Installed(told["name"], told["version"], Path(told["path"]), told["build"])
    except (OSError, ValueError, KeyError) as error:
        raise _missing(name, version) from error
    if not installed.path.exists() or installed.build.get("processor") not in (None, processor()):
        raise _missing(name, version)
    return installed


def _missing(name: str, version: str) -> NotInstalled:
    return NotInstalled(
        f"{name} {version} is not installed", "", f"heavyweight servers install {name}"
    )


def record(installed: Installed) -> Installed:
    """Write down what was installed, as the last step."""
    path = folder_of(installed.name, installed.version) / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "name": installed.name, "version": installed.version, "path": str(installed.path),
        "build": installed.build,
    }  # fmt: skip
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    temporary.replace(path)
    return installed


@contextmanager
def only_one(name: str, version: str, progress: Progress) -> Iterator[Path]:
    """Hold the installation of one server; a second one waits for the first."""
    folder = folder_of(name, version)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "install.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"waiting for another installation of {name} {version}")
        lock.acquire()
    try:
        yield folder
    finally:
        lock.release()


def step(what: str, command: Sequence[str | Path], log: Path, progress: Progress,
         env: dict[str, str] | None = None) -> None:  # fmt: skip
    """Run one command of an installation, saying every ten seconds that it still runs.

    Args:
        what: told to the user.
        command: program and arguments.
        log: gets its output.
        progress: gets the lines.
        env: variables on top of the user's own.

    Raises:
        InstallFailed: it ended with another status than 0; its last lines are in the message.
    """
    progress(what)
    began = time.monotonic()
    words = [str(word) for word in command]
    process = ManagedProcess.spawn(words, dict(os.environ) | (env or {}), usable_cores(), log)
    try:
        while (status := process.wait(HEARTBEAT_S)) is None:
            last = tail(log, 1)[:100]
            said = f" ({last})" if last[:1].isalpha() else ""  # not a compiler's drawing
            progress(f"{what}: {time.monotonic() - began:.0f} s{said}")
    finally:
        process.stop(5.0)
    if status != 0:
        raise InstallFailed(
            f"{what}: `{words[0]}` ended with status {status}. Its last lines:\n{tail(log)}\n",
            "",
            f"the whole log is {log}; correct what it says and run the command again",
        )


def say(command: Sequence[str | Path], timeout_s: float = 300.0) -> str:
    """What a program prints, its standard error included.

    Raises:
        ServerError: it cannot be run, or ended badly.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{words[0]} cannot be run: {error}", "a program that runs") from error
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ServerError(f"{words[0]} ended with status {done.returncode}:\n{lines}\n", "status 0")
    return done.stdout + done.stderr


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def processor() -> str:
    """Name of the processor and a hash of its flags: what is built for one may not run on another.

    Virtual machines often share a name and not the flags.
    """
    model, flags = cpu_info()
    return f"{model}, flags {hashlib.sha256(' '.join(flags).encode()).hexdigest()[:12]}"
