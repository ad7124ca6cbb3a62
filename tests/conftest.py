"""Every test has a cache folder of its own: no server, model or lock of the user's is touched."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import settings

# An example that is slow on a busy machine is no failure.
settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")

# A shell lets what it starts in the background ignore Ctrl-C, and so do its children: tests that
# stop a study as a terminal does would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)
CACHE = tempfile.mkdtemp(prefix="heavyweight-test-cache-")
os.environ["HEAVYWEIGHT_CACHE"] = CACHE


def pytest_unconfigure() -> None:
    """Nothing of the tests is left behind."""
    shutil.rmtree(CACHE, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that execute notebooks take longest: they begin first, so that no core waits for them.

    xdist gives out files in the order of their first tests, with --no-loadscope-reorder.
    """
    items.sort(key=lambda item: item.get_closest_marker("notebook") is None)
