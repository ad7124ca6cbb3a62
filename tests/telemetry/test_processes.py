"""Who is the server and who is the study, and CPU time that is counted once."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from heavyweight.telemetry import machine
from heavyweight.telemetry.processes import Census, CpuClock, role

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
A, B = (1, 0.0), (2, 0.0)


@pytest.mark.parametrize(
    ("line", "name", "told"),
    [
        ("/home/someone/bin/ollama serve", "ollama", "ollama serve"),
        ("/home/someone/bin/ollama runner --ollama-engine --port 1", "ollama", "ollama runner"),
        ("python -m vllm.entrypoints.openai.api_server --model /x", "python", "vllm api"),
        ("VLLM::EngineCore", "VLLM::EngineCor", "vllm engine"),
        ("VLLM::Worker_TP1", "VLLM::Worker_TP", "vllm worker"),
        ("python -m heavyweight.emulator --port 1", "python", "emulator"),
        ("python -c from multiprocessing.resource_tracker import main", "python",
         "resource tracker"),
        ("/home/someone/thing --flag", "thing", "thing"),
        ("", "kernel thread", "kernel"),
    ],
)  # fmt: skip
def test_a_process_is_called_by_its_role_and_never_by_a_path(line, name, told):
    assert role(line.split(), name) == told


def test_a_clock_counts_from_the_first_look():
    clock = CpuClock()
    assert clock.update({A: (100.0, 50.0)}) == 0.0
    assert clock.update({A: (101.5, 50.0)}) == 1.5


def test_a_process_that_is_born_and_ends_is_counted_once():
    clock = CpuClock()
    clock.update({A: (1.0, 0.0)})
    assert clock.update({A: (1.0, 0.0), B: (4.0, 0.0)}) == 4.0
    # It used another 0.5 s before it ended, and its parent waited for it.
    assert clock.update({A: (1.0, 4.5)}) == pytest.approx(4.5)
    assert clock.update({A: (2.0, 4.5)}) == pytest.approx(5.5)


def test_a_parent_that_hears_of_the_end_later_counts_it_once():
    clock = CpuClock()
    clock.update({A: (1.0, 0.0)})
    clock.update({A: (1.0, 0.0), B: (4.0, 0.0)})
    clock.update({A: (1.0, 0.0)})
    assert clock.update({A: (1.0, 4.5)}) == pytest.approx(4.5)


def test_a_child_that_was_never_seen_is_counted_by_its_parent():
    clock = CpuClock()
    clock.update({A: (1.0, 0.0)})
    assert clock.update({A: (1.0, 3.0)}) == 3.0


def spawn(code, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    )


def test_server_load_generator_and_kernel_are_told_apart():
    server = spawn("input()", start_new_session=True)
    load = spawn("input()", start_new_session=True)
    stranger = psutil.Process(1)
    try:
        census = Census(server.pid)
        assert [p.pid for p in census.server._names] == [server.pid]
        study = {p.pid for p in census.study._names}
        assert {os.getpid(), load.pid} <= study
        assert not {server.pid, stranger.pid} & study
    finally:
        for child in (server, load):
            child.communicate(b"\n", timeout=30)


def test_what_is_started_later_is_found_and_two_of_a_kind_have_numbers():
    code = (
        "import subprocess, sys\n"
        "input()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print('up', flush=True); input(); child.communicate(b'\\n')"
    )
    server = spawn(code, start_new_session=True)
    try:
        census = Census(server.pid)
        assert len(census.server) == 1
        server.stdin.write(b"\n")
        server.stdin.flush()
        server.stdout.readline()
        census.look()
        names = {name for name, *_ in census.server.sample()}
        assert len(census.server) == 2
        assert len(names) == 2
        assert any(name.endswith(" 2") for name in names)
    finally:
        server.communicate(b"\n", timeout=30)


def test_the_load_generator_is_counted_whole_after_it_ended():
    census = Census(None)
    census.study.sample(details=False)
    load = spawn(BURN.format(seconds=0.5), start_new_session=True)
    time.sleep(0.1)
    census.look()
    census.study.sample(details=False)
    load.communicate(timeout=60)
    for _ in range(2):
        census.look()
        census.study.sample(details=False)
    assert 0.45 <= census.study.clock.total_s < 0.95


def test_heat_is_counted_where_the_system_tells_it(tmp_path):
    assert machine.throttled(tmp_path) is None
    for cpu, count in (("cpu0", "3"), ("cpu11", "4")):
        folder = tmp_path / cpu / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(count + "\n")
        (folder / "core_throttle_total_time_ms").write_text("99\n")
    (tmp_path / "cpufreq").mkdir()
    assert machine.throttled(tmp_path) == 7
