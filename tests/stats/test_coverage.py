"""Measured coverage in short; `make coverage` measures every line with thousands of studies."""

import csv
import math
from functools import cache

import pytest

from benchmarks.statistics import coverage
from benchmarks.statistics.__main__ import CSV, text
from benchmarks.statistics.coverage import Row

STUDIES = 300


@cache
def measured(group: str) -> tuple[Row, ...]:
    """The lines of a group, from few studies with a fixed seed."""
    return tuple(coverage.measure(STUDIES, groups=[group]))


def lines(group: str, interval: str, setting: str = "") -> list[Row]:
    """Those of one interval."""
    found = [
        row
        for row in measured(group)
        if row.interval.startswith(interval) and row.setting.startswith(setting)
    ]
    assert found, f"no line of {interval}, {setting}"
    return found


@pytest.mark.parametrize(
    ("group", "interval", "setting"),
    [
        ("ratios", "t of the ratio", "normal"),
        ("percentiles", "t of ratios of", "waves"),
        ("crossovers", "crossover, as given", ""),
        ("scalings", "scalability law", ""),
        ("trends", "trend", ""),
        ("order_statistics", "order statistics", "independent"),
    ],
)
def test_intervals_hold_what_they_promise(group, interval, setting):
    for row in lines(group, interval, setting):
        assert row.measured > 0.95 - 0.02 - 3.5 * row.error, row


@pytest.mark.parametrize(
    ("group", "interval"),
    [("percentiles", "t of ratios: false"), ("decisions", "TOST"), ("decisions", "Holm")],
)
def test_false_alarms_are_as_rare_as_promised(group, interval):
    for row in lines(group, interval):
        assert row.measured < 0.05 + 3.5 * row.error, row


def test_what_is_refused_would_not_hold():
    assert all(row.measured < 0.92 for row in lines("bca", "BCa", "refused"))


def test_waves_need_their_effective_size():
    for row in lines("order_statistics", "order statistics", "waves taken"):
        assert row.measured < 0.85, row
    for row in lines("goodputs", "goodput in a session, 50%", "waves, effective"):
        assert row.measured > 0.88, row


def test_a_cautious_plan_reaches_its_width_more_often():
    plain, cautious = (lines("plans", "blocks_needed", s) for s in ("as planned", "with caution"))
    for one, other in zip(plain, cautious, strict=True):
        assert other.measured > one.measured


def test_the_committed_table_has_every_line_and_these_numbers():
    with CSV.open() as table:
        kept = list(csv.DictReader(table))
    for group in ("ratios", "decisions"):
        for row in measured(group):
            name, setting, blocks, *_ = map(str, text(row))
            (line,) = (
                k
                for k in kept
                if (k["interval"], k["setting"], k["blocks"]) == (name, setting, blocks)
            )
            error = math.hypot(row.error, float(line["error"].rstrip("%")) / 100)
            assert abs(row.measured - float(line["measured"].rstrip("%")) / 100) < 4 * error, row
