"""``python -m benchmarks.telemetry``: what recording a cell costs, as ratios of with to without.

The same load on the same emulated server, with and without the recorder in turn; the client has one
core and the server another, and the recorder, as in a study, takes its time from either.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil

from benchmarks import children
from benchmarks.cases import CASES, Case
from benchmarks.clients import cell_spec, read_cell
from benchmarks.measures import ttft_error_p99_ms
from benchmarks.sample import ServerLog
from heavyweight.errors import BadInput, StudyError
from heavyweight.load import measure
from heavyweight.machine import usable_cores
from heavyweight.recordings import Recording, path_beside
from heavyweight.records import measured
from heavyweight.servers.asking import told
from heavyweight.store import CellFile
from heavyweight.telemetry.metrics import read_vllm
from heavyweight.telemetry.recorder import Recorder

NAMES = ("8", "fast")  # a paced load, whose stamps matter; a full one, whose cores are all in use


@dataclass(frozen=True)
class Seen:
    """One cell.

    Args:
        tok_s: throughput over its window.
        ttft_ms: the client's error, p99; None: not known.
        cpu_cores: CPU time of the recorder per second; None: nothing was recorded.
        file_bytes: size of the telemetry.
        recorded_s: length of the recording.
    """

    tok_s: float
    ttft_ms: float | None
    cpu_cores: float | None = None
    file_bytes: int = 0
    recorded_s: float = 0.0


def one(case: Case, cores: tuple[int, int], record: bool) -> Seen:
    """One cell, with the recorder or without."""
    with tempfile.TemporaryDirectory(prefix="heavyweight-bench-") as name:
        folder = Path(name)
        with children.emulator(case, folder, cores[1]) as (port, log):
            (server,) = psutil.Process().children()
            recorder = Recorder(
                server.pid, lambda: read_vllm(told(f"http://127.0.0.1:{port}/metrics"))
            )
            with recorder if record else contextlib.nullcontext():
                path = measure(cell_spec(case, port, folder, cores[0]))
            if record:
                recorder.write(path)
        return _seen(path, log, case)


def _seen(path: Path, log: Path, case: Case) -> Seen:
    sample, server, cell = read_cell(path), ServerLog.read(log), CellFile(path).cell
    window_s = (cell.window_end_ns - cell.window_start_ns) / 1e9
    ended_ns = sample.end_ns - measured(cell.origin_monotonic_ns)
    inside = (ended_ns > cell.window_start_ns) & (ended_ns <= cell.window_end_ns)
    tok_s = float(sample.tokens[inside].sum()) / window_s
    found = Recording.beside(path)
    if found is None:
        return Seen(tok_s, ttft_error_p99_ms(sample, server, case))
    return Seen(
        tok_s, ttft_error_p99_ms(sample, server, case), found.record.cpu_s / found.record.elapsed_s,
        path_beside(path).stat().st_size, found.record.elapsed_s,
    )  # fmt: skip


def told_of(case: Case, pairs: Sequence[tuple[Seen, Seen]]) -> list[str]:
    """The lines of one load.

    Args:
        case: the load.
        pairs: without and with, one pair a round.
    """
    lines = [case.title]
    for title, values in (
        ("tokens/s, with / without", [b.tok_s / a.tok_s for a, b in pairs]),
        ("TTFT error p99, with / without",
         [b.ttft_ms / a.ttft_ms for a, b in pairs if a.ttft_ms and b.ttft_ms]),
        ("CPU of the recorder, cores", [b.cpu_cores for _, b in pairs if b.cpu_cores]),
        ("file, kB a minute", [b.file_bytes / b.recorded_s * 60 / 1e3 for _, b in pairs]),
    ):  # fmt: skip
        if values:
            spread = f"[{min(values):.4g}, {max(values):.4g}] {len(values)}"
            lines.append(f"  {title:<34} {median(values):8.4g}  {spread}")
    return lines


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry",
        description="What recording a cell costs, on an emulated server, as paired ratios.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="pairs of cells for each load")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each cell's window")
    known = parser.parse_args(words)
    if known.rounds < 1 or known.seconds <= 0:
        parser.error("--rounds must be at least 1 and --seconds above 0")
    return known


def main() -> int:
    """Run it; exit code 2: it cannot be run, 130: stopped."""
    asked, cores = arguments(), usable_cores()
    try:
        if len(cores) < 2:
            raise BadInput("one core", "two: one for the client, one for the server")
        for case in (replace(c, seconds=asked.seconds) for c in CASES if c.name in NAMES):
            pairs = []
            for number in range(asked.rounds):
                order = (False, True) if number % 2 == 0 else (True, False)
                seen = {record: one(case, (cores[0], cores[1]), record) for record in order}
                pairs.append((seen[False], seen[True]))
                print(f"{case.name}: round {number + 1}", file=sys.stderr, flush=True)
            print("\n".join(told_of(case, pairs)), flush=True)
    except KeyboardInterrupt:
        return 130
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    print("medians, [smallest, largest], number of pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
