"""A cache folder of the test's own, children that are servers, and a stub that answers by table."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from heavyweight.machine import usable_cores
from heavyweight.servers.process import ManagedProcess, clean_environment


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The study's cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(folder))
    return folder


@pytest.fixture
def spawn(tmp_path) -> Iterator[Callable[..., ManagedProcess]]:
    """Run Python code in a managed process, and wait until it has said `up`."""
    started: list[ManagedProcess] = []

    def run(code: str, cores: list[int] | None = None, port: int | None = None,
            wait: bool = True) -> ManagedProcess:  # fmt: skip
        process = ManagedProcess.spawn(
            [sys.executable, "-u", "-c", code], clean_environment({}), cores or usable_cores(),
            tmp_path / f"{len(started)}.log", port,
        )  # fmt: skip
        started.append(process)
        while wait and process.alive() and "up" not in process.log_path.read_text():
            process.wait(0.01)
        return process

    yield run
    for process in started:
        process.port = None
        process.stop(1.0)


@contextmanager
def answering(table: dict[str, Any]) -> Iterator[int]:
    """A server in a thread that answers GET and POST by path; its port.

    Args:
        table: path: JSON-able body, text, or an int for an HTTP status.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = table.get(self.path, 404)
            status, body = (answer, "") if isinstance(answer, int) else (200, answer)
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
