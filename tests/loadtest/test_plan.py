"""What is recorded of a server that runs already."""

from __future__ import annotations

import pytest

from heavyweight.loadtest.plan import session_of
from heavyweight.loadtest.target import Target


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://127.0.0.1", 80), ("https://127.0.0.1", 443), ("http://127.0.0.1:8000", 8000)],
)
def test_a_session_has_the_servers_port_and_nothing_that_was_not_told(url: str, port: int) -> None:
    target = Target(url, "chat", "m", {}, emulated=False, version=None, pgid=None)
    session = session_of(target, "load", [1])
    assert session.starts[0].port == port
    assert session.context_tokens is None
    assert session.slots is None
