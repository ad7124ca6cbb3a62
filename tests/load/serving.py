"""An emulated server in the loop of a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from heavyweight.emulator.server import Options, serve


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[str]:
    """Serve while inside; gives the base URL."""
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(Options(**options), "127.0.0.1", 0, ready))
    try:
        yield f"http://127.0.0.1:{await ready}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
