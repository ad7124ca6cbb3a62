"""``python -m heavyweight.emulator``: the emulated server as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from heavyweight.emulator import faults
from heavyweight.emulator.server import Options, serve


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m heavyweight.emulator",
        description="A server with known timing. Its data is never evidence about a server.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--api", choices=("ollama", "vllm"), default=default.api)
    parser.add_argument("--slots", type=int, default=default.slots, help="requests at once")
    parser.add_argument("--queue", type=int, default=default.queue, help="more get 503")
    parser.add_argument("--ttft-ms", type=float, default=default.ttft_ms, help="first token")
    parser.add_argument("--itl-ms", type=float, default=default.itl_ms, help="between two tokens")
    parser.add_argument("--jitter", type=float, default=default.jitter, help="their variation")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the jitter")
    parser.add_argument("--batching", choices=("none", "step"), default=default.batching)
    parser.add_argument("--step-growth", type=float, default=default.step_growth)
    parser.add_argument("--model", default=default.model, help="name of the model")
    parser.add_argument("--tokens-per-chunk", type=int, default=default.tokens_per_chunk)
    parser.add_argument("--cached-ttft-ms", type=float, help="first token of a repeated request")
    parser.add_argument("--stubborn", action="store_true", help="go on for a client that left")
    parser.add_argument("--start-s", type=float, default=default.start_s, help="503 until then")
    parser.add_argument(
        "--fault", choices=(*faults.NAMES, *faults.SERVER), help="how requests fail"
    )
    parser.add_argument("--fault-every", type=int, default=1, help="each n-th request fails")
    parser.add_argument("--log", type=Path, help="JSON lines, one a request")
    parser.add_argument("--cores", type=_cores, help='which to run on, as "0,1"')
    known = parser.parse_args(arguments)
    for name in ("slots", "tokens_per_chunk", "fault_every"):
        if getattr(known, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    for name in ("ttft_ms", "itl_ms", "jitter", "step_growth", "seed", "start_s"):
        if not 0 <= getattr(known, name) < 1e9:
            parser.error(f"--{name.replace('_', '-')} must be at least 0")
    if known.cached_ttft_ms is not None and not 0 <= known.cached_ttft_ms < 1e9:
        parser.error("--cached-ttft-ms must be at least 0")
    if not 0 <= known.port <= 65_535:
        parser.error("--port must be from 0 to 65535")
    if known.queue is not None and known.queue < 0:
        parser.error("--queue must be at least 0")
    if known.batching == "step" and not known.itl_ms:
        parser.error("--batching step needs --itl-ms above 0")
    return known


def _cores(text: str) -> set[int]:
    return {int(core) for core in text.split(",")}


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; the port is told as one JSON line on standard output."""
    options = vars(arguments).copy()
    host, port, cores = (options.pop(name) for name in ("host", "port", "cores"))
    if cores:
        os.sched_setaffinity(0, cores)
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[int] = loop.create_future()
    server = asyncio.create_task(serve(Options(**options), host, port, ready))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.cancel)
    either: set[asyncio.Future[Any]] = {ready, server}
    done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if ready in done:
        print(json.dumps({"host": host, "port": ready.result()}), flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await server


def main() -> int:
    """Run the emulator; exit code 2: it could not listen."""
    arguments = parse(sys.argv[1:])
    try:
        # The standard loop writes to the socket at once, so that the log's stamps are exact.
        asyncio.run(run(arguments))
    except OSError as error:
        remedy = "another --port, or 0 for a free one"
        print(f"cannot listen: {error.strerror or error}. Remedy: {remedy}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    gc.freeze()
    gc.disable()  # a collection would delay writes; what a request leaves has no cycles
    sys.exit(main())
