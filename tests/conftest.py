"""Every test has a cache folder of its own: no server, model or lock of the user's is touched."""

from __future__ import annotations

import os
import tempfile

import pytest

os.environ["HEAVYWEIGHT_CACHE"] = tempfile.mkdtemp(prefix="heavyweight-test-cache-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that execute notebooks take longest: they begin first, so that no core waits for them.

    xdist gives out files in the order of their first tests, with --no-loadscope-reorder.
    """
    items.sort(key=lambda item: item.get_closest_marker("notebook") is None)
