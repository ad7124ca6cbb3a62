"""Means and ratios over blocks: values of R's t.test, properties, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import log_quotient_welch, log_ratio_t, mean_log_t
from tests.stats import reference

NUMERATOR = dict(enumerate((238.1, 251.9, 229.4, 247.3, 260.8, 233.6)))
DENOMINATOR = dict(enumerate((61.2, 58.7, 60.9, 57.4, 62.3, 59.5)))
positive = st.floats(1e-3, 1e6)


@pytest.mark.parametrize("blocks", [2, 3, 6])
@pytest.mark.parametrize("confidence", [0.90, 0.95])
def test_the_ratio_is_that_of_r(blocks, confidence):
    first = {b: v for b, v in NUMERATOR.items() if b < blocks}
    estimate = log_ratio_t(first, DENOMINATOR, confidence)
    case = f"ratio-{blocks}-{confidence:g}"
    assert estimate.n == blocks
    for end in ("value", "low", "high"):
        assert getattr(estimate, end) == pytest.approx(reference()[case, end], rel=1e-9)


def test_one_block_has_a_value_and_no_interval():
    estimate = log_ratio_t({1: 6.0}, {1: 2.0, 2: 5.0})
    assert estimate.value == 3.0
    assert not estimate.has_interval
    assert "no interval" in estimate.note


def test_two_blocks_say_how_little_they_are():
    assert "one degree of freedom" in mean_log_t([1.0, 1.1]).note


def test_blocks_far_apart_have_an_infinite_end_and_no_error():
    estimate = mean_log_t([1e-300, 1e300])
    assert estimate.high == math.inf
    assert estimate.low == 0.0


@pytest.mark.parametrize("values", [[], [0.0, 1.0], [math.inf], [math.nan, 2.0], [-1.0]])
def test_what_has_no_logarithm_is_refused(values):
    with pytest.raises(ValueError, match=r"no values|no logarithm"):
        mean_log_t(values)


def test_a_zero_denominator_is_refused():
    with pytest.raises(ValueError, match="no logarithm"):
        log_ratio_t({1: 1.0}, {1: 0.0})


def test_no_block_in_common_is_refused():
    with pytest.raises(ValueError, match="no values"):
        log_ratio_t({1: 1.0}, {2: 1.0})


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=12))
def test_the_inverse_ratio_is_the_inverse_interval(pairs):
    above, below = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    ratio, inverse = log_ratio_t(above, below), log_ratio_t(below, above)
    assert ratio.value * inverse.value == pytest.approx(1)
    assert ratio.low <= ratio.value * (1 + 1e-9)
    assert ratio.value <= ratio.high * (1 + 1e-9)
    if ratio.low > 0 and ratio.high < 1e300:
        assert ratio.low * inverse.high == pytest.approx(1)


@given(st.lists(positive, min_size=2, max_size=12), st.floats(1e-3, 1e3))
def test_a_change_of_unit_changes_only_the_unit(values, factor):
    plain, scaled = mean_log_t(values), mean_log_t(np.array(values) * factor)
    assert scaled.value == pytest.approx(plain.value * factor)


def test_pairing_takes_out_what_a_block_does_to_both_arms():
    rng = np.random.default_rng(3)
    block = np.exp(0.5 * rng.standard_normal(6))
    arms = [dict(enumerate(x * block)) for x in (4.0 * np.ones(6), 2.0 * np.ones(6))]
    estimate = log_ratio_t(*arms)
    assert estimate.low == pytest.approx(2.0)
    assert estimate.high == pytest.approx(2.0)


@pytest.mark.parametrize("blocks", [3, 6, 10])
def test_measured_coverage_of_simulated_studies(blocks):
    """DESIGN's claim: Student's t over few blocks covers 94 to 96% of the true ratios."""
    rng = np.random.default_rng(blocks)
    studies = 3000
    common = 0.2 * rng.standard_normal((studies, 1, blocks))
    own = 0.05 * rng.standard_normal((studies, 2, blocks))
    arms = np.exp(common + own) * np.array([[4.0], [1.0]])
    hits = 0
    for above, below in arms:
        estimate = log_ratio_t(dict(enumerate(above)), dict(enumerate(below)))
        hits += estimate.low <= 4.0 <= estimate.high
    assert 0.938 < hits / studies < 0.962  # 3 sigma of 3,000 studies: 1.2%


# R's data set sleep: hours of sleep gained on two drugs, and what t.test(extra ~ group) prints.
SLEEP = (
    (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0),
    (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4),
)


def test_a_quotient_is_that_of_rs_welch_test():
    first, second = (np.exp(side) for side in SLEEP)
    found = log_quotient_welch(first, second)
    assert math.log(found.value) == pytest.approx(0.75 - 2.33)
    assert math.log(found.low) == pytest.approx(-3.3654832, abs=5e-8)
    assert math.log(found.high) == pytest.approx(0.2054832, abs=5e-8)
    assert found.n == 20


@given(
    st.lists(positive, min_size=2, max_size=8),
    st.lists(positive, min_size=2, max_size=8),
    st.floats(0.01, 100),
)
def test_a_quotient_turned_round_is_its_inverse_and_knows_no_unit(first, second, factor):
    found = log_quotient_welch(first, second)
    assert found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)
    back = log_quotient_welch(second, first)
    assert back.value == pytest.approx(1 / found.value)
    if found.low > 0 and math.isfinite(found.high):
        assert back.low == pytest.approx(1 / found.high, rel=1e-6)
    scaled = log_quotient_welch([factor * x for x in first], [factor * x for x in second])
    assert scaled.value == pytest.approx(found.value)


def test_a_quotient_of_one_block_has_no_interval_and_of_equal_ones_no_width():
    alone = log_quotient_welch([3.0], [2.0, 2.0])
    assert alone.value == pytest.approx(1.5)
    assert not alone.has_interval
    equal = log_quotient_welch([3.0, 3.0], [2.0, 2.0])
    assert (equal.low, equal.high) == (equal.value, equal.value)
    with pytest.raises(ValueError, match="no values"):
        log_quotient_welch([], [1.0])


def test_a_quotients_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(20260519)
    inside = 0
    for _ in range(2000):
        first = np.exp(rng.normal(0.5, 0.02, 3))
        second = np.exp(rng.normal(0.2, 0.10, 6))
        found = log_quotient_welch(first, second)
        inside += found.low <= math.exp(0.3) <= found.high
    assert 0.935 <= inside / 2000 <= 0.97  # 95% +- 3 standard errors of 2,000 trials
