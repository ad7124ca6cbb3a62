"""Queues: numbers computed by hand."""

import math

import pytest

from heavyweight.stats import closed_loop_bound, little_gap, saturation, utilisation


def test_littles_law():
    assert little_gap(50, 10, 5) == pytest.approx(0)
    assert little_gap(51, 10, 5) == pytest.approx(0.02)


def test_bounds_of_a_closed_loop():
    """One user takes 2 s alone, of which a slot is held for 1.5 s; 3 slots."""
    assert closed_loop_bound(1, 2, 1.5, 3) == pytest.approx(0.5)
    assert closed_loop_bound(4, 2, 1.5, 3) == pytest.approx(2)
    assert closed_loop_bound(50, 2, 1.5, 3) == pytest.approx(2)
    assert saturation(2, 1.5, 3) == pytest.approx(4)


def test_utilisation():
    assert utilisation(2, 1.5, 3) == pytest.approx(1)
    assert utilisation(0, 1.5) == 0


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_what_is_not_positive_is_refused(bad):
    for call in (
        lambda: little_gap(bad, 1, 1),
        lambda: little_gap(1, 1, bad),
        lambda: closed_loop_bound(1, bad, 1),
        lambda: saturation(1, bad),
        lambda: utilisation(1, bad),
    ):
        with pytest.raises(ValueError, match="must be positive and finite"):
            call()


@pytest.mark.parametrize("bad", [-1, math.nan])
def test_a_negative_throughput_is_refused(bad):
    with pytest.raises(ValueError, match="not be negative"):
        utilisation(bad, 1)
