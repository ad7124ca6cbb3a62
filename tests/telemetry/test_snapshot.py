"""CPU time is put down to the one who used it."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from heavyweight import telemetry
from heavyweight.telemetry import Snapshot, between, snapshot

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
IDLE = Snapshot(
    monotonic_ns=0, busy_s=100.0, steal_s=1.0, swapped_bytes=4096, server_cpu_s=10.0,
    server_rss_bytes=1000, client_cpu_s=5.0, study_cpu_s=2.0,
)  # fmt: skip


def spawn(code: str, **kwargs) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kwargs
    )


def test_the_parts_add_up():
    later = replace(
        IDLE, monotonic_ns=2_000_000_000, busy_s=103.0, steal_s=1.25, swapped_bytes=12288,
        server_cpu_s=11.5, server_rss_bytes=3000, client_cpu_s=5.5, study_cpu_s=2.25,
    )  # fmt: skip
    load = between(IDLE, later)
    assert load.elapsed_s == 2.0
    assert (load.server_cpu_s, load.client_cpu_s, load.other_cpu_s) == (1.5, 0.5, 0.75)
    assert (load.steal_s, load.swapped_bytes, load.server_rss_bytes) == (0.25, 8192, 3000)


@pytest.mark.parametrize(
    ("wall_s", "boottime_s", "slept_s", "set_s"),
    [
        (2.0, 2.0, 0.0, 0.0),
        (3602.0, 2.0, 0.0, 3600.0),  # the clock was set forward
        (-58.0, 2.0, 0.0, -60.0),  # and back
        (12.0, 12.0, 10.0, 0.0),  # the machine slept: the wall clock went on, the monotonic did not
        (3612.0, 12.0, 10.0, 3600.0),
    ],
)
def test_sleep_and_a_clock_that_is_set_are_told_apart(wall_s, boottime_s, slept_s, set_s):
    first = replace(IDLE, wall_ns=10**18, boottime_ns=10**15)
    later = replace(
        first, monotonic_ns=2 * 10**9, wall_ns=10**18 + int(wall_s * 1e9),
        boottime_ns=10**15 + int(boottime_s * 1e9),
    )  # fmt: skip
    load = between(first, later)
    assert (load.elapsed_s, load.suspended_s, load.clock_set_s) == (2.0, slept_s, set_s)


def test_the_clocks_of_this_machine_agree_while_nobody_sets_them():
    first = Snapshot.take(None, os.getpid())
    time.sleep(0.05)
    load = between(first, Snapshot.take(None, os.getpid()))
    assert abs(load.suspended_s) < 0.02
    assert abs(load.clock_set_s) < 0.02


def test_a_system_that_tells_no_clock_of_sleep():
    load = between(IDLE, replace(IDLE, monotonic_ns=10**9))
    assert (load.suspended_s, load.clock_set_s) == (None, None)


def test_a_remainder_below_zero_is_rounding():
    later = replace(IDLE, monotonic_ns=1, server_cpu_s=10.02)
    assert between(IDLE, later).other_cpu_s == 0.0


def test_a_server_that_is_not_ours_counts_as_unknown():
    first = replace(IDLE, server_cpu_s=None, server_rss_bytes=None)
    load = between(first, replace(first, monotonic_ns=10**9, busy_s=101.0))
    assert load.server_cpu_s is None
    assert load.server_rss_bytes is None
    assert load.other_cpu_s == 1.0


@pytest.mark.parametrize("change", [{"monotonic_ns": 0}, {"monotonic_ns": 9, "server_cpu_s": None}])
def test_snapshots_that_do_not_belong_together_are_refused(change):
    with pytest.raises(ValueError, match="snapshot"):
        between(IDLE, replace(IDLE, **change))


def test_a_process_group_is_the_child_and_its_children():
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True); input(); child.communicate(b'\\n')"
    )
    parent = spawn(code, start_new_session=True)
    try:
        child = int(parent.stdout.readline())
        seen = {process.pid for process in telemetry.process_group(parent.pid)}
        assert seen == {parent.pid, child}
        assert telemetry.rss_bytes(telemetry.process_group(parent.pid)) > 2**20
    finally:
        parent.communicate(b"\n", timeout=30)
    assert telemetry.process_group(parent.pid) == []


def test_a_process_that_left_the_group_is_still_the_servers():
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE,\n"
        "                         process_group=0)\n"
        "print(child.pid, flush=True); input(); child.communicate(b'\\n')"
    )
    parent = spawn(code, start_new_session=True)
    try:
        child = int(parent.stdout.readline())
        assert os.getpgid(child) != parent.pid
        assert child in {process.pid for process in telemetry.process_group(parent.pid)}
    finally:
        parent.communicate(b"\n", timeout=30)


def test_work_is_put_down_to_the_server_even_when_its_worker_ended():
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {BURN.format(seconds=0.4)!r}])\n"
        "print('done', flush=True); input()"
    )
    server = spawn(code, start_new_session=True)
    try:
        first = Snapshot.take(server.pid, os.getpid())
        server.stdout.readline()
        load = between(first, Snapshot.take(server.pid, os.getpid()))
    finally:
        server.communicate(b"\n", timeout=30)
    assert load.server_cpu_s >= 0.3
    assert load.client_cpu_s < load.server_cpu_s
    assert load.server_rss_bytes > 2**20


def test_work_of_a_stranger_is_other_work():
    first = Snapshot.take(None, os.getpid())
    # Its CPU time must not reach the client as that of a child that it waited for.
    stranger = spawn(BURN.format(seconds=0.5), start_new_session=True)
    deadline = time.monotonic() + 60
    while psutil.Process(stranger.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    load = between(first, Snapshot.take(None, os.getpid()))
    stranger.communicate()
    assert load.other_cpu_s >= 0.4


def test_the_kernel_above_the_load_generator_is_not_other_work():
    client = spawn("input()")
    try:
        before = snapshot._study_cpu_s(client.pid)
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        assert snapshot._study_cpu_s(client.pid) - before >= 0.15
    finally:
        client.communicate(b"\n", timeout=30)


def test_a_client_that_is_gone_raises_nothing():
    gone = spawn("pass")
    gone.communicate()
    assert Snapshot.take(None, gone.pid).client_cpu_s == 0.0
