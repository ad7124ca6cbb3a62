"""Order-statistic intervals: ranks of R and of published tables, properties, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import (
    Estimate,
    NotEstimable,
    effective_sample_size,
    order_statistic_interval,
    requests_needed,
)
from tests.stats import reference, weyl

RANKS = sorted({case for case, _ in reference() if case.startswith("ranks-")})


@pytest.mark.parametrize("case", RANKS)
def test_ranks_are_those_of_r(case):
    _, n, q = case.split("-")
    interval = order_statistic_interval(np.arange(1, int(n) + 1), float(q))
    assert interval.low == reference()[case, "low"]
    assert interval.high == reference()[case, "high"]


@pytest.mark.parametrize(("n", "low", "high"), [(10, 2, 9), (20, 6, 15), (30, 10, 21)])
def test_ranks_of_the_median_are_those_of_the_published_sign_test_tables(n, low, high):
    interval = order_statistic_interval(np.arange(1, n + 1), 0.5)
    assert (interval.low, interval.high) == (low, high)


@pytest.mark.parametrize("n", [99, 100, 368])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_points_are_those_of_r_type_1(n, q):
    estimate = order_statistic_interval(weyl(n), q)
    if isinstance(estimate, NotEstimable):
        assert n < requests_needed(q)
    else:
        expected = reference()[f"quantile-{n}-{q:g}", "value"]
        assert estimate.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("q", "needs"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.05, 72)])
def test_smallest_samples(q, needs):
    assert requests_needed(q) == needs
    short = order_statistic_interval(np.arange(needs - 1), q)
    assert isinstance(short, NotEstimable)
    assert short.needs == needs
    assert f"needs {needs}, has {needs - 1}" in short.note
    assert isinstance(order_statistic_interval(np.arange(needs), q), Estimate)


def test_an_empty_sample_is_not_estimable():
    assert order_statistic_interval([], 0.5).needs == 6


def test_failures_are_infinite_and_never_make_it_faster():
    values = np.r_[np.arange(1.0, 100.0), np.inf]
    p95 = order_statistic_interval(values, 0.95)
    assert (p95.value, p95.high) == (95.0, math.inf)
    assert order_statistic_interval(values, 0.5).high < math.inf


def test_dependent_values_need_more_of_them():
    values = np.arange(1, 201)
    alone = order_statistic_interval(values, 0.95)
    half = order_statistic_interval(values, 0.95, n_eff=100)
    assert half.low < alone.low
    assert half.high >= alone.high
    # Ranks 90 and 100 of 100 independent values, stretched to 200.
    assert (half.low, half.high) == (180, 200)
    assert "worth 100 independent" in half.note
    assert alone.note == ""
    none = order_statistic_interval(values, 0.95, n_eff=50)
    assert none.value == 190
    assert not none.has_interval
    assert "worth 50 independent" in none.note


@pytest.mark.parametrize("q", [0, 1, -0.1])
def test_impossible_quantiles_are_refused(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        order_statistic_interval([1.0], q)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        order_statistic_interval([1.0, math.nan], 0.5)


@given(
    st.lists(st.floats(0, 1e9), min_size=6, max_size=400),
    st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99]),
    st.floats(0.2, 1.0),
)
def test_an_interval_holds_its_point_and_keeps_its_order(values, q, share):
    estimate = order_statistic_interval(values, q, n_eff=share * len(values))
    if isinstance(estimate, NotEstimable):
        assert estimate.needs == requests_needed(q) > len(values)
    elif not estimate.has_interval:
        assert share * len(values) < requests_needed(q)
        assert estimate.value in values
    else:
        assert estimate.low <= estimate.value <= estimate.high
        assert {estimate.low, estimate.value, estimate.high} <= set(values)
        flipped = order_statistic_interval(values[::-1], q, n_eff=share * len(values))
        assert flipped == estimate


@given(st.lists(st.floats(0, 1e6), min_size=80, max_size=200), st.integers(1, 5))
def test_turning_values_into_failures_never_lowers_an_end(values, failures):
    failed = [*values[:-failures], *[math.inf] * failures]
    before, after = (order_statistic_interval(v, 0.95) for v in (values, failed))
    assert after.low >= before.low
    assert after.value >= before.value
    assert after.high >= before.high


def covered(samples: np.ndarray, q: float, truth: float, dependent: bool = False) -> float:
    """Share of samples whose interval holds the true quantile."""
    hits = []
    for sample in samples:
        n_eff = None
        if dependent:
            n_eff = effective_sample_size(sample <= np.quantile(sample, q))
        interval = order_statistic_interval(sample, q, n_eff=n_eff)
        if isinstance(interval, Estimate) and interval.has_interval:
            hits.append(interval.low <= truth <= interval.high)
    assert len(hits) > 0.9 * len(samples)
    return float(np.mean(hits))


@pytest.mark.parametrize(("q", "n"), [(0.5, 30), (0.95, 100), (0.99, 400)])
def test_measured_coverage_of_independent_values(q, n):
    samples = np.random.default_rng(1).exponential(size=(2000, n))
    # At least 95% by construction; 2,000 samples err by less than 1.5% (3 sigma).
    assert covered(samples, q, -math.log(1 - q)) > 0.95 - 0.015


def test_measured_coverage_of_waves():
    """Neighbours that resemble each other: without the effective size, 95% would be 70%."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((600, 700))
    series = np.empty_like(noise)
    series[:, 0] = noise[:, 0]
    for i in range(1, noise.shape[1]):
        series[:, i] = 0.7 * series[:, i - 1] + math.sqrt(1 - 0.7**2) * noise[:, i]
    samples = series[:, 100:]
    assert covered(samples, 0.5, 0.0, dependent=True) > 0.92
    assert covered(samples, 0.5, 0.0) < 0.80
