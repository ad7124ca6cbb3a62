"""Holm's procedure against p.adjust; p values and intervals of one estimate agree."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import holm, log_ratio_t, mean_log_t, mean_t, p_of, rewiden
from tests.stats import reference
from tests.stats.test_ratios import DENOMINATOR, NUMERATOR

FAMILIES = [
    [0.01, 0.04, 0.03, 0.005],
    [0.2, 0.2, 0.001, math.nan, 0.013],
    [0.9, 0.5, 0.6],
    [0.04],
    [0.024, 0.025, 0.026, 0.025],
]
ps = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.02, 0.05])), max_size=12)
positive = st.lists(st.floats(0.1, 10), min_size=2, max_size=10)


@pytest.mark.parametrize("family", range(5))
def test_adjusted_p_values_are_those_of_r(family):
    found = holm(FAMILIES[family])
    for j, p in enumerate(found.adjusted):
        if math.isnan(FAMILIES[family][j]):
            assert math.isnan(p)
            assert math.isnan(found.confidence[j])
        else:
            assert p == pytest.approx(reference()[f"holm-{family + 1}", str(j + 1)], rel=1e-12)


def test_what_could_not_be_tested_is_not_counted():
    assert holm(FAMILIES[1]).tests == 4
    assert holm([math.nan, 0.03]).adjusted[1] == 0.03


def test_the_levels_of_a_family():
    """Of 0.005, 0.01, 0.03 and 0.04 at 5% the first two are rejected; the third is not."""
    found = holm(FAMILIES[0])
    expected = (1 - 0.05 / 3, 1 - 0.05 / 2, 1 - 0.05 / 2, 1 - 0.05 / 4)
    assert found.confidence == pytest.approx(expected)


def test_an_empty_family():
    assert holm([]).adjusted == ()


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([p])


@given(ps)
def test_an_interval_of_the_level_decides_as_the_adjusted_p_value(p_values):
    found = holm(p_values)
    for p, adjusted, confidence in zip(p_values, found.adjusted, found.confidence, strict=True):
        assert adjusted >= p
        assert 1 - 0.05 / len(p_values) >= confidence - 1e-12
        assert confidence >= 0.95 - 1e-12
        if abs(adjusted - 0.05) > 1e-9:
            assert (adjusted < 0.05) == (p < 1 - confidence - 1e-12)


@given(ps, st.randoms())
def test_the_order_does_not_matter(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    plain, shuffled = holm(p_values), holm([p_values[i] for i in order])
    assert shuffled.adjusted == tuple(plain.adjusted[i] for i in order)
    assert shuffled.confidence == tuple(plain.confidence[i] for i in order)


@pytest.mark.parametrize("blocks", [2, 3, 6])
@pytest.mark.parametrize("confidence", [0.5, 0.9875])
def test_another_confidence_is_that_of_r(blocks, confidence):
    first = {b: v for b, v in NUMERATOR.items() if b < blocks}
    wider = rewiden(log_ratio_t(first, DENOMINATOR), confidence)
    case = f"rewiden-{blocks}-{confidence:g}"
    assert wider.confidence == confidence
    assert wider.low == pytest.approx(reference()[case, "low"], rel=1e-8)
    assert wider.high == pytest.approx(reference()[case, "high"], rel=1e-8)


@pytest.mark.parametrize("blocks", [2, 3, 6])
def test_the_p_value_is_that_of_r(blocks):
    first = {b: v for b, v in NUMERATOR.items() if b < blocks}
    p = p_of(log_ratio_t(first, DENOMINATOR), 3.9)
    assert p == pytest.approx(reference()[f"p-{blocks}", "p"], rel=1e-8)


@given(positive, st.floats(0.05, 20), st.floats(0.5, 0.999))
def test_p_is_small_exactly_where_the_boundary_lies_outside(values, boundary, confidence):
    estimate = mean_log_t(values, confidence)
    p = p_of(estimate, boundary)
    if abs(p - (1 - confidence)) > 1e-9 and estimate.high > estimate.low * (1 + 1e-9):
        outside = not estimate.low <= boundary <= estimate.high
        assert (p < 1 - confidence) == outside


@given(positive, st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_rewiden_is_what_the_blocks_would_give(values, first, second):
    direct, again = mean_log_t(values, second), rewiden(mean_log_t(values, first), second)
    assert again.low == pytest.approx(direct.low, rel=1e-6)
    assert again.high == pytest.approx(direct.high, rel=1e-6)


def test_one_block_stays_without_an_interval():
    one = mean_log_t([2.0])
    assert not rewiden(one, 0.99).has_interval
    assert math.isnan(p_of(one, 1.0))


def test_blocks_without_spread():
    same = mean_log_t([2.0, 2.0, 2.0])
    assert p_of(same, 2.0) == 1.0
    assert p_of(same, 2.1) == 0.0
    assert rewiden(same, 0.999).low == pytest.approx(2.0)


def test_an_estimate_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="Student's t on the log scale"):
        p_of(mean_t([1.0, 2.0]), 1.0)
    with pytest.raises(ValueError, match="Student's t on the log scale"):
        rewiden(mean_t([1.0, 2.0]), 0.9)


def test_an_infinite_end_does_not_lose_the_standard_error():
    far = mean_log_t([1e-3, 1e300])
    assert far.high == math.inf
    assert p_of(mean_log_t([1e-2, 1e3, 1e290]), 1.0) == pytest.approx(
        p_of(rewiden(mean_log_t([1e-2, 1e3, 1e290]), 0.5), 1.0), rel=1e-6
    )
    with pytest.raises(ValueError, match="from 0 to infinity"):
        p_of(mean_log_t([1e-300, 1e300]), 1.0)


@pytest.mark.parametrize("boundary", [0, -1, math.inf, math.nan])
def test_an_impossible_boundary_is_refused(boundary):
    with pytest.raises(ValueError, match="boundary"):
        p_of(mean_log_t([1.0, 2.0]), boundary)


@pytest.mark.parametrize("confidence", [0, 1, np.nan])
def test_an_impossible_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        rewiden(mean_log_t([1.0, 2.0]), confidence)
