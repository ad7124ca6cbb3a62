"""Killed at a random moment, a study goes on: nothing finished is lost, no server is left over.

Many more kills, and those of real servers: ``python -m benchmarks.kills``.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from benchmarks.kills import VICTIMS, small_study, tried

pytestmark = pytest.mark.notebook


@pytest.mark.timeout(300)
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    # Another victim and another moment each time: that is the point.
    victim, after_s = random.choice(VICTIMS), random.uniform(4, 16)
    with small_study(tmp_path / "study") as root:
        trial = tried(root, "kills", f"kill-{os.getpid()}", victim, after_s)
    assert not trial.lost, f"killed {trial.victim} after {trial.after_s:.2f} s: {trial.lost}"


def test_the_victims_are_all_that_take_part() -> None:
    assert set(VICTIMS) == {
        "command", "papermill", "kernel", "client", "server", "all", "power",
    }  # fmt: skip
