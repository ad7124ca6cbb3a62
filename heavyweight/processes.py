"""Processes told apart by more than their number, and the command that started this one."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

RUNNER = "HEAVYWEIGHT_RUNNER"
PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
START_TICKS = 19  # proc_pid_stat(5): field 22, counted from the one behind the program's name


class Known(BaseModel):
    """A process, so that another one that got its pid later is not taken for it.

    Its birth is told by the machine's own clock, which nobody sets: by the wall clock, as
    ``psutil.Process.create_time`` has it, every process would be another one when that is set.
    """

    pid: int
    born: float
    boot: str

    @classmethod
    def of(cls, process: psutil.Process) -> Known:
        """The process as it is now.

        Raises:
            psutil.Error: it has ended.
        """
        return cls(pid=process.pid, born=_born(process), boot=_boot())

    def alive(self) -> bool:
        """Whether this very process runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            same = (_born(process), _boot()) == (self.born, self.boot)
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def _born(process: psutil.Process) -> float:
    """Clock ticks from the machine's start to the process's; without /proc, seconds since 1970."""
    try:
        stat = (PROC / str(process.pid) / "stat").read_text("utf-8", "replace")
    except ProcessLookupError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    except OSError:
        return float(process.create_time())
    return float(stat.rpartition(")")[2].split()[START_TICKS])


def _boot() -> str:
    """Which start of the machine this is; empty: the system does not tell."""
    try:
        return BOOT_ID.read_text("utf-8").strip()
    except OSError:
        return ""


def told_to_children() -> dict[str, str]:
    """The environment of a notebook that this process starts and waits for."""
    return os.environ | {RUNNER: Known.of(psutil.Process()).model_dump_json()}


def runner() -> Known | None:
    """The command that started this notebook and waits for it; None: there is none."""
    try:
        return Known.model_validate_json(os.environ.get(RUNNER, ""))
    except ValidationError:
        return None
