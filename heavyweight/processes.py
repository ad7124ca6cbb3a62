"""Processes told apart by more than their number, and the command that started this one."""

from __future__ import annotations

import os

import psutil
from pydantic import BaseModel, ValidationError

SAME_CREATION_S = 1.0  # a pid is not given away twice within that time
RUNNER = "HEAVYWEIGHT_RUNNER"


class Known(BaseModel):
    """A process, so that another one that got its pid later is not taken for it."""

    pid: int
    created_s: float

    @classmethod
    def of(cls, process: psutil.Process) -> Known:
        """The process as it is now."""
        return cls(pid=process.pid, created_s=process.create_time())

    def alive(self) -> bool:
        """Whether this very process runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created_s) < SAME_CREATION_S
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def told_to_children() -> dict[str, str]:
    """The environment of a notebook that this process starts and waits for."""
    return os.environ | {RUNNER: Known.of(psutil.Process()).model_dump_json()}


def runner() -> Known | None:
    """The command that started this notebook and waits for it; None: there is none."""
    try:
        return Known.model_validate_json(os.environ.get(RUNNER, ""))
    except ValidationError:
        return None
