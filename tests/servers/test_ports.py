"""A port is free, or the message says which one is not."""

from __future__ import annotations

import socket

import pytest

from heavyweight.errors import PortTaken
from heavyweight.servers.ports import check_port_free, free_port, port_open


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_answers_is_taken(taken):
    assert port_open(taken)
    with pytest.raises(PortTaken, match=f"port {taken} .*Remedy"):
        check_port_free(taken)


def test_a_port_that_is_bound_and_does_not_answer_is_taken():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        bound.listen(0)
        with pytest.raises(PortTaken):
            check_port_free(port)


def test_a_port_that_is_given_is_free(taken):
    port = free_port()
    assert port != taken
    check_port_free(port)
