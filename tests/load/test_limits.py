"""What the load generator takes of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from heavyweight import load, store
from heavyweight.errors import BadInput
from heavyweight.load import LoadSpec, limits
from tests.load.conftest import Emulated

Make = Callable[..., LoadSpec]
HERE = "http://127.0.0.1:1"


def test_the_client_runs_on_the_cores_that_it_was_given(
    emulated: Callable[..., Emulated], spec: Make
) -> None:
    core = max(os.sched_getaffinity(0))
    server = emulated("--slots", "4", "--ttft-ms", "2", "--itl-ms", "1")
    cell = store.CellFile(load.measure(spec(server.base_url, cores=[core], spin=True))).cell
    assert cell.client["affinity"] == str(core)
    assert cell.client["cores"] == "its own"
    assert cell.client["spin"] == "yes"
    assert "spinning" in cell.client["pacing"]


def test_cores_that_are_not_there_are_named(spec: Make) -> None:
    with pytest.raises(BadInput, match=r"cores \[4000\]"):
        limits.bind(spec(HERE, cores=[4000]))


def test_no_active_waiting_without_cores(spec: Make) -> None:
    with pytest.raises(ValidationError, match="cores of the client's own"):
        spec(HERE, spin=True)


def test_no_active_waiting_on_the_servers_cores(spec: Make) -> None:
    before = psutil.Process().cpu_affinity()
    server = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        made = spec(HERE, cores=before[:1], spin=True, server_pgid=server.pid)
        with pytest.raises(BadInput, match="which are the server's as well"):
            limits.bind(made)
    finally:
        server.communicate(b"\n")
        psutil.Process().cpu_affinity(before)


def test_the_limit_of_open_files_is_raised() -> None:
    code = (
        "import resource; from heavyweight.load.limits import raise_open_files;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "raise_open_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("limit", "used", "free"), [("max", "5", None), ("1000", "400", 600), ("10", "20", 0)]
)
def test_the_limit_of_a_container_counts(
    limit: str, used: str, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    if free is None:
        assert limits.free_bytes() > 1000
    else:
        assert limits.free_bytes() == free


def test_a_bound_that_was_given_is_the_bound(spec: Make) -> None:
    assert limits.bound_bytes(spec(HERE, memory_bytes=12345)) == 12345
    assert 0 < limits.bound_bytes(spec(HERE)) < psutil.virtual_memory().total
