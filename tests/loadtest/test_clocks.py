"""Clocks over a connection: here the true offset is known to be 0."""

from __future__ import annotations

import socket

import pytest

from heavyweight.errors import StudyError
from heavyweight.loadtest import clocks


def test_a_clock_of_this_machine_is_not_apart() -> None:
    for _ in range(5):
        token = clocks.new_token()
        reading = clocks.read_clock("127.0.0.1", clocks.serve_clock("127.0.0.1", token), token)
        assert abs(reading.offset_ns) <= reading.error_ns


def test_who_does_not_know_the_token_is_not_answered() -> None:
    port = clocks.serve_clock("127.0.0.1", clocks.new_token())
    with pytest.raises(StudyError, match="cannot be compared"):
        clocks.read_clock("127.0.0.1", port, clocks.new_token())


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(StudyError, match="cannot be compared"):
        clocks.read_clock("127.0.0.1", port, clocks.new_token())


def test_processes_of_one_boot_share_a_clock() -> None:
    assert clocks.clock_name() == clocks.clock_name() or not clocks._BOOT.exists()
