"""Killed at a random moment, a study goes on: nothing finished is lost, no server is left over.

Many more kills, and those of real servers: ``python -m benchmarks.kills``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.kills import VICTIMS, _pids, small_study, tried
from heavyweight.paths import cache_dir
from heavyweight.processes import Known
from heavyweight.servers.lock import HOLDER_FILE, Holder
from heavyweight.store import write_json

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


@pytest.mark.parametrize("mine", [True, False], ids=["its own server", "another study's server"])
def test_only_the_study_s_own_server_is_killed(mine: bool) -> None:
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(waits) as command, subprocess.Popen(waits) as server:
        try:
            holder = Holder(
                holder=Known.of(psutil.Process(command.pid if mine else os.getpid())),
                since_utc="now",
                server_pgid=server.pid,
                server=[Known.of(psutil.Process(server.pid))],
            )
            write_json(cache_dir() / HOLDER_FILE, holder)
            assert _pids(command.pid, "server") == [server.pid] * mine
        finally:
            (cache_dir() / HOLDER_FILE).unlink(missing_ok=True)
            command.kill()
            server.kill()
