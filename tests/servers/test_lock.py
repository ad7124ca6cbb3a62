"""One session at a time, also after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from heavyweight.errors import SessionBusy
from heavyweight.servers.lock import SessionLock, stop_left_over
from heavyweight.servers.process import stop_group
from heavyweight.telemetry import process_group

# A session that starts a server (leader and child), records it, says so, and waits.
SESSION = """
import sys, time
from pathlib import Path
from heavyweight.servers.lock import SessionLock
from heavyweight.machine import usable_cores
from heavyweight.servers.process import ManagedProcess, clean_environment
lock = SessionLock()
lock.acquire()
code = ("import subprocess, sys, time\\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\\n"
        "print('up'); time.sleep(60)")
log = Path(sys.argv[1])
server = ManagedProcess.spawn(
    [sys.executable, "-u", "-c", code], clean_environment({}), usable_cores(), log)
while "up" not in log.read_text():
    time.sleep(0.01)
lock.record_server(server.pgid, 4242)
print(server.pgid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def session(tmp_path):
    """A session in a process of its own that holds the machine; with its server's group."""
    holder = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    pgid = int(holder.stdout.readline())
    yield holder, pgid
    holder.kill()
    holder.wait()
    holder.stdout.close()
    stop_group(pgid, 0.2)


def kill(holder: subprocess.Popen) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()


def test_a_second_session_is_told_who_holds_the_machine(session):
    holder, pgid = session
    with pytest.raises(SessionBusy, match=rf"process {holder.pid}, since 20.*Remedy: wait") as busy:
        SessionLock().acquire()
    assert f"kill {holder.pid}" in busy.value.remedy
    assert len(process_group(pgid)) == 2  # and its server was left alone


def test_the_server_of_a_crashed_session_is_stopped(session):
    holder, pgid = session
    kill(holder)
    assert len(process_group(pgid)) == 2
    said: list[str] = []
    with SessionLock(said.append):
        assert process_group(pgid) == []
    assert len(said) == 1
    assert f"process group {pgid} (port 4242)" in said[0]


def test_what_is_left_over_is_stopped_and_a_session_that_lives_is_not(session):
    holder, pgid = session
    stop_left_over()
    assert len(process_group(pgid)) == 2
    kill(holder)
    stop_left_over()
    assert process_group(pgid) == []


def test_a_group_is_known_by_a_member_when_its_leader_has_ended(session):
    holder, pgid = session
    kill(holder)
    leader = psutil.Process(pgid)
    leader.kill()
    leader.wait(10)
    assert len(process_group(pgid)) == 1
    with SessionLock(lambda _: None):
        assert process_group(pgid) == []


def test_a_pid_that_was_given_to_another_process_is_left_alone(session, cache):
    holder, pgid = session
    kill(holder)
    record = cache / "session.json"
    told = json.loads(record.read_text())
    for known in told["server"]:
        known["born"] -= 1
    record.write_text(json.dumps(told))
    said: list[str] = []
    with SessionLock(said.append):
        assert len(process_group(pgid)) == 2
    assert said == []


def test_a_process_that_is_not_in_the_recorded_group_is_left_alone(session, cache):
    holder, pgid = session
    kill(holder)
    record = cache / "session.json"
    told = json.loads(record.read_text())
    told["server_pgid"] = os.getsid(0)  # of the test itself: it must survive
    record.write_text(json.dumps(told))
    with SessionLock(lambda _: None):
        assert len(process_group(pgid)) == 2


@pytest.mark.parametrize("text", ["", "{", '{"holder": 3}'])
def test_a_record_that_was_cut_off_does_not_stand_in_the_way(cache, text):
    cache.mkdir()
    (cache / "session.json").write_text(text)
    with SessionLock():
        assert json.loads((cache / "session.json").read_text())["holder"]["pid"] == os.getpid()


def test_release_clears_and_may_be_repeated(cache):
    lock = SessionLock()
    lock.acquire()
    with pytest.raises(SessionBusy, match=str(os.getpid())):
        SessionLock().acquire()
    lock.release()
    lock.release()
    assert not (cache / "session.json").exists()
    with SessionLock():
        pass


def test_a_server_is_recorded_by_the_holder_only():
    with pytest.raises(SessionBusy):
        SessionLock().record_server(1, 1)


def test_the_lock_lies_in_the_cache_folder(cache: Path):
    with SessionLock():
        assert {path.name for path in cache.iterdir()} >= {"session.lock", "session.json"}
