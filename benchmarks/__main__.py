"""``python -m benchmarks``: this client beside others on the same emulated server, as ratios."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import children, layers, peers
from benchmarks.cases import CASES, Case
from benchmarks.clients import Client, Heavyweight, Script
from benchmarks.measures import measured
from benchmarks.sample import ServerLog
from benchmarks.table import Results, layers_text, rows, text
from benchmarks.tools import AiPerf, GuideLlm, VllmBench
from heavyweight import __version__
from heavyweight.errors import BadInput, Stopped, StudyError
from heavyweight.machine import cpu_info, usable_cores

CLIENTS: tuple[Client, ...] = (
    Script("bare", "benchmarks.bare", peer=False),
    Heavyweight(),
    Script("aiohttp", "benchmarks.plain", peer=True),
    VllmBench(),
    GuideLlm(),
    AiPerf(),
)
QUICK = {"fast": 1.5, "open": 4.0, "8": 4.0}  # seconds of sending with --quick


def say(line: str) -> None:
    """Progress, apart from the table."""
    print(line, file=sys.stderr, flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="This project's client beside others, in one run, on the same emulated server.",
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each own client")
    parser.add_argument("--peer-rounds", type=int, default=1, help="of them with the peers")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--client", action="append", choices=[one.name for one in CLIENTS])
    parser.add_argument("--quick", action="store_true", help="one round without the peers")
    parser.add_argument("--no-layers", action="store_true", help="without the cost of each layer")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    known = parser.parse_args(words)
    if known.rounds < 1 or known.peer_rounds < 0:
        parser.error("--rounds must be at least 1 and --peer-rounds at least 0")
    if known.quick:
        known.rounds, known.peer_rounds = 1, 0
    return known


def plan(asked: argparse.Namespace, clients: Sequence[Client]) -> list[tuple[int, Case, Client]]:
    """All runs in their order: each client once a case and round, in another order each round."""
    runs = []
    for number in range(asked.rounds):
        peers_too = number < asked.peer_rounds
        for full in CASES:
            if asked.case and full.name not in asked.case:
                continue
            if full.with_peers and not peers_too:
                continue
            quick_s = QUICK.get(full.name, full.seconds)
            case = replace(full, seconds=quick_s) if asked.quick else full
            part = [one for one in clients if peers_too or not one.peer]
            shift = number % len(part) if part else 0
            runs += [(number, case, one) for one in part[shift:] + part[:shift]]
    return runs


def able(asked: argparse.Namespace, results: Results) -> list[Client]:
    """The clients that can be run; why others cannot is a failure that is told."""
    wanted = [one for one in CLIENTS if not asked.client or one.name in asked.client]
    if asked.peer_rounds == 0:
        wanted = [one for one in wanted if not one.peer]
    for environment in (peers.GUIDELLM, peers.AIPERF):
        if any(one.name == environment.package for one in wanted):
            try:
                environment.install()
            except StudyError as error:
                results.failures.append(f"{environment.package}: {error}")
    ready = []
    for one in wanted:
        if why := one.missing():
            results.failures.append(f"{one.name} was not run: {why}")
        else:
            ready.append(one)
    return ready


def one_run(case: Case, client: Client, cores: tuple[int, int], results: Results) -> None:
    """One client once on one load, with a server of its own."""
    with tempfile.TemporaryDirectory(prefix="heavyweight-bench-") as name:
        folder = Path(name)
        try:
            with children.emulator(case, folder, cores[1]) as (port, log):
                sample = client.run(case, port, folder, cores[0])
            if sample is None:
                return
            if sample.failed:
                results.failures.append(f"{client.name}, {case.name}: {sample.failed} failed")
            results.add(case.name, client.name, measured(sample, ServerLog.read(log), case))
        except Stopped:
            raise
        except (StudyError, OSError, ValueError, KeyError) as error:
            results.failures.append(f"{client.name}, {case.name}: {type(error).__name__}: {error}")


def benchmark(asked: argparse.Namespace) -> dict[str, Any]:
    """Run all of it; gives what is printed.

    Raises:
        BadInput: there are not two cores.
    """
    cores = usable_cores()
    if len(cores) < 2:
        raise BadInput("one core", "two: one for the client, one for the server")
    results = Results()
    clients = able(asked, results)
    runs = plan(asked, clients)
    began_s = time.monotonic()
    for place, (number, case, client) in enumerate(runs, 1):
        spent_s = time.monotonic() - began_s
        at = f"[{place}/{len(runs)}] {spent_s:4.0f} s"
        say(f"{at}  round {number + 1}  {case.name}  {client.name}")
        one_run(case, client, (cores[0], cores[1]), results)
    costs = []
    if not (asked.no_layers or asked.quick or asked.case or asked.client):
        say("the cost of each layer")
        try:
            costs = layers.measure(cores[0], cores[1], asked.rounds)
        except StudyError as error:
            results.failures.append(f"layers: {error}")
    names = [one.name for one in clients]
    measured_cases = [case for case in CASES if any(case.name == run.name for _, run, _ in runs)]
    return {
        "version": __version__, "python": platform.python_version(), "cpu": cpu_info()[0],
        "client_core": cores[0], "server_core": cores[1], "seconds": time.monotonic() - began_s,
        "versions": peers.VERSIONS, "clients": names,
        "results": rows(results, measured_cases, names), "layers": costs,
        "failures": results.failures,
    }  # fmt: skip


def main() -> int:
    """Run the benchmark; exit code 2: it cannot be run, 130: stopped."""
    asked = arguments()
    # A stop by the system is a stop by the user: what was started is ended in both cases.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        told = benchmark(asked)
    except (KeyboardInterrupt, Stopped):
        say("stopped")
        return 130
    except StudyError as error:
        say(str(error))
        return 2
    if asked.json:
        print(json.dumps(told, indent=2))
        return 0
    print(f"{told['cpu']}; client on core {told['client_core']}, server on {told['server_core']}")
    print(", ".join(f"{name} {version}" for name, version in told["versions"].items()))
    print(
        "medians (x ratio to heavyweight; of a %, the ratio of what is missing), "
        "then [min, max] and number of runs\n"
    )
    print(text(told["results"], told["clients"]))
    if told["layers"]:
        print("\nCPU of the client for each layer, 64 streams, ITL 5 ms\n")
        print(layers_text(told["layers"]))
    for failure in told["failures"]:
        print(f"note: {failure}")
    print(f"\n{told['seconds']:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
