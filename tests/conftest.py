"""Every test has a cache folder of its own: no server, model or lock of the user's is touched."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest

# A shell lets what it starts in the background ignore Ctrl-C, and so do its children: tests that
# stop a study as a terminal does would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HEAVYWEIGHT_CACHE"] = tempfile.mkdtemp(prefix="heavyweight-test-cache-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that execute notebooks take longest: they begin first, so that no core waits for them.

    xdist gives out files in the order of their first tests, with --no-loadscope-reorder.
    """
    items.sort(key=lambda item: item.get_closest_marker("notebook") is None)
