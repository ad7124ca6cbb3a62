"""Every test has a cache folder of its own: no server, model or lock of the user's is touched."""

from __future__ import annotations

import os
import tempfile

os.environ["HEAVYWEIGHT_CACHE"] = tempfile.mkdtemp(prefix="heavyweight-test-cache-")
