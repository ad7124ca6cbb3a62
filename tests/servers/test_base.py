"""The verbs that all servers share, on servers of a few lines."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from heavyweight.errors import NotReady, PortTaken, ServerError
from heavyweight.records import ServerIdentity
from heavyweight.servers.asking import status_of
from heavyweight.servers.base import Server, port_open
from tests.servers.arms import arm, config

LISTEN = """
import http.server, os, sys
print("my home is", os.environ["HOME"], flush=True)
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.test(http.server.SimpleHTTPRequestHandler, http.server.ThreadingHTTPServer,
                 port={port}, bind="127.0.0.1")
"""


class Small(Server):
    """Runs a few lines of Python; ready when it answers on its port."""

    kind = "emulated"
    code = LISTEN
    says_ready = False

    @classmethod
    def install(cls, progress, version=None):
        raise NotImplementedError

    def installed(self):
        return None

    def settings(self):
        return {}

    def command(self, config):
        return [sys.executable, "-c", self.code.replace("{port}", str(config.port))]

    def environment(self, config):
        path = f"{Path.home()}/x:{os.environ['PATH']}"
        return {"MARK": str(Path.home() / "x"), "PATH": path}

    def answers(self):
        return self.says_ready or status_of(self.base_url) == 200

    def identify(self):
        return ServerIdentity(server="emulated", version=None, model=self.served_model)

    def idle(self):
        return None

    def name_of_model(self, config):
        return "small"


@pytest.fixture
def server():
    one = Small(arm("emulated", env={"EXTRA": "1"}, extra_body={"a": 1}))
    yield one
    if one.process is not None:
        one.process.port = None
        one.stop()


def test_a_server_starts_is_ready_and_stops(server, tmp_path):
    given = config(server.arm, tmp_path / "server-1.log")
    server.start(given)
    ready_ms = server.ready(60)
    assert ready_ms == server.ready_ms > 0
    assert server.alive()
    assert server.base_url == f"http://127.0.0.1:{given.port}"
    assert (server.served_model, server.extra_body) == ("small", {"a": 1})
    assert server.process.listens() is True
    group = server.process.members()
    server.stop()
    assert not server.alive()
    assert not any(process.is_running() for process in group)
    assert not port_open(given.port)
    server.stop()  # a second stop is nothing


def test_the_record_of_a_start_names_nobody(server, tmp_path):
    given = config(server.arm, tmp_path / "server-1.log")
    server.start(given)
    server.ready(60)
    record = server.start_record(1)
    assert record.command[1:2] == ["-c"]
    assert record.environment == {"MARK": "~/x", "PATH": "~/x:$PATH", "EXTRA": "1"}
    assert record.cores == record.affinity_seen == given.cores
    assert (record.port, record.log) == (given.port, "server-1.log")
    assert record.pgid == server.process.pgid
    assert record.ready_ms == server.ready_ms
    server.stop()
    log = given.log_path.read_text()
    assert "my home is ~" in log
    assert str(Path.home()) not in log


def test_a_server_can_be_started_again_after_a_stop(server, tmp_path):
    server.start(config(server.arm, tmp_path / "1.log"))
    with pytest.raises(ServerError, match="runs already"):
        server.start(config(server.arm, tmp_path / "2.log"))
    server.ready(60)
    first = server.spawned_ns
    server.stop()
    assert server.spawned_ns is None
    server.start(config(server.arm, tmp_path / "2.log"))
    server.ready(60)
    assert server.spawned_ns > first


def test_a_server_that_dies_at_once_shows_its_last_lines(server, tmp_path):
    server.code = (
        "import sys\nfor n in range(50): print('line', n)\n"
        f"print({str(Path.home() / 'secret')!r})\nsys.exit(3)"
    )
    server.start(config(server.arm, tmp_path / "log"))
    with pytest.raises(NotReady) as error:
        server.ready(60)
    message = str(error.value)
    assert "status 3" in message
    assert "line 49" in message
    assert "line 20" not in message
    assert "~/secret" in message
    assert "Remedy" in message


def test_a_server_that_is_late_is_not_ready(server, tmp_path):
    server.code = "import time; time.sleep(60)"
    server.start(config(server.arm, tmp_path / "log"))
    with pytest.raises(NotReady, match=r"within 0 s(.|\n)*log is empty"):
        server.ready(0.1)
    assert server.alive()  # it is the caller's to stop


def test_a_taken_port_is_told_before_anything_is_spawned(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        children = psutil.Process().children()
        with pytest.raises(PortTaken, match=str(port)):
            server.start(config(server.arm, tmp_path / "log", port=port))
    assert server.process is None
    assert psutil.Process().children() == children


def test_another_process_that_answers_in_its_place_is_found_out(server, tmp_path):
    """Ours is alive and does not listen; somebody else took the port after it was checked."""
    server.code = "import time; time.sleep(60)"
    server.says_ready = True
    given = config(server.arm, tmp_path / "log")
    server.start(given)
    with (
        socket.create_server(("127.0.0.1", given.port)),
        pytest.raises(PortTaken, match=f"another process answers on port {given.port}"),
    ):
        server.ready(10)


def test_nothing_can_be_asked_before_a_start(server):
    for ask in (lambda: server.ready(1), lambda: server.start_record(1)):
        with pytest.raises(ServerError, match="not started"):
            ask()
    assert not server.alive()
    server.stop()


def test_the_arms_variables_reach_the_server_and_the_users_do_not(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_NUM_PARALLEL", "99")
    server.code = "import os; print(sorted(os.environ), flush=True); import time; time.sleep(60)"
    server.start(config(server.arm, tmp_path / "log"))
    while "EXTRA" not in (tmp_path / "log").read_text():
        server.process.wait(0.01)
    assert "OLLAMA" not in (tmp_path / "log").read_text()
    assert os.environ["OLLAMA_NUM_PARALLEL"] == "99"
