"""A process is known again whatever becomes of the clock, and no other is taken for it."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from heavyweight import processes
from heavyweight.processes import Known


@pytest.mark.parametrize("set_by_s", [-3600, -1, 1, 3600])
def test_a_wall_clock_that_is_set_makes_nobody_another(
    monkeypatch: pytest.MonkeyPatch, set_by_s: int
) -> None:
    """psutil adds the time of the boot, which the system computes from the wall clock."""
    me = Known.of(psutil.Process())
    created_s, boot_s = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot_s + set_by_s)
    assert psutil.Process().create_time() - created_s == pytest.approx(set_by_s)
    assert me.alive()
    assert Known.of(psutil.Process()) == me


def test_who_has_ended_or_has_another_birth_or_boot_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = Known.of(psutil.Process(child.pid))
    assert known.alive()
    assert not known.model_copy(update={"born": known.born - 1}).alive()
    assert not known.model_copy(update={"boot": "another start of the machine"}).alive()
    child.communicate(b"\n")
    assert not known.alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    known = Known.of(psutil.Process(child.pid))
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert not known.alive()
    child.wait()


def test_a_notebook_knows_the_command_that_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.runner() is None
    monkeypatch.setenv(processes.RUNNER, processes.told_to_children()[processes.RUNNER])
    assert processes.runner() == Known.of(psutil.Process())
