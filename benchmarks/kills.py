"""``python -m benchmarks.kills``: kill what measures at random moments, and see what is lost.

A study is begun, one of its processes is killed (SIGKILL: nothing can be tidied up), and the same
command is called again. It survives if every cell that was finished is there unchanged, the study
is whole and as planned, and no server is left over. ``power`` stands for the machine's power: a
copy of the folder as it lay at that moment goes on, as after a reboot.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from heavyweight.paths import cache_dir, study_root
from heavyweight.sealing import Sums
from heavyweight.sealing.sums import sha256
from heavyweight.servers.lock import HOLDER_FILE, Holder
from heavyweight.store import CELL_FILE, RunFolder

VICTIMS = ("command", "papermill", "kernel", "client", "server", "all", "power")
COMMAND = [str(Path(sys.executable).parent / "heavyweight"), "study", "run"]
ENDS_S = 1800.0  # for a command to end; where its server was killed it measures all the rest
SMALL = """
[profiles.kills]
about = "short cells, to be killed in"
model = "emulated"
arms = ["emulated-slots"]
users = [1, 4]
output_tokens = 16
blocks = 1
min_seconds = 1
min_requests = 30
min_waves = 4
cap_seconds = 60
instrument_seconds = 0.5
session_minutes = { emulated-slots = 0.3 }
"""


@dataclass(frozen=True)
class Trial:
    """One kill.

    Args:
        victim: one of :data:`VICTIMS`.
        after_s: from the start of the command.
        kept: finished cells at that moment.
        lost: what was not as it should be, in words; empty: it survived.
    """

    victim: str
    after_s: float
    kept: int
    lost: str


@contextlib.contextmanager
def small_study(place: Path) -> Iterator[Path]:
    """A study's folder with the profile ``kills`` of emulated servers; the working directory."""
    here, root = Path.cwd(), study_root()
    place.mkdir(exist_ok=True)
    text = (root / "study.toml").read_text(encoding="utf-8")
    (place / "study.toml").write_text(text + SMALL, encoding="utf-8")
    if not (place / "notebooks").exists():
        (place / "notebooks").symlink_to(root / "notebooks")
    os.chdir(place)
    try:
        yield place
    finally:
        os.chdir(here)


def tried(root: Path, profile: str, name: str, victim: str, after_s: float) -> Trial:
    """Begin a study, kill, go on, and look.

    Args:
        root: the study's folder.
        profile: that is measured.
        name: of the run; there must be none.
        victim: what is killed.
        after_s: when; the moment is the next at which the victim lives.
    """
    run = root / "data" / "runs" / name
    command = [*COMMAND, "--profile", profile, "--run", name]
    started = time.monotonic()
    first = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    pids: list[int] = []
    while first.poll() is None:
        if time.monotonic() - started >= after_s and (pids := _pids(first.pid, victim)):
            break
        time.sleep(0.01)
    before = _cells(run)
    if victim == "power" and run.exists():
        copy = run.with_name(f"{name}-copy")
        _copied(run, copy)
        before, run = _cells(copy), copy
        command[-1] = copy.name
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic() - started
    try:
        first.communicate(timeout=ENDS_S)
    except subprocess.TimeoutExpired:
        first.kill()
        return Trial(victim, killed_s, len(before), "the command did not end")
    second = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if second.returncode:
        return Trial(victim, killed_s, len(before), f"it did not go on: {second.stderr[-500:]}")
    return Trial(victim, killed_s, len(before), _lost(run, before))


def _pids(command: int, victim: str) -> list[int]:
    """The processes that are killed; empty: the victim is not there just now."""
    try:
        top = psutil.Process(command)
        below = top.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    held, mine = holder(), {command, *(process.pid for process in below)}
    served = _server(held) if held and held.holder.pid in mine else []  # another study has one, too
    words: dict[str, list[int]] = {"command": [command], "server": served}
    for process in below:
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            for kind, mark in (("papermill", "-m papermill"), ("kernel", "ipykernel_launcher"),
                               ("client", "-m heavyweight.load")):  # fmt: skip
                if mark in line and process.pid not in words["server"]:
                    words.setdefault(kind, []).append(process.pid)
    if victim in ("all", "power"):
        return [pid for kind in words.values() for pid in kind]
    return words.get(victim, [])


def holder() -> Holder | None:
    """Who holds the machine, and the server that it started; None: nobody."""
    try:
        return Holder.model_validate_json((cache_dir() / HOLDER_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _server(held: Holder | None) -> list[int]:
    return [known.pid for known in held.server if known.alive()] if held else []


def _busy(run: Path) -> list[int]:
    """The work beside which a calibration measures, of the study that the run belongs to."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = Path(process.cwd()) in run.parents
            if mine and "heavyweight.instrument.busy" in process.cmdline():
                found.append(process.pid)
    return found


def _copied(run: Path, copy: Path) -> None:
    """The folder as it lies, while it is written to: what vanishes meanwhile is not there."""
    for path in sorted(run.rglob("*")):
        target = copy / path.relative_to(run)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, target)


def _cells(run: Path) -> dict[str, str]:
    """Finished cells by name: their checksum."""
    found = {}
    for path in sorted(run.rglob("*.parquet")):
        hidden = any(part.startswith(".") for part in path.relative_to(run).parts)
        if CELL_FILE.fullmatch(path.name) and not hidden:
            found[path.relative_to(run).as_posix()] = sha256(path)
    return found


def _lost(run: Path, before: dict[str, str]) -> str:
    """What is not as it should be after the study went on; empty: nothing."""
    after = _cells(run)
    if changed := [name for name, digest in before.items() if after.get(name) != digest]:
        return f"finished cells are gone or were measured again: {', '.join(changed)}"
    folder = RunFolder.open(run)
    cells = [file.cell for session in folder.sessions() for file in session.cells()]
    record = folder.run
    planned = record.blocks * len(record.arms) * len(record.users)
    if len(cells) != planned or len({cell.cell_id for cell in cells}) != planned:
        return f"{len(cells)} cells where {planned} were planned"
    if not all(session.record.complete for session in folder.sessions()):
        return "a session is not complete"
    sums = Sums.read(run)
    if sums is None or not sums.compared().intact:
        return "its checksums do not fit"
    if left := _server(holder()):
        return f"a server is left over: {left}"
    if left := _busy(run):
        return f"work that keeps cores busy is left over: {left}"
    groups = {start.pgid for one in folder.sessions() for start in one.record.starts}
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) in groups:
                return f"process {pid} of a server is left over"
    return ""


def trials(
    root: Path, profile: str, victims: Sequence[str], times: int, seed: int, longest_s: float
) -> Iterator[Trial]:
    """Kills at random moments, the victims in turn."""
    draw = random.Random(seed)
    for number in range(times):
        name = f"kills-{os.getpid()}-{number}"
        trial = tried(
            root, profile, name, victims[number % len(victims)], draw.uniform(0.5, longest_s)
        )
        yield trial
        if not trial.lost:
            for path in (root / "data" / "runs").glob(f"{name}*"):
                shutil.rmtree(path)


def main() -> int:
    """Print each kill as it is made, and how many were survived."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--times", type=int, default=21, help="kills, the victims in turn")
    parser.add_argument("--profile", default="", help="of real servers; else emulated ones")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="only these")
    parser.add_argument("--longest", type=float, default=30.0, help="latest moment, in s")
    asked = parser.parse_args()
    survived = 0
    with contextlib.ExitStack() as stack:
        root = study_root()
        if not asked.profile:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="heavyweight-kills-"))
            root = stack.enter_context(small_study(Path(place)))
        print("victim      after    cells kept   then", flush=True)
        for trial in trials(
            root, asked.profile or "kills", asked.victim or VICTIMS, asked.times, asked.seed,
            asked.longest,
        ):  # fmt: skip
            survived += not trial.lost
            print(f"{trial.victim:<11}{trial.after_s:5.1f} s  {trial.kept:>6}       "
                  f"{trial.lost or 'went on, nothing lost'}", flush=True)  # fmt: skip
    print(f"{survived} of {asked.times} kills survived")
    return int(survived < asked.times)


if __name__ == "__main__":
    sys.exit(main())
