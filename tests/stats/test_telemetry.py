"""Slopes of counters, and the worst seconds of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.recordings import Recording
from heavyweight.stats.telemetry import Recorded, Series
from tests.recorded import GPU, QUIET, VLLM, record, table
from tests.synthetic import write_run

S = 1e9


def burst(at_s: float, long_s: float, cores: float, hz: float = 5.0) -> Series:
    """A counter that grows by some cores for a while."""
    t = np.arange(0, 60, 1 / hz)
    return Series(t * S, np.clip(t - at_s, 0, long_s) * cores)


def test_a_burst_is_found_where_the_mean_hides_it():
    counter = burst(20, 5, 2.0)
    assert counter.slope(0, 50 * S) == pytest.approx(0.2)
    assert counter.largest_slope(5, 0, 50 * S) == pytest.approx(2.0)
    assert counter.largest_slope(10, 0, 50 * S) == pytest.approx(1.0)


def test_only_what_is_between_the_two_times_counts():
    counter = burst(20, 5, 2.0)
    assert counter.largest_slope(5, 30 * S, 50 * S) == pytest.approx(0, abs=1e-9)
    assert counter.largest_slope(5, 0, 21 * S) == pytest.approx(0.4)


def test_a_window_that_is_shorter_than_the_span_is_taken_whole():
    assert burst(1, 1, 1.0).largest_slope(5, 0, 2 * S) == pytest.approx(0.5)


@given(st.floats(0, 50), st.floats(0.5, 5), st.floats(0.1, 8))
def test_the_worst_is_never_below_the_mean_nor_above_the_truth(at_s, long_s, cores):
    counter = burst(at_s, long_s, cores, hz=7.3)
    worst = counter.largest_slope(5, 0, 59 * S)
    assert worst >= counter.slope(0, 59 * S) - 1e-9
    assert worst <= cores + 1e-9


def test_too_few_samples_say_nothing():
    for n in (0, 1):
        short = Series(np.arange(n) * S, np.zeros(n))
        assert np.isnan(short.slope(0, S))
        assert np.isnan(short.largest_slope(5, 0, S))


def test_what_was_written_is_found_by_name(tmp_path):
    cell = write_run(tmp_path / "run", users=(4,), blocks=1).sessions()[0].cells()[0].cell
    curves = QUIET | GPU | VLLM
    read = Recorded.read(Recording(record(cell), table(curves, 0, 3)), cell)
    assert set(read.series) == set(curves)
    server = read.get("machine", "server_cpu_s")
    assert server.values == pytest.approx(1.5 * server.at_ns / S)
    assert read.get("machine", "nothing") is None
    assert set(read.each("process", "rss_bytes")) == {"a", "b"}
    assert set(read.each("gpu", "memory_used_bytes")) == {"0"}  # the instance is a part of it
    total = read.summed("process", "rss_bytes")
    assert (total.values[0], total.values[-1]) == (1.1e9, 1.5e9)


def test_rows_in_any_order_are_the_same_series(tmp_path):
    cell = write_run(tmp_path / "run", users=(4,), blocks=1).sessions()[0].cells()[0].cell
    rows = table(QUIET | GPU, 0, 3)
    shuffled = rows.take(np.random.default_rng(7).permutation(len(rows)))
    one, other = (Recorded.read(Recording(record(cell), t), cell).series for t in (rows, shuffled))
    assert set(one) == set(other)
    for key, series in one.items():
        assert np.array_equal(series.at_ns, other[key].at_ns)
        assert np.array_equal(series.values, other[key].values)


def test_an_empty_recording_has_no_series(tmp_path):
    cell = write_run(tmp_path / "run", users=(4,), blocks=1).sessions()[0].cells()[0].cell
    assert Recorded.read(Recording(record(cell), table({}, 0, 1)), cell).series == {}
