"""Whether a server has no request in flight, as it says itself."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp

from heavyweight.kinds import SERVERS

WAIT_S = 5.0  # a server may publish its counters a little later than they change
_VLLM = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})?\s+(\S+)$", re.M)


def in_flight(text: str) -> float | None:
    """Requests in flight: from the emulator's JSON state or from vLLM's metrics.

    Returns:
        None where the text says nothing of it.
    """
    if counts := _VLLM.findall(text):
        return sum(float(count) for count in counts)
    try:
        state = json.loads(text)
    except ValueError:
        return None
    return state.get("in_flight") if isinstance(state, dict) else None


async def idle(server: str, base_url: str) -> bool | None:
    """Ask until the server is idle, for a few seconds.

    Args:
        server: kind of server; only some can be asked.
        base_url: of the server.

    Returns:
        None where the server cannot be asked or does not say.
    """
    path = SERVERS[server].idle_path
    if path is None:
        return None
    url = base_url.rstrip("/").removesuffix("/v1") + path
    count: float | None = None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_S)) as session:
        for _ in range(int(WAIT_S / 0.25)):
            try:
                async with session.get(url) as answer:
                    count = in_flight(await answer.text())
            except (aiohttp.ClientError, TimeoutError):
                return None
            if not count:
                break
            await asyncio.sleep(0.25)
    return None if count is None else count == 0
