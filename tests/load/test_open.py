"""The open loop: nothing is left out, nothing waits for others, latency counts from the due time.

Times are compared with each other and with the server's log, never with a number of milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import heavyweight.load
from heavyweight import load, store
from heavyweight.arrivals import Schedule, schedule
from heavyweight.errors import BadInput, StudyError
from heavyweight.load import LoadSpec, Timeouts, limits
from heavyweight.load.client import Client
from heavyweight.load.process import measure_cell
from heavyweight.load.spec import Arrivals
from heavyweight.records import Cell, ErrorClass
from heavyweight.stats.requests import Requests
from tests.load.conftest import Emulated
from tests.load.serving import serving

Start = Callable[..., Emulated]
Make = Callable[..., LoadSpec]
Measure = Callable[..., tuple[Cell, pd.DataFrame]]


def arrivals(**fields: Any) -> Arrivals:
    """Poisson arrivals, unless told otherwise."""
    known: dict[str, Any] = {"process": "poisson", "rate_per_s": 100.0}
    if fields.keys() & {"trace", "seconds", "requests"} == set():
        known["seconds"] = 1.0
    if fields.get("process") == "trace":
        known.clear()
    return Arrivals(**known | fields)


def planned(spec: LoadSpec) -> Schedule:
    """The schedule that the spec describes."""
    assert spec.arrivals is not None
    return schedule(spec.arrivals, spec.seed, spec.block)


def measured(spec: LoadSpec, **options: Any) -> tuple[Cell, pd.DataFrame]:
    """Measure in a process of its own and read the cell back."""
    file = store.CellFile(load.measure(spec, **options))
    return file.cell, store.frame(file)


@pytest.fixture
def within(spec: Make) -> Measure:
    """Measure one cell in the test's own process, with the server in the same loop of events."""

    def measure(fields: dict[str, Any], **options: Any) -> tuple[Cell, pd.DataFrame]:
        async def both() -> Path:
            async with serving(**{"slots": 8, "ttft_ms": 5, "itl_ms": 1, **options}) as base_url:
                return await measure_cell(spec(base_url, users=0, **fields))

        file = store.CellFile(asyncio.run(both()))
        return file.cell, store.frame(file)

    return measure


@pytest.mark.parametrize("process", ["poisson", "constant", "gamma"])
def test_every_request_of_the_schedule_is_a_row_at_its_time(
    within: Measure, spec: Make, process: str
) -> None:
    given = arrivals(process=process, warmup_s=0.3)
    cell, rows = within({"arrivals": given})
    expected = planned(spec("http://127.0.0.1:1", users=0, arrivals=given))
    assert rows.due_ns.tolist() == expected.due_ns.tolist()
    assert (rows.sent_ns >= rows.due_ns).all()
    assert rows.error.isna().all()
    assert rows.prompt_id.is_unique
    assert set(rows.user) == {0}
    assert (cell.loop, cell.users, cell.arrivals) == ("open", 0, process)
    assert (cell.rate_per_s, cell.ended, cell.parts) == (100.0, "complete", 1)
    assert (cell.window_start_ns, cell.window_end_ns) == (300_000_000, 1_000_000_000)
    assert cell.machine_load.client_rss_bytes > 2**20
    assert cell.client["spin"] == "no"


def test_the_file_is_named_by_the_rate_and_found(within: Measure, tmp_path: Path) -> None:
    cell, _ = within({"arrivals": arrivals(rate_per_s=12.5)})
    (file,) = tmp_path.glob("*/*.parquet")
    assert file.name == f"r0012.5-{cell.cell_id[:12]}.parquet"
    (found,) = store.SessionFolder(file.parent).cells()
    assert found.cell == cell


def test_a_full_server_delays_nothing_and_leaves_nothing_out(emulated: Start, spec: Make) -> None:
    # AIPerf, HF's benchmarker and etalon skip what finds all of their workers busy.
    server = emulated("--slots", "1", "--ttft-ms", "100", "--itl-ms", "10")
    given = arrivals(rate_per_s=500.0, seconds=4.0, drain_s=0.2)
    made = spec(server.base_url, users=0, arrivals=given)
    cell, rows = measured(made)
    due_ns = planned(made).due_ns
    assert rows.due_ns.tolist() == due_ns.tolist()
    assert rows.sent_ns.notna().all()
    assert rows.sent_ns.is_monotonic_increasing, "sent in the order in which they were due"
    assert cell.ended == "cap"
    waiting = rows.error == ErrorClass.ABANDONED
    assert waiting.sum() > 1500, "they were queued at the server"
    lag = (rows.sent_ns - rows.due_ns).to_numpy(float)
    early, late = np.array_split(lag, 2)
    # The queue is 1000 requests longer in the second half; a gap is 2 ms.
    assert np.median(late) < max(3 * np.median(early), np.diff(due_ns).mean())
    requests = Requests.read(store.CellFile(next(made.out_dir.glob("r*"))).requests(), cell)
    assert requests.in_window.all(), "due in the window: also those that were never answered"
    assert np.isinf(requests.latencies_ms("e2e")).sum() == waiting.sum()


def test_latency_holds_the_time_in_the_queue(emulated: Start, spec: Make) -> None:
    server = emulated("--slots", "1", "--ttft-ms", "20", "--itl-ms", "4")
    given = arrivals(process="constant", rate_per_s=50.0, requests=100)
    cell, rows = measured(spec(server.base_url, users=0, arrivals=given))
    assert rows.error.isna().all()
    assert cell.ended == "complete"
    log = server.log()
    truth = [log[name] for name in rows.request_id]
    admitted = np.array([line["admitted_ns"] for line in truth], float)
    # D/D/1 with more to do than it can: request k waits k x (service - gap).
    service_ns, gap_ns = np.diff(admitted).mean(), 1e9 / 50
    assert service_ns > 1.5 * gap_ns
    first = rows.chunk_ns.map(lambda stamps: stamps[0]).to_numpy(float)
    ttft = first - rows.due_ns.to_numpy(float)
    slope = np.polyfit(np.arange(100), ttft, 1)[0]
    assert slope == pytest.approx(service_ns - gap_ns, rel=0.05)
    written = np.array([line["write_ns"][0] for line in truth]) - cell.origin_monotonic_ns
    assert (first > written).all()
    assert ttft == pytest.approx(written - rows.due_ns.to_numpy(float), rel=0.5)
    requests = Requests.read(
        store.CellFile(next(Path(server.log_path).parent.glob("*/r*"))).requests(), cell
    )
    assert requests.latencies_ms("ttft") == pytest.approx(np.sort(ttft) / 1e6)
    assert requests.requests_per_s == pytest.approx(1e9 / service_ns, rel=0.1)


def test_a_server_that_dies_leaves_all_rows(emulated: Start, spec: Make) -> None:
    server = emulated("--slots", "16", "--ttft-ms", "50", "--itl-ms", "5")
    made = spec(server.base_url, users=0, arrivals=arrivals(rate_per_s=80.0, seconds=3.0))
    reports: list[dict[str, Any]] = []

    def kill_in_the_middle(state: dict[str, Any]) -> None:
        reports.append(state)
        if state["done"] >= 50:
            server.process.kill()

    cell, rows = measured(made, on_progress=kill_in_the_middle)
    assert rows.due_ns.tolist() == planned(made).due_ns.tolist()
    assert cell.ended == "complete", "errors in a row end no open loop"
    failed = rows[rows.error.notna()]
    assert set(failed.error) == {ErrorClass.RESET, ErrorClass.REFUSED}
    assert len(rows) - len(failed) >= 50
    assert (failed.error == ErrorClass.REFUSED).sum() > 20
    assert (rows.done_ns >= rows.due_ns).all(), "no request fails before it is due"
    last = reports[-1]
    assert {"due", "late"} <= set(last)
    assert last["due"] <= len(rows)


def test_a_dead_server_takes_no_longer_than_the_schedule(within: Measure, spec: Make) -> None:
    made = spec("http://127.0.0.1:1", users=0, arrivals=arrivals())
    cell, rows = measured(made)
    assert len(rows) == len(planned(made))
    assert set(rows.error) == {ErrorClass.REFUSED}
    assert (rows.done_ns >= rows.due_ns).all()
    assert rows.sent_ns.isna().all()
    assert cell.ended == "complete"


def test_failures_do_not_slow_it_down(within: Measure, spec: Make) -> None:
    given = arrivals()
    _, rows = within({"arrivals": given}, fault="status-503")
    expected = planned(spec("http://127.0.0.1:1", users=0, arrivals=given))
    assert rows.due_ns.tolist() == expected.due_ns.tolist()
    assert set(rows.error) == {ErrorClass.HTTP_503}


def test_parts_together_make_the_load_of_one(emulated: Start, spec: Make, tmp_path: Path) -> None:
    server = emulated("--slots", "8", "--ttft-ms", "5", "--itl-ms", "1")
    given = arrivals(rate_per_s=120.0)
    whole = spec(server.base_url, users=0, arrivals=given)
    start_ns = time.perf_counter_ns() + 8 * 10**9
    folders = [tmp_path / str(part) for part in range(3)]
    running = []
    for part, folder in enumerate(folders):
        folder.mkdir()
        running.append(
            whole.model_copy(
                update={"part": part, "parts": 3, "start_at_ns": start_ns, "out_dir": folder}
            )
        )

    async def all_parts() -> list[Path]:
        return await asyncio.gather(*(asyncio.to_thread(load.measure, one) for one in running))

    files = [store.CellFile(path) for path in asyncio.run(all_parts())]
    assert {file.cell.origin_monotonic_ns for file in files} == {start_ns}
    assert {file.cell.parts for file in files} == {3}
    assert {file.cell.origin_utc[:-10] for file in files} == {files[0].cell.origin_utc[:-10]}
    rows = pd.concat([store.frame(file) for file in files]).sort_values("due_ns", kind="stable")
    assert rows.due_ns.tolist() == planned(whole).due_ns.tolist()
    _, alone = measured(whole)
    assert rows.prompt_id.tolist() == alone.prompt_id.tolist()
    assert rows.prompt_tokens.tolist() == alone.prompt_tokens.tolist()


def test_a_part_that_is_late_says_so(spec: Make) -> None:
    made = spec("http://127.0.0.1:1", users=0, arrivals=arrivals(), start_at_ns=1)
    with pytest.raises(StudyError, match="too late"):
        asyncio.run(measure_cell(made))
    assert list(made.out_dir.iterdir()) == []


def test_loads_of_one_session_share_no_prompt(within: Measure, tmp_path: Path) -> None:
    seen: list[str] = []
    for number, rate in enumerate((90.0, 100.0)):
        out = tmp_path / str(number)
        out.mkdir()
        _, rows = within({"arrivals": arrivals(rate_per_s=rate), "out_dir": out})
        seen += rows.prompt_id.tolist()
    assert len(seen) == len(set(seen))


def test_a_trace_sends_a_burst_in_order_with_its_own_lengths(
    within: Measure, tmp_path: Path
) -> None:
    file = tmp_path / "trace.csv"
    lines = [f"{7 + (i >= 150) * 0.4},{64 + i % 5},{2 + i % 3}" for i in range(200)]
    file.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]))
    cell, rows = within({"arrivals": arrivals(process="trace", trace=file)}, slots=300)
    assert rows.due_ns.tolist() == [0] * 150 + [400_000_000] * 50
    rows = rows.sort_values("prompt_id")
    assert rows.sent_ns.is_monotonic_increasing
    assert rows.output_tokens_asked.tolist() == [2 + i % 3 for i in range(200)]
    assert (rows.completion_tokens == rows.output_tokens_asked).all()
    assert rows.prompt_tokens.nunique() == 5
    assert cell.rate_per_s == pytest.approx(200 / 0.4)
    assert cell.arrivals == "trace"


def test_more_requests_than_are_made_ready_at_first(
    within: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heavyweight.load.open.STOCK", 3)
    _, rows = within({"arrivals": arrivals(rate_per_s=300.0)}, slots=100)
    assert [int(name[-6:]) for name in rows.prompt_id] == list(range(len(rows)))


def test_a_connection_that_broke_before_the_request_was_due_is_replaced(
    within: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Client.reserve
    seen: set[str] = set()

    async def breaking(self: Client, exchange: Any) -> Any:
        connection = await reserve(self, exchange)
        if connection is not None and exchange.request_id not in seen:
            connection.transport.close()
        seen.add(exchange.request_id)
        return connection

    monkeypatch.setattr(Client, "reserve", breaking)
    _, rows = within({"arrivals": arrivals()})
    assert len(seen) == len(rows)
    assert rows.error.isna().all()


def test_answers_that_fill_the_memory_end_the_cell_in_order(within: Measure) -> None:
    bound = limits.needed_bytes(100, 6)
    fields = {"arrivals": arrivals(requests=100), "memory_bytes": bound}
    cell, rows = within(fields, fault="long-line")
    assert cell.ended == "memory"
    assert 0 < len(rows) < 100
    assert rows.error.isna().all(), "what was in flight was drained"
    assert cell.window_end_ns > cell.window_start_ns


def test_a_cell_that_cannot_fit_is_refused_with_numbers(spec: Make) -> None:
    made = spec("http://127.0.0.1:1", users=0, output_tokens=100_000, memory_bytes=2**20,
                arrivals=arrivals(requests=50))  # fmt: skip
    with pytest.raises(
        BadInput, match=r"50 requests of 100000 tokens take about 1\d+ MiB .* 1 MiB"
    ):
        asyncio.run(measure_cell(made))
    assert list(made.out_dir.iterdir()) == []


def test_a_broken_client_is_no_quiet_success(
    within: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(exchange: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr("heavyweight.load.loop.succeeded", broken)
    with pytest.raises(ExceptionGroup, match="unhandled"):
        within({"arrivals": arrivals()})


def test_a_stalled_stream_is_a_row_of_its_own_class(within: Measure) -> None:
    _, rows = within(
        {"arrivals": arrivals(), "timeouts": Timeouts(gap_s=0.4)}, fault="stall", fault_every=7
    )
    assert set(rows.error.dropna()) == {ErrorClass.TIMEOUT_GAP}


def test_only_the_monotonic_clock_times_a_load() -> None:
    # GuideLLM times requests with the wall clock, which others may set.
    for file in Path(heavyweight.load.__path__[0]).glob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert "time.time(" not in source, file.name
        assert "time.time_ns(" not in source, file.name
    assert time.get_clock_info("perf_counter").monotonic
