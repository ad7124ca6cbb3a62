"""Emulated servers for the tests of the load generator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from heavyweight.load import LoadSpec
from heavyweight.records import Cell

IDENTITY = {
    "cell_id": "c" * 64,
    "run": "run",
    "session": "b01-emulated",
    "arm": "emulated",
    "server": "emulated",
    "model": "emulated",
    "emulated": True,
}


@dataclass
class Emulated:
    """An emulated server in a process of its own."""

    process: subprocess.Popen[str]
    base_url: str
    log_path: Path

    def log(self) -> dict[str, dict[str, Any]]:
        """What it logged, by request id."""
        lines = map(json.loads, self.log_path.read_text(encoding="utf-8").splitlines())
        return {line["request_id"]: line for line in lines}


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[Callable[..., Emulated]]:
    """Start emulated servers; they are stopped at the end of the test."""
    started: list[Emulated] = []

    def start(*arguments: str) -> Emulated:
        log = tmp_path / f"emulator-{len(started)}.jsonl"
        process = subprocess.Popen(
            [sys.executable, "-m", "heavyweight.emulator", "--log", str(log), *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        started.append(Emulated(process, f"http://127.0.0.1:{port}", log))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., LoadSpec]:
    """A short cell; fields can be replaced."""

    def make(base_url: str, **fields: Any) -> LoadSpec:
        out = tmp_path / IDENTITY["session"]
        out.mkdir(exist_ok=True)
        known: dict[str, Any] = {
            "cell": IDENTITY,
            "base_url": base_url,
            "model": "emulated",
            "users": 3,
            "seed": 1,
            "block": 1,
            "output_tokens": 6,
            "prompt_tokens": 64,
            "min_requests": 12,
            "min_waves": 2,
            "min_seconds": 0.1,
            "cap_seconds": 60,
            "out_dir": out,
        }
        return LoadSpec(**{**known, **fields})

    return make


def start_load(spec: LoadSpec, folder: Path) -> subprocess.Popen[str]:
    """Start the load generator by its command line."""
    file = folder / "spec.json"
    file.write_text(spec.model_dump_json(), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "heavyweight.load", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def inside(cell: Cell, rows: pd.DataFrame) -> pd.DataFrame:
    """The requests that finished in the window."""
    return rows[(rows.done_ns > cell.window_start_ns) & (rows.done_ns <= cell.window_end_ns)]
