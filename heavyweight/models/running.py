"""A server that runs for a moment, outside any session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from heavyweight.servers.base import Server, ServerConfig
from heavyweight.servers.lock import SessionLock


@contextmanager
def running(server: Server, config: ServerConfig, lock: SessionLock) -> Iterator[Server]:
    """Start a server, wait until it is ready, and stop it in the end.

    Args:
        server: not started.
        config: its log is begun anew.
        lock: holds the machine, so that no session measures meanwhile.
    """
    config.log_path.unlink(missing_ok=True)
    try:
        server.start(config)
        _remember(server, config, lock)
        server.ready()
        _remember(server, config, lock)  # with the processes that it started meanwhile
        yield server
    finally:
        server.stop()


def _remember(server: Server, config: ServerConfig, lock: SessionLock) -> None:
    if server.process:
        lock.record_server(server.process.pgid, config.port)
