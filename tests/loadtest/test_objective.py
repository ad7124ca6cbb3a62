"""Objectives, and what they count."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from heavyweight.errors import BadInput
from heavyweight.loadtest.objective import Objective
from heavyweight.stats.requests import Requests
from tests.loadtest.test_merge import cell, rows


@pytest.mark.parametrize(
    ("text", "quantity", "allowed", "limit"),
    [
        ("ttft_p99_ms<=500", "ttft", 0.01, 500),
        (" e2e_p50_ms <= 1e3 ", "e2e", 0.5, 1000),
        ("itl_p99.9_ms<=25.5", "itl", 0.001, 25.5),
        ("error_fraction<=0.01", None, 0.01, 0.01),
    ],
)
def test_what_can_be_said(text: str, quantity: str | None, allowed: float, limit: float) -> None:
    objective = Objective.parse(text)
    assert (objective.quantity, objective.limit) == (quantity, limit)
    assert objective.allowed == pytest.approx(allowed)


@pytest.mark.parametrize(
    "text",
    ["", "ttft_p99_ms", "ttft_p99_ms<500", "ttft_p99_ms>=500", "ttft_p99_ms<=", "ttft_p100_ms<=5",
     "ttft_p0_ms<=5", "ttf_p99_ms<=5", "ttft_p99_ms<=-1", "ttft_p99_ms<=nan", "ttft_p99_ms<=inf",
     "error_fraction<=0", "error_fraction<=1", "error_fraction<=1%", "ttft_p99_ms<=5<=6"],
)  # fmt: skip
def test_what_cannot(text: str) -> None:
    with pytest.raises(BadInput, match="no objective"):
        Objective.parse(text)


def test_failures_break_every_objective_and_only_the_window_counts() -> None:
    table = rows(0, [0, 200, 400, 600, 2000])
    errors = table.schema.get_field_index("error")
    table = table.set_column(errors, table.schema.field(errors), [[None, None, None, "cut", "cut"]])
    requests = Requests.read(table, cell())
    tally = Objective.parse("error_fraction<=0.1").tally(requests)
    assert (tally.bad, tally.n) == (1, 3)
    tally = Objective.parse("e2e_p90_ms<=1000").tally(requests)
    assert tally.bad == 1  # the failed one only: all others took nanoseconds
    assert Objective.parse("error_fraction<=0.1").tally(Requests.read(rows(0, []), cell())).n == 0


def test_a_queue_that_comes_and_goes_makes_values_worth_less() -> None:
    """Nothing is bad, and still neighbours resemble each other."""
    waits = 1 + np.abs(np.sin(np.linspace(0, 6 * np.pi, 300)))
    table = rows(0, [i * 2 for i in range(300)])
    done = pa.array((np.arange(300) * 2 + 4 + (waits * 100).astype(int)).tolist(), pa.int64())
    place = table.schema.get_field_index("done_ns")
    table = table.set_column(place, table.schema.field(place), done)
    tally = Objective.parse("e2e_p90_ms<=1000").tally(Requests.read(table, cell()))
    assert tally.bad == 0
    assert tally.worth < tally.n / 2


def changed(table: pa.Table, **columns: list) -> pa.Table:
    """The table with some columns replaced."""
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table


def test_a_request_that_hung_in_the_window_is_bad_although_it_failed_later() -> None:
    table = rows(0, [200, 300, 400])
    table = changed(
        table, done_ns=[204, 304, 9_000], error=[None, None, "timeout_gap"], sent_ns=[201, 301, 401]
    )
    requests = Requests.read(table, cell())
    for text in ("error_fraction<=0.1", "e2e_p90_ms<=1000"):
        tally = Objective.parse(text).tally(requests)
        assert (tally.bad, tally.n) == (1, 3)


def test_a_cell_that_errors_ended_is_counted_whole() -> None:
    """It may have ended before its window began."""
    table = changed(rows(0, [0, 1, 2]), error=["http_503"] * 3)
    requests = Requests.read(table, cell(ended="errors", window_start_ns=50, window_end_ns=50))
    for text in ("error_fraction<=0.1", "ttft_p99_ms<=5"):
        tally = Objective.parse(text).tally(requests)
        assert (tally.bad, tally.n) == (3, 3)
