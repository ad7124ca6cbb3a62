"""A managed process: its group, its cores, and a stop that is verified."""

from __future__ import annotations

import os
import socket
import threading

import psutil
import pytest

from heavyweight.errors import NotInstalled, ServerError
from heavyweight.machine import usable_cores
from heavyweight.servers.process import ManagedProcess, clean_environment, tail
from heavyweight.telemetry import process_group

SLEEP = "import time; print('up'); time.sleep(60)"

# The leader starts a child and says so; the child says `up` when it runs.
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-u", "-c", {child!r}], start_new_session={apart})
{after}
"""
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"
FAREWELL = (
    "import signal, sys, time\n"
    "signal.signal(15, lambda *_: (print('asked to stop'), sys.exit(0)))\n"
    "print('up'); time.sleep(60)"
)


def parent(child: str, apart: bool = False, after: str = "time.sleep(60)") -> str:
    return PARENT.format(child=child, apart=apart, after=after)


def test_a_process_has_a_group_of_its_own_and_a_log(spawn):
    process = spawn("sum(range(3_000_000)); " + SLEEP)
    assert process.alive()
    assert process.returncode is None
    assert os.getpgid(process.pgid) == process.pgid != os.getpgid(0)
    assert [p.pid for p in process.members()] == [process.pgid]
    assert process.rss_bytes() > 1_000_000
    assert tail(process.log_path) == "up"
    process.stop()
    assert not process.alive()
    assert process_group(process.pgid) == []


def test_all_of_a_group_runs_on_the_cores_given_and_the_caller_on_its_own(spawn):
    before = os.sched_getaffinity(0)
    core = usable_cores()[-1]
    process = spawn(parent(SLEEP), cores=[core])
    assert len(process.members()) == 2
    assert process.affinity_seen() == [core]
    assert os.sched_getaffinity(0) == before


def test_the_affinity_of_every_thread_is_seen(spawn):
    """A server may bind its main thread to one core and work on the others by its threads."""
    first, *others = usable_cores()
    process = spawn(
        "import os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        f"os.sched_setaffinity(0, [{first}]); print('up'); time.sleep(60)"
    )
    assert process.affinity_seen() == [first, *others]


def test_cores_that_do_not_exist_are_refused(spawn):
    before = os.sched_getaffinity(0)
    with pytest.raises(ServerError, match=r"cores \[100000\]"):
        spawn(SLEEP, cores=[100_000])
    assert os.sched_getaffinity(0) == before


def test_a_program_that_does_not_exist_is_not_installed(tmp_path):
    with pytest.raises(NotInstalled, match="no-such-program"):
        ManagedProcess.spawn(["/no-such-program"], {}, usable_cores(), tmp_path / "log")


def test_a_stop_asks_first(spawn):
    process = spawn(FAREWELL)
    process.stop()
    assert process.returncode == 0
    assert "asked to stop" in tail(process.log_path)


@pytest.mark.parametrize("child", [SLEEP, STUBBORN], ids=["obedient", "ignores SIGTERM"])
@pytest.mark.parametrize("apart", [False, True], ids=["same session", "session of its own"])
def test_a_stop_reaches_grandchildren(spawn, child, apart):
    process = spawn(parent(child, apart))
    (grandchild,) = psutil.Process(process.pgid).children()
    process.stop(0.3)
    assert not process.alive()
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_stop_reaches_a_grandchild_whose_parent_has_ended(spawn):
    process = spawn(parent(STUBBORN, after="time.sleep(0.5)"))
    process.wait(10)
    assert not process.alive()
    (grandchild,) = process.members()
    process.stop(0.2)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    assert process.members() == []


def test_a_group_that_has_ended_can_be_stopped(spawn):
    process = spawn("print('up')")
    process.wait(10)
    process.stop()
    assert process.returncode == 0


def test_a_port_that_still_answers_fails_the_stop(spawn):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = spawn(SLEEP, port=port)
        assert process.listens() is False
        with pytest.raises(ServerError, match=f"port {port} still answers"):
            process.stop()


def test_ports_that_other_machines_may_reach_are_found(spawn):
    listen = "s = socket.create_server(({host!r}, 0)); print(s.getsockname()[1])"
    process = spawn(
        "import socket, time\n"
        + "\n".join(f"s{n} = 0; {listen.format(host=host)}; keep{n} = s" for n, host in
                    enumerate(("127.0.0.1", "0.0.0.0", "127.0.0.1")))
        + "\nprint('up'); time.sleep(60)"
    )  # fmt: skip
    inner, outer, _ = map(int, tail(process.log_path).split()[:3])
    assert process.open_ports() == [outer]
    process.port = inner
    assert process.listens()


def test_only_the_calling_thread_is_bound(spawn):
    """A spawn on one core leaves the threads of the kernel that calls it where they are."""
    seen, done = [], threading.Event()

    def watch():
        while not done.is_set():
            seen.append(frozenset(os.sched_getaffinity(0)))

    thread = threading.Thread(target=watch)
    thread.start()
    spawn(SLEEP, cores=usable_cores()[:1])
    done.set()
    thread.join()
    assert set(seen) == {frozenset(os.sched_getaffinity(0))}


def test_a_server_inherits_nothing_that_could_change_it(monkeypatch):
    for name in ("OLLAMA_NUM_PARALLEL", "OMP_NUM_THREADS", "HTTP_PROXY", "PYTHONPATH", "VLLM_X"):
        monkeypatch.setenv(name, "7")
    environment = clean_environment({"OLLAMA_HOST": "127.0.0.1:1"})
    assert environment["PATH"] == os.environ["PATH"]
    assert {name for name in environment if name.startswith(("OLLAMA_", "OMP_", "VLLM_"))} == {
        "OLLAMA_HOST"
    }
    assert not {"HTTP_PROXY", "PYTHONPATH"} & set(environment)


def test_tail_is_the_last_lines_and_empty_without_a_log(tmp_path):
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("\n".join(f"line {n}" for n in range(5000)))
    assert tail(log, 2) == "line 4998\nline 4999"
