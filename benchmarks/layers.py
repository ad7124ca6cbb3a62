"""What each layer of the client costs, in CPU time: from a bare protocol to rows in a file.

``python -m benchmarks.layers TASK.json`` runs every layer on the same load and tells its CPU
seconds. Two loads that differ in the number of events alone give the cost of a request and that of
an event; one event comes with each read, as from a server that is paced.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from benchmarks import bare, children, plain
from benchmarks.cases import Case
from heavyweight import store
from heavyweight.load import rows
from heavyweight.load.client import Client
from heavyweight.load.connection import Exchange
from heavyweight.load.spec import Timeouts
from heavyweight.records import Cell, MachineLoad
from heavyweight.workload import prompt

USERS, WAVES = 64, 6
FEW, MANY = 1, 101  # tokens of an answer
LIMIT_S = 120.0
TITLES = {
    "bare": "bare uvloop protocol",
    "connector": "aiohttp's connector, this client's protocol",
    "prepare": "+ prompts and requests as bytes",
    "rows": "+ answers parsed into rows, after the load",
    "store": "+ parquet file",
    "aiohttp": "plain aiohttp, JSON read as it comes",
}
STACK = ("connector", "prepare", "rows", "store")  # each is on top of those before


def _cpu_s(work: Callable[[], Any]) -> tuple[float, Any]:
    before_s = time.process_time()
    result = work()
    return time.process_time() - before_s, result


def _in_loop(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """CPU time of a coroutine, without that of the loop's start."""

    async def timed() -> tuple[float, Any]:
        before_s = time.process_time()
        result = await work()
        return time.process_time() - before_s, result

    return uvloop.run(timed())


def _own(task: dict[str, Any], seconds: dict[str, float]) -> None:
    """The layers of this project's client."""
    requests = USERS * WAVES

    async def load() -> list[Exchange]:
        client = Client(
            f"http://127.0.0.1:{task['port']}", "chat", task["model"], {}, {}, Timeouts()
        )
        seconds["prepare"], stock = _cpu_s(
            lambda: [
                client.prepare(prompt(1, 1, USERS, i, task["prompt_tokens"]), task["tokens"])
                for i in range(requests)
            ]
        )
        done: list[Exchange] = []

        async def user() -> None:
            while stock:
                done.append(stock.pop())
                done[-1].due_ns = time.perf_counter_ns()
                await client.perform(done[-1])

        before_s = time.process_time()
        await asyncio.gather(*(user() for _ in range(USERS)))
        seconds["connector"] = time.process_time() - before_s
        await client.close()
        return done

    _, done = _in_loop(load)
    origin_ns = min(one.due_ns for one in done)
    cell = _cell(task, origin_ns)
    for counted in (done[:1], done):  # the first is not: what is loaded once is no layer's cost
        seconds["rows"], table = _cpu_s(partial(rows.table, counted, origin_ns, 1, task["tokens"]))
        with tempfile.TemporaryDirectory() as folder:
            seconds["store"], _ = _cpu_s(partial(store.write_cell, Path(folder), cell, table))


def _cell(task: dict[str, Any], origin_ns: int) -> Cell:
    load = MachineLoad(
        elapsed_s=0.0, server_cpu_s=None, client_cpu_s=0.0, other_cpu_s=0.0, steal_s=0.0,
        swapped_bytes=0, server_rss_bytes=None,
    )  # fmt: skip
    return Cell(
        cell_id="0" * 12, run="benchmark", session="layers", arm="emulated", server="emulated",
        model=task["model"], block=1, users=USERS, output_tokens=task["tokens"],
        prompt_tokens_target=task["prompt_tokens"], seed=1, start_id=1, emulated=True,
        origin_monotonic_ns=origin_ns, origin_utc="", window_start_ns=0, window_end_ns=0,
        ended="complete", idle_after=None, machine_load=load, client={},
    )  # fmt: skip


def run(task: dict[str, Any]) -> dict[str, float]:
    """CPU seconds of each layer for each request, all on one load."""
    gc.disable()
    seconds: dict[str, float] = {}
    totals: dict[str, float] = {}

    async def floor() -> bare.Load:
        load = bare.Load(task)
        await load.run()
        return load

    seconds["bare"], load = _in_loop(floor)
    totals["bare"] = len(load.done)
    _own(task, seconds)

    async def simple() -> dict[str, Any]:
        return await plain.run(task)

    seconds["aiohttp"], told = asyncio.run(_timed(simple))
    totals["aiohttp"] = len(told["tokens"])
    return {name: spent / totals.get(name, USERS * WAVES) for name, spent in seconds.items()}


async def _timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    before_s = time.process_time()
    result = await work()
    return time.process_time() - before_s, result


def measure(client_core: int, server_core: int, rounds: int) -> list[dict[str, Any]]:
    """The cost of each layer: medians over the rounds.

    Returns:
        One row a layer: layer, us_per_request, us_per_event; a layer "+" is the cost of all that
        this client does up to there.
    """
    seconds: dict[int, list[dict[str, float]]] = {FEW: [], MANY: []}
    for _ in range(rounds):
        for tokens, told in seconds.items():
            case = Case(
                "layers", "", (), ttft_ms=20, itl_ms=5, tokens=tokens, users=USERS, seconds=0.0
            )
            case = Case(**{**vars(case), "seconds": (WAVES - 1.5) * case.response_s})
            with tempfile.TemporaryDirectory(prefix="heavyweight-bench-") as name:
                folder = Path(name)
                task, out = folder / "task.json", folder / "out.json"
                with children.emulator(case, folder, server_core) as (port, _):
                    task.write_text(json.dumps(case.task(port, str(out))), encoding="utf-8")
                    command: list[str | Path] = [sys.executable, "-m", "benchmarks.layers", task]
                    children.finish(command, folder, client_core, LIMIT_S)
                told.append(json.loads(out.read_text(encoding="utf-8")))
    return costs(seconds)


def costs(seconds: dict[int, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Costs from the CPU seconds a request at two numbers of tokens.

    Args:
        seconds: tokens -> one table of seconds by layer a round.
    """
    layers, below = [], (0.0, 0.0)
    for name, title in TITLES.items():
        few, many = (median(one[name] for one in seconds[tokens]) for tokens in (FEW, MANY))
        per_event = (many - few) / (MANY - FEW)
        cost = (few - per_event) * 1e6, per_event * 1e6
        if name in STACK:
            below = cost = below[0] + cost[0], below[1] + cost[1]
        layers.append({"layer": title, "us_per_request": cost[0], "us_per_event": cost[1]})
    return layers


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(asked["out"]).write_text(json.dumps(run(asked)), encoding="utf-8")
