"""Crossings: values of R, ends that say below and above, properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import crossing, crossover
from tests.stats import USERS, reference, weyl_rows

LOADS = USERS
CURVES = np.exp(0.5 * np.log(LOADS) - 0.8 + 0.4 * (weyl_rows(6, 7) - 0.5))
EDGE = CURVES * math.exp(0.75)
logs = st.lists(st.floats(-2, 2), min_size=4, max_size=4)
# The added values keep means away from 0, where rounding decides on which side they lie.
studies = st.lists(logs, min_size=2, max_size=8).map(
    lambda rows: np.array(rows) + 1e-3 * weyl_rows(len(rows), 4)
)


def blocks(curves) -> dict[int, np.ndarray]:
    """One curve a block."""
    return dict(enumerate(np.asarray(curves)))


@pytest.mark.parametrize("block", range(6))
def test_a_crossing_is_that_of_r(block):
    expected = reference()["crossing", str(block + 1)]
    assert crossing(LOADS, CURVES[block]) == pytest.approx(expected, rel=1e-12)


def test_the_interval_of_the_crossings_is_that_of_r():
    found = crossover(LOADS, blocks(CURVES))
    assert (found.inside, found.below, found.above, found.several) == (6, 0, 0, 0)
    for end in ("value", "low", "high"):
        assert getattr(found.by_t, end) == pytest.approx(reference()["crossing-t", end], rel=1e-9)
        expected = reference()["inverted", end]
        assert getattr(found.by_inversion, end) == pytest.approx(expected, rel=1e-9)


def test_blocks_that_cross_outside_are_counted_and_not_left_out():
    found = crossover(LOADS, blocks(EDGE))
    assert found.below > 0
    assert found.below + found.inside == 6
    assert reference()["inverted-edge", "at-lowest"] > 0, "not shown below at any load"
    assert found.low == 0.0
    assert found.high == pytest.approx(reference()["inverted-edge", "high"], rel=1e-9)
    assert f"{found.below} of 6 blocks cross below 1" in found.note
    assert found.by_t is None
    assert "inverted" in found.estimate.method


def test_near_an_edge_the_interval_by_inversion_decides():
    """All blocks cross inside the loads, by so little that some might as well not."""
    found = crossover([1, 4], blocks([[0.9, 2.0], [0.99, 2.0], [0.5, 2.0]]))
    assert found.inside == 3
    assert found.by_t is not None
    assert found.by_inversion.low == 0.0
    assert found.estimate is found.by_inversion
    assert "narrow margin" in found.note


def test_linear_in_the_log_of_the_load_and_of_the_ratio():
    assert crossing([1, 4], [0.5, 2.0]) == pytest.approx(2.0)
    assert crossing([1, 4], [1.0, 4.0], threshold=2) == pytest.approx(2.0)
    assert crossing([1, 2, 50], [0.5, 1.0, 3.0]) == 2.0


def test_the_last_passing_counts():
    ratios = [0.5, 2.0, 0.5, 2.0]
    assert crossing([1, 4, 16, 64], ratios) == pytest.approx(32.0)
    found = crossover([1, 4, 16, 64], blocks([ratios, ratios, [0.5, 0.5, 0.5, 2.0]]))
    assert found.several == 2
    assert "2 of 3 blocks pass the threshold more than once" in found.note


def test_outside_the_loads():
    assert crossing([1, 4], [1.0, 2.0]) == 0.0
    assert crossing([1, 4], [2.0, 0.9]) == math.inf
    assert crossing([1, 4, 8], [2.0, 0.9, 1.1]) > 4


@pytest.mark.parametrize(
    ("level", "expected"), [(5.0, (0.0, 0.0, 1.0)), (0.2, (math.inf, 50.0, math.inf))]
)
def test_all_blocks_on_one_side_bound_the_crossover_by_the_loads(level, expected):
    curves = level * np.exp(0.02 * (weyl_rows(6, 7) - 0.5))
    found = crossover(LOADS, blocks(curves))
    assert (found.value, found.low, found.high) == expected
    assert "6 of 6 blocks" in found.note


def test_all_blocks_on_one_side_but_not_shown_leave_the_interval_open():
    curves = np.exp(0.3 * np.linspace(0.01, 1, 6)[:, None] * (0.01 + weyl_rows(6, 7)))
    found = crossover(LOADS, blocks(curves[:2]))
    assert (found.value, found.low, found.high) == (0.0, 0.0, math.inf)


def test_a_dip_at_the_highest_load_leaves_the_upper_end_open():
    curves = np.array([[0.5, 2.0, 1.1], [0.5, 2.1, 0.9], [0.51, 2.0, 1.2]])
    found = crossover([1, 10, 50], blocks(curves))
    assert 1 < found.low < 10
    assert found.high == math.inf
    assert "1 of 3 blocks cross above 50" in found.note


def test_equal_blocks_have_an_interval_of_no_width():
    found = crossover([1, 4], blocks([[0.5, 2.0]] * 4))
    for estimate in (found.by_t, found.by_inversion):
        assert (estimate.low, estimate.high) == (pytest.approx(2.0), pytest.approx(2.0))


def test_one_block_has_a_value_and_no_interval():
    found = crossover([1, 4], {3: [0.5, 2.0]})
    assert found.value == pytest.approx(2.0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.note == "one block: no interval"
    outside = crossover([1, 4], {3: [2.0, 2.0]})
    assert outside.value == 0.0
    assert not outside.estimate.has_interval


@pytest.mark.parametrize(
    ("loads", "ratios", "threshold", "message"),
    [
        ([1], [1.0], 1, "at least two loads"),
        ([2, 1], [1.0, 2.0], 1, "ascending"),
        ([1, 1], [1.0, 2.0], 1, "ascending"),
        ([0, 1], [1.0, 2.0], 1, "positive"),
        ([1, math.nan], [1.0, 2.0], 1, "positive"),
        ([1, 2], [1.0, math.nan], 1, "no logarithm"),
        ([1, 2], [0.0, 1.0], 1, "no logarithm"),
        ([1, 2], [1.0, math.inf], 1, "no logarithm"),
        ([1, 2], [1.0], 1, "one ratio at each"),
        ([1, 2], [1.0, 2.0], 0, "threshold"),
    ],
)
def test_bad_input_is_refused(loads, ratios, threshold, message):
    with pytest.raises(ValueError, match=message):
        crossing(loads, ratios, threshold)
    with pytest.raises(ValueError, match=message):
        crossover(loads, {1: ratios}, threshold)


def test_no_blocks_are_refused():
    with pytest.raises(ValueError, match="no blocks"):
        crossover([1, 2], {})


@given(studies, st.floats(0.2, 5), st.floats(0.1, 10))
def test_units_of_load_and_ratio_do_not_matter(curves, factor, unit):
    loads = np.array([1.0, 3.0, 9.0, 27.0])
    plain = crossover(loads, blocks(np.exp(curves)))
    ratios = blocks(factor * np.exp(curves))
    scaled = crossover(loads * unit, ratios, threshold=factor)
    assert scaled.value == pytest.approx(plain.value * unit, rel=1e-6)
    assert list(scaled.crossings.values()) == pytest.approx(
        [x * unit for x in plain.crossings.values()], rel=1e-6
    )


@given(studies, st.randoms())
def test_the_order_of_blocks_does_not_matter(curves, random):
    loads = [1.0, 3.0, 9.0, 27.0]
    shuffled = list(enumerate(curves))
    random.shuffle(shuffled)
    one, other = (
        crossover(loads, {b: np.exp(y) for b, y in order})
        for order in (list(enumerate(curves)), shuffled)
    )
    assert one.value == pytest.approx(other.value)
    assert (one.below, one.inside, one.above) == (other.below, other.inside, other.above)


@given(studies)
def test_the_interval_by_inversion_holds_its_point_and_widens_with_confidence(curves):
    loads = [1.0, 3.0, 9.0, 27.0]
    narrow, wide = (
        crossover(loads, blocks(np.exp(curves)), confidence=c).by_inversion for c in (0.8, 0.95)
    )
    slack = 1 + 1e-9
    assert wide.low <= narrow.low * slack
    assert narrow.high <= wide.high * slack
    assert narrow.low <= max(narrow.value, 1e-300) * slack
    assert narrow.value <= narrow.high * slack
    assert wide.low == 0 or 1 <= wide.low <= 27
    assert wide.high == math.inf or 1 <= wide.high <= 27
