"""Parts of one load become one cell, on one clock."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.errors import StudyError
from heavyweight.loadtest.clocks import Reading, between, furthest_apart_ns
from heavyweight.loadtest.merge import Part, machine_load, merge
from heavyweight.records import REQUEST_SCHEMA, Cell, MachineLoad


def machine(**fields: Any) -> MachineLoad:
    known = {
        "elapsed_s": 10.0, "server_cpu_s": 3.0, "client_cpu_s": 1.0, "other_cpu_s": 1.5,
        "steal_s": 0.0, "swapped_bytes": 0, "server_rss_bytes": 7, "client_rss_bytes": 5,
    }  # fmt: skip
    return MachineLoad(**{**known, **fields})


def cell(origin: int = 1000, **fields: Any) -> Cell:
    known: dict[str, Any] = {
        "cell_id": "c" * 64, "run": "r", "session": "s", "arm": "load", "server": "openai",
        "model": "m", "block": 1, "users": 4, "output_tokens": 8, "prompt_tokens_target": 64,
        "seed": 1, "start_id": 1, "emulated": False, "origin_monotonic_ns": origin,
        "origin_utc": "2026-01-01T00:00:00+00:00", "window_start_ns": 100, "window_end_ns": 900,
        "ended": "complete", "idle_after": None, "machine_load": machine(), "client": {"loop": "x"},
    }  # fmt: skip
    return Cell(**{**known, **fields})


def rows(part: int, due: list[int], user: int = 0) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "request_id": f"{part}-{i}", "response_id": None, "user": user,
                "prompt_id": f"p{part}-{i}", "start_id": 1, "output_tokens_asked": 8,
                "due_ns": at, "sent_ns": at + 1 if i % 2 == 0 else None, "headers_ns": None,
                "chunk_ns": [at + 2, at + 3] if i % 2 == 0 else [], "chunk_bytes": [1, 1],
                "done_ns": at + 4, "prompt_tokens": 1, "completion_tokens": 8,
                "finish_reason": "length", "status": 200, "error": None, "error_detail": None,
            }
            for i, at in enumerate(due)
        ],
        schema=REQUEST_SCHEMA,
    )  # fmt: skip


def part(number: int = 0, due: list[int] | None = None, offset_ns: int = 0, **fields: Any) -> Part:
    return Part(cell(**fields), rows(number, due or []), offset_ns)


def test_one_part_is_the_cell_itself() -> None:
    only = part(0, [1, 5, 3])
    merged, table = merge([only])
    assert merged == only.cell
    assert table.equals(only.table.sort_by("due_ns"))
    assert table.schema.equals(REQUEST_SCHEMA)


@given(
    offsets=st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=5),
    late=st.lists(st.integers(0, 10**6), min_size=5, max_size=5),
)
def test_absolute_times_are_those_of_the_common_clock(offsets: list[int], late: list[int]) -> None:
    """Whatever the clocks say: a moment of the common clock is where it was."""
    common = 10**16
    parts = [
        part(number, [0, 10, 20], offset, origin=common + late[number] + offset)
        for number, offset in enumerate(offsets)
    ]
    merged, table = merge(parts)
    assert merged.origin_monotonic_ns == common + min(late[: len(parts)])
    found = {r["request_id"]: r for r in table.to_pylist()}
    for number in range(len(parts)):
        for i, due in enumerate((0, 10, 20)):
            row = found[f"{number}-{i}"]
            at = common + late[number] + due - merged.origin_monotonic_ns
            sent = i % 2 == 0
            assert (row["due_ns"], row["done_ns"]) == (at, at + 4)
            assert row["sent_ns"] == (at + 1 if sent else None)
            assert row["chunk_ns"] == ([at + 2, at + 3] if sent else [])
    assert table["due_ns"].to_pylist() == sorted(table["due_ns"].to_pylist())


def test_every_stamp_of_a_row_is_moved() -> None:
    whole = [f for f in REQUEST_SCHEMA if f.name.endswith("_ns")]
    stamps = {f.name: 100 for f in whole if f.type == pa.int64()}
    assert {"due_ns", "sent_ns", "handed_ns", "headers_ns", "done_ns"} <= set(stamps)
    lists = {f.name: [100] for f in whole if f.name not in stamps}
    row = rows(1, [0]).to_pylist()[0] | stamps | lists | {"chunk_bytes": [1]}
    late = Part(cell(origin=1050), pa.Table.from_pylist([row], schema=REQUEST_SCHEMA))
    _, table = merge([part(0, [0]), late])
    moved = next(r for r in table.to_pylist() if r["request_id"] == row["request_id"])
    assert {name: moved[name] for name in stamps} == dict.fromkeys(stamps, 150)
    assert {name: moved[name] for name in lists} == {name: [150] for name in lists}


def test_the_longest_sleep_and_the_farthest_set_clock_count() -> None:
    def merged(*told: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
        loads = [machine(suspended_s=slept, clock_set_s=moved) for slept, moved in told]
        load = machine_load([part(i, machine_load=one) for i, one in enumerate(loads)])
        return load.suspended_s, load.clock_set_s

    assert merged((0.0, 0.25), (3.0, -2.0), (None, 1.0)) == (3.0, -2.0)
    assert merged((None, None), (0.0, 0.0)) == (0.0, 0.0)
    assert merged((None, None), (None, None)) == (None, None)


def test_the_window_is_where_all_windows_are() -> None:
    merged, _ = merge(
        [
            part(0, [1], origin=1000, window_start_ns=100, window_end_ns=900),
            part(1, [1], origin=1050, window_start_ns=80, window_end_ns=700),
        ]
    )
    assert (merged.window_start_ns, merged.window_end_ns) == (130, 750)
    apart, _ = merge(
        [
            part(0, [1], window_start_ns=100, window_end_ns=200),
            part(1, [1], window_start_ns=300, window_end_ns=400),
        ]
    )
    assert apart.window_start_ns == apart.window_end_ns


def test_the_worst_end_and_the_least_idle_count() -> None:
    parts = [
        part(0, [1], ended="complete", idle_after=True),
        part(1, [1], ended="errors", idle_after=False),
        part(2, [1], ended="cap"),
    ]
    merged, _ = merge(parts, clock_error_ns=7)
    assert (merged.ended, merged.idle_after) == ("errors", False)
    assert (merged.parts, merged.clock_error_ns) == (3, 7)


def test_parts_on_one_machine_are_not_other_processes_to_each_other() -> None:
    parts = [part(number, [1], machine_load=machine(other_cpu_s=2.5)) for number in range(2)]
    for one in parts:
        one.worker_cpu_s = 0.5
    load = merge(parts)[0].machine_load
    assert load.client_cpu_s == 2.0
    assert load.other_cpu_s == pytest.approx(1.0)  # 2.5 less the other client and its worker
    assert (load.server_cpu_s, load.server_rss_bytes, load.client_rss_bytes) == (3.0, 7, 10)
    parts[1].machine = "another"
    assert merge(parts)[0].machine_load.other_cpu_s == pytest.approx(2.5)


def test_parts_of_different_loads_and_repeated_requests_are_refused() -> None:
    with pytest.raises(StudyError, match="differ in users"):
        merge([part(0, [1]), part(1, [1], users=5)])
    with pytest.raises(StudyError, match="in two parts"):
        merge([part(0, [1]), part(0, [1])])


def test_a_clock_between_two_readings() -> None:
    assert between(Reading(100, 5), Reading(140, 8)) == Reading(120, 28)
    assert between(Reading(-100, 5), Reading(-100, 5)) == Reading(-100, 5)
    assert furthest_apart_ns([Reading(0, 3), Reading(9, 5), Reading(1, 4)]) == 9


def test_parts_without_one_time_are_invalid() -> None:
    from heavyweight.stats.requests import Requests
    from heavyweight.validity.base import Evidence
    from heavyweight.validity.machine import client

    limits = {"dispatch_lag_ms": 1.0, "dispatch_lag_fraction": 0.01}
    for error_ns, passed in ((None, True), (900_000, True), (1_100_000, False)):
        merged, table = merge([part(0, [200]), part(1, [300])], error_ns)
        requests = Requests.read(table, merged)
        looked = client(Evidence(merged, None, requests, limits, ()))  # type: ignore[arg-type]
        assert all(one.passed for one in looked) == passed
        assert len(looked) == (1 if error_ns is None else 2)
