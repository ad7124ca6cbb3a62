"""One load by several load generators, against the schedule of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from distributed import LocalCluster

from heavyweight import store
from heavyweight.arrivals import schedule
from heavyweight.errors import BadInput, Stopped, StudyError
from heavyweight.load import LoadSpec
from heavyweight.load.spec import Arrivals
from heavyweight.loadtest import clocks, crew, fleet
from heavyweight.loadtest.clocks import Reading
from heavyweight.loadtest.crew import Crew
from heavyweight.records import Cell

IDENTITY = {
    "cell_id": "f" * 64, "run": "load", "session": "load", "arm": "load", "server": "emulated",
    "model": "emulated", "emulated": True,
}  # fmt: skip
FAST = ("--slots", 64, "--ttft-ms", 10, "--itl-ms", 1)


@pytest.fixture(scope="module")
def workers() -> Iterator[Crew]:
    """Two workers for all tests that leave them alive."""
    with Crew("local:2") as both:
        yield both


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., LoadSpec]:
    def make(base_url: str, **fields: Any) -> LoadSpec:
        known: dict[str, Any] = {
            "cell": IDENTITY, "base_url": base_url, "model": "emulated", "users": 7, "seed": 3,
            "block": 1, "output_tokens": 5, "prompt_tokens": 64, "min_requests": 60,
            "min_waves": 4, "min_seconds": 0.5, "cap_seconds": 60, "out_dir": tmp_path,
        }  # fmt: skip
        return LoadSpec(**{**known, **fields})

    return make


def loads_that_run() -> list[psutil.Process]:
    """Load generators below this process, and those that lost their parent."""
    found = []
    for process in psutil.process_iter():
        try:
            if "heavyweight.load" in process.cmdline() and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return [p for p in found if p.ppid() == 1 or os.getpid() in [a.pid for a in p.parents()]]


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def read(path: Path) -> tuple[Cell, pd.DataFrame]:
    file = store.CellFile(path)
    return file.cell, store.frame(file)


def test_an_open_load_is_the_schedule_of_one_process(
    workers: Crew, served: Callable[..., str], spec: Callable[..., LoadSpec]
) -> None:
    arrivals = Arrivals(process="gamma", rate_per_s=60, seconds=2, warmup_s=0.5)
    cell, rows = read(fleet.measure(workers, spec(served(*FAST), users=0, arrivals=arrivals)))
    planned = schedule(arrivals, seed=3, block=1)
    assert rows.due_ns.tolist() == planned.due_ns.tolist()
    assert (cell.window_start_ns, cell.window_end_ns) == planned.window_ns
    assert (cell.parts, cell.clock_error_ns, cell.ended) == (2, None, "complete")
    assert (cell.loop, cell.rate_per_s, cell.arrivals) == ("open", 60, "gamma")
    assert rows.prompt_id.is_unique
    assert rows.request_id.is_unique
    assert rows.error.isna().all()


def test_a_trace_comes_along(
    workers: Crew, served: Callable[..., str], spec: Callable[..., LoadSpec], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("100.0\n100.25\n100.25\n100.5\n100.75\n")
    out = tmp_path / "cell"
    out.mkdir()
    made = spec(
        served(*FAST), users=0, arrivals=Arrivals(process="trace", trace=trace), out_dir=out
    )
    _, rows = read(fleet.measure(workers, made))
    assert rows.due_ns.tolist() == [0, 250_000_000, 250_000_000, 500_000_000, 750_000_000]


def test_a_closed_load_has_each_user_once(
    workers: Crew, served: Callable[..., str], spec: Callable[..., LoadSpec]
) -> None:
    told: list[dict[str, Any]] = []
    cell, rows = read(fleet.measure(workers, spec(served(*FAST)), told.append))
    assert set(rows.user) == set(range(7))
    assert (cell.users, cell.parts, cell.loop) == (7, 2, "closed")
    assert rows.prompt_id.is_unique
    for _, mine in rows.groupby("user"):  # a user is one: its requests do not overlap
        assert (mine.sent_ns.iloc[1:].to_numpy() > mine.done_ns.iloc[:-1].to_numpy()).all()
    inside = rows[(rows.done_ns > cell.window_start_ns) & (rows.done_ns <= cell.window_end_ns)]
    assert len(inside) >= 60
    assert told[-1]["done"] <= len(rows)
    assert {"phase", "done", "errors", "in_flight", "live_tok_s", "elapsed_s"} <= set(told[-1])


def test_what_is_due_and_late_is_told_of_all_parts() -> None:
    shared = {"phase": "measure", "elapsed_s": 1.0, "done": 2, "errors": 0, "in_flight": 1,
              "live_tok_s": 5.0}  # fmt: skip
    both = fleet._sum([{**shared, "due": 4, "late": 1}, {**shared, "due": 3, "late": 2}])
    assert (both["due"], both["late"], both["done"]) == (7, 3, 4)
    begins = fleet._sum([{**shared, "due": 4, "late": 1}, shared])
    assert (begins["due"], begins["late"]) == (4, 1)
    assert not {"due", "late"} & set(fleet._sum([shared, shared])), "a closed loop has neither"


def test_ctrl_c_stops_every_part_and_no_part_is_without_users(
    workers: Crew, served: Callable[..., str], spec: Callable[..., LoadSpec], tmp_path: Path
) -> None:
    running: list[int] = []

    def interrupt(state: dict[str, Any]) -> None:
        if state["done"] > 20:
            running.append(len(loads_that_run()))
            raise KeyboardInterrupt

    with pytest.raises(Stopped):
        fleet.measure(workers, spec(served(*FAST), users=1, min_seconds=50), interrupt)
    assert running == [1]  # one user is one part, though there are two workers
    until(lambda: not loads_that_run(), 3)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_fails_ends_the_others(
    workers: Crew, spec: Callable[..., LoadSpec], tmp_path: Path
) -> None:
    made = spec("http://127.0.0.1:9", memory_bytes=1)
    with pytest.raises(StudyError, match="memory"):
        fleet.measure(workers, made)
    assert not loads_that_run()
    assert list(tmp_path.iterdir()) == []


def test_clocks_that_are_not_shared_are_compared(
    workers: Crew, spec: Callable[..., LoadSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {address: f"machine {i}" for i, address in enumerate(workers.addresses)}
    monkeypatch.setattr(workers, "clock_names", names)
    readings = fleet._readings(workers, workers.addresses)
    assert all(abs(one.offset_ns) <= one.error_ns for one in readings)
    assert all(one.error_ns > 0 for one in readings)
    with pytest.raises(BadInput, match="another server on each"):
        fleet.measure(workers, spec("http://127.0.0.1:9"))
    far = [Reading(0, 900_000)] * 2
    monkeypatch.setattr(fleet, "_readings", lambda *_: far)
    made = spec("http://192.0.2.1", allow_remote=True)
    with pytest.raises(StudyError, match=r"known to 1\.8 ms only"):
        fleet.measure(workers, made)


def test_a_worker_that_dies_ends_the_load(
    served: Callable[..., str], spec: Callable[..., LoadSpec], tmp_path: Path
) -> None:
    with Crew("local:2") as two:
        victim = two.ask(two.addresses[0], os.getpid)

        def kill(state: dict[str, Any]) -> None:
            if state["done"] > 20:
                os.kill(victim, signal.SIGKILL)

        with pytest.raises(StudyError, match="died while the load ran"):
            fleet.measure(two, spec(served(*FAST), min_seconds=50), kill)
        until(lambda: not loads_that_run(), 5)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def scheduler() -> Iterator[str]:
    """A scheduler with one worker that runs already."""
    with crew._local_cluster(1) as cluster:
        assert isinstance(cluster, LocalCluster)
        yield str(cluster.scheduler_address)


def test_a_scheduler_that_runs_already_is_used_and_left(
    scheduler: str, served: Callable[..., str], spec: Callable[..., LoadSpec], tmp_path: Path
) -> None:
    url = served(*FAST)
    with Crew(scheduler) as found:
        cell, _ = read(fleet.measure(found, spec(url)))
    assert cell.parts == 1
    with Crew(scheduler) as again:  # it was not stopped
        assert len(again.addresses) == 1

    # A caller that is killed cannot stop its load: the worker sees that it is gone.
    made = spec(url, min_seconds=50).model_dump_json()
    code = (
        "import sys; from heavyweight.loadtest import fleet; "
        "from heavyweight.loadtest.crew import Crew; from heavyweight.load.spec import LoadSpec\n"
        "with Crew(sys.argv[1]) as crew: "
        "fleet.measure(crew, LoadSpec.model_validate_json(sys.argv[2]))"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, scheduler, made])
    until(lambda: bool(loads_that_run()), 40)
    caller.kill()
    caller.wait()
    until(lambda: not loads_that_run())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("local", "is no fleet"), ("local:0", "a fleet of 0"), ("local:99", "a fleet of 99"),
        ("tcp://127.0.0.1", "is no fleet"), ("tcp://127.0.0.1:x", "is no fleet"),
        ("http://127.0.0.1:80", "is no fleet"), ("tcp://192.0.2.1:8786", "another machine"),
    ],
)  # fmt: skip
def test_an_address_that_is_none(address: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        Crew(address)


def test_no_scheduler_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "FIND_S", 0.5)
    with pytest.raises(StudyError, match="no scheduler answers"), Crew("tcp://127.0.0.1:9"):
        pass


def test_this_process_knows_its_clock() -> None:
    assert clocks.clock_name()
