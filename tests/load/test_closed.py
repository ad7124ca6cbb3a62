"""The closed loop, cell by cell, with the emulated server in the same loop of events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from heavyweight import store
from heavyweight.errors import BadInput, StoreError
from heavyweight.load import LoadSpec, Timeouts, limits, loop
from heavyweight.load.process import measure_cell
from heavyweight.records import Cell, ErrorClass
from tests.load.conftest import inside
from tests.load.serving import serving

Measure = Callable[..., tuple[Cell, pd.DataFrame]]


@pytest.fixture
def measured(spec: Callable[..., LoadSpec]) -> Measure:
    """Measure one cell against a server with these options, and read it back."""

    def measure(fields: dict[str, Any], **options: Any) -> tuple[Cell, pd.DataFrame]:
        async def both() -> Path:
            async with serving(**{"slots": 4, "ttft_ms": 5, "itl_ms": 1, **options}) as base_url:
                return await measure_cell(spec(base_url, **fields))

        file = store.CellFile(asyncio.run(both()))
        return file.cell, store.frame(file)

    return measure


def test_users_start_one_by_one_over_the_first_response_time(measured: Measure) -> None:
    cell, rows = measured({"users": 5, "min_waves": 1, "min_requests": 5}, slots=8, ttft_ms=200)
    first = rows[rows.user == 0].sort_values("sent_ns").iloc[0]
    starts = rows.groupby("user").due_ns.min().sort_values()
    assert list(starts.index) == [0, 1, 2, 3, 4]
    response = first.done_ns - first.sent_ns
    expected = first.done_ns + response * np.arange(1, 5) // 4
    assert (starts.to_numpy()[1:] == expected).all()
    # The window begins when a whole wave is done after the last user's start; user 0's second
    # answer ends at about that start and may come just before or behind it.
    wave = rows[(rows.done_ns > starts.iloc[-1]) & (rows.done_ns <= cell.window_start_ns)]
    assert len(wave) in (5, 6)


def test_the_prompts_do_not_depend_on_the_arm(measured: Measure, tmp_path: Path) -> None:
    seen = []
    for api in ("ollama", "vllm"):
        out = tmp_path / api
        out.mkdir()
        _, rows = measured({"out_dir": out}, api=api)
        seen.append(dict(zip(rows.prompt_id, rows.prompt_tokens, strict=True)))
    common = seen[0].keys() & seen[1].keys()
    assert len(common) >= 12
    assert all(seen[0][name] == seen[1][name] for name in common)


def test_a_failed_user_backs_off(measured: Measure) -> None:
    cell, rows = measured({"users": 2}, fault="status-503", fault_every=4)
    assert cell.ended == "complete"
    failed = rows[rows.error == ErrorClass.HTTP_503]
    assert len(failed) >= 3
    for user, row in zip(failed.user, failed.itertuples(), strict=True):
        following = rows[(rows.user == user) & (rows.due_ns > row.done_ns)].due_ns
        if len(following):
            assert following.min() - row.done_ns == 200_000_000


def test_errors_are_counted_by_what_the_streams_say(measured: Measure) -> None:
    _, rows = measured({}, api="vllm", fault="empty", fault_every=5)
    assert set(rows.error.dropna()) == {ErrorClass.EMPTY}
    assert (rows[rows.error.notna()].chunk_ns.map(len) == 0).all()


def test_damage_that_the_quick_check_passes_is_an_error_row_all_the_same(measured: Measure) -> None:
    _, rows = measured({}, fault="truncated-json", fault_every=3)
    assert set(rows.error.dropna()) == {ErrorClass.MALFORMED}
    assert len(rows[rows.error.notna()]) >= len(rows) // 3 - 1


def test_the_cap_ends_a_cell_inside_its_window(measured: Measure) -> None:
    cell, rows = measured({"cap_seconds": 0.7, "min_requests": 10_000})
    assert cell.ended == "cap"
    assert cell.window_end_ns >= 0.7e9
    assert len(inside(cell, rows)) > 0
    assert rows.error.isna().all()  # what was in flight was drained


def test_a_cap_before_the_window_leaves_an_empty_window(measured: Measure) -> None:
    cell, rows = measured({"cap_seconds": 0.2}, ttft_ms=400)
    assert cell.ended == "cap"
    assert cell.window_start_ns == cell.window_end_ns
    assert inside(cell, rows).empty
    assert len(rows) == 1


def test_a_stalled_stream_is_drained_by_its_time_out(measured: Measure) -> None:
    _, rows = measured({"timeouts": Timeouts(gap_s=0.4)}, fault="stall", fault_every=7)
    stalled = rows[rows.error.notna()]
    assert set(stalled.error) == {ErrorClass.TIMEOUT_GAP}
    assert (stalled.chunk_ns.map(len) > 0).all()


def test_a_cell_that_exists_is_not_replaced(measured: Measure) -> None:
    measured({})
    with pytest.raises(StoreError, match="exists already"):
        measured({})


def test_a_broken_client_is_no_quiet_success(
    measured: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(exchange: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loop, "succeeded", broken)
    with pytest.raises(ExceptionGroup, match="unhandled"):
        measured({})


def test_the_parts_split_the_users_and_the_prompts(measured: Measure, tmp_path: Path) -> None:
    users, prompts, counts = [], set(), 0
    for part in range(2):
        out = tmp_path / str(part)
        out.mkdir()
        fields = {"users": 5, "part": part, "parts": 2, "out_dir": out, "min_requests": 40}
        cell, rows = measured(fields, slots=8)
        assert (cell.users, cell.parts) == (5, 2)
        assert len(inside(cell, rows)) >= 20
        users.append(set(rows.user))
        prompts |= {(name, int(name[-6:]) % 2 == part) for name in rows.prompt_id}
        counts += len(rows)
    assert users == [{0, 2, 4}, {1, 3}]
    assert len(prompts) == counts
    assert all(own for _, own in prompts)


def test_answers_that_fill_the_memory_end_the_cell_in_order(measured: Measure) -> None:
    bound = limits.needed_bytes(12 + 3, 6)
    cell, rows = measured({"min_seconds": 60, "memory_bytes": bound})
    assert cell.ended == "memory"
    assert rows.error.isna().all()
    assert len(rows) >= 15
    assert len(inside(cell, rows)) > 0


def test_a_cell_that_cannot_fit_is_refused_before_it_begins(measured: Measure) -> None:
    with pytest.raises(BadInput, match="15 requests of 6 tokens"):
        measured({"memory_bytes": limits.needed_bytes(15, 6) - 1})
