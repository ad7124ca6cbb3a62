"""Steady state: values of R, sequences with a known start-up phase, false alarms, power."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from heavyweight.stats import NotEstimable, drift, effective_sample_size, mser5, shift, trend
from tests.stats import reference, weyl
from tests.stats.test_ratios import NUMERATOR

finite = st.floats(1e-3, 1e6)


def startup(n: int, scale: float) -> np.ndarray:
    """As in reference.R: a start-up phase that decays."""
    return weyl(n) + 5 * np.exp(-np.arange(n) / scale)


@pytest.mark.parametrize("n", [60, 203, 1000])
@pytest.mark.parametrize("scale", [2, 20, 150])
def test_mser5_is_that_of_r(n, scale):
    cut = mser5(startup(n, scale))
    assert cut.index == reference()[f"mser-{n}-{scale}", "index"]
    assert cut.fraction == cut.index / n


@pytest.mark.parametrize("values", [[3.0], [7.0] * 100, np.full(60, 1e9) + 1e-6])
def test_mser5_leaves_a_constant_sequence_whole(values):
    assert mser5(values).index == 0


@given(st.lists(finite, min_size=1, max_size=120), st.integers(-20, 20))
def test_mser5_cuts_whole_batches_and_ignores_the_unit(values, power):
    cut = mser5(values)
    assert mser5(np.array(values) * 2.0**power) == cut
    assert cut.index % 5 == 0
    assert cut.index <= max(len(values) - 25, 0)


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf]])
@pytest.mark.parametrize("estimator", [mser5, effective_sample_size])
def test_empty_and_infinite_sequences_are_refused(estimator, values):
    with pytest.raises(ValueError, match=r"no values|not finite"):
        estimator(values)


def test_shift_is_that_of_r():
    estimate = shift(startup(203, 20), 100)
    for end in ("value", "low", "high"):
        assert getattr(estimate, end) == pytest.approx(reference()["shift", end], rel=1e-9)


def test_shift_needs_two_batches_on_each_side():
    with pytest.raises(ValueError, match="two batches"):
        shift(np.ones(30), 5)


def test_shift_of_two_constant_levels_is_exact():
    estimate = shift(np.r_[np.full(20, 3.0), np.full(20, 2.0)], 20)
    assert (estimate.low, estimate.value, estimate.high) == (0.5, 0.5, 0.5)


def test_drift_is_that_of_r():
    x = np.arange(1, 41)
    estimate = drift(x, 10 + 0.05 * x + weyl(40))
    for end in ("value", "low", "high"):
        assert getattr(estimate, end) == pytest.approx(reference()["drift", end], rel=1e-9)


@given(st.floats(-0.5, 0.5), st.integers(10, 2000), st.floats(1e-3, 1e3))
def test_drift_of_a_straight_line_is_its_change(change, n, unit):
    x = np.linspace(0, 7, n)
    y = unit * (1 + change * (np.arange(n) / (n - 1) - 0.5))
    estimate = drift(x, y)
    assert estimate.value == pytest.approx(change, abs=1e-6)
    assert estimate.low == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize(
    ("times", "values"), [(range(9), np.ones(9)), ([5.0] * 20, np.ones(20)), (range(9), [1.0])]
)
def test_drift_needs_ten_values_over_some_time(times, values):
    with pytest.raises(ValueError, match="needs"):
        drift(times, values)


@pytest.mark.parametrize("blocks", [3, 6])
def test_trend_is_that_of_r(blocks):
    estimate = trend([NUMERATOR[b] for b in range(blocks)])
    for end in ("value", "low", "high"):
        expected = reference()[f"trend-{blocks}", end]
        assert getattr(estimate, end) == pytest.approx(expected, rel=1e-9)


@given(st.floats(-0.9, 3), st.integers(3, 20), st.floats(1e-3, 1e3))
def test_trend_of_a_steady_growth_is_its_change(change, n, unit):
    estimate = trend(unit * (1 + change) ** np.linspace(0, 1, n))
    assert estimate.value == pytest.approx(change, abs=1e-9)
    assert estimate.low == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2])
def test_trend_needs_three_blocks(n):
    estimate = trend(np.ones(n))
    assert isinstance(estimate, NotEstimable)
    assert (estimate.needs, estimate.n) == (3, n)


@pytest.mark.parametrize("values", [[], [1.0, 0.0, 2.0], [1.0, math.nan, 2.0], [math.inf] * 3])
def test_trend_refuses_what_has_no_logarithm(values):
    with pytest.raises(ValueError, match=r"no values|no logarithm|not finite"):
        trend(values)


@pytest.mark.parametrize("case", ["0.5", "0.9"])
@pytest.mark.parametrize("wave", [False, True])
def test_effective_sample_size_is_that_of_r(case, wave):
    values = norm.ppf(weyl(500))
    for i in range(1, 500):
        values[i] += float(case) * values[i - 1]
    if wave:
        values += 2 * np.sin(np.arange(1, 501) / 7)
    expected = reference()[f"ess{'-wave' if wave else ''}-{case}", "value"]
    assert effective_sample_size(values) == pytest.approx(expected, rel=1e-6)


def autoregressive(rng: np.random.Generator, phi: float, n: int) -> np.ndarray:
    """A stationary AR(1) sequence of variance 1."""
    noise = rng.standard_normal(n)
    values = [noise[0]]
    for e in noise[1:]:
        values.append(phi * values[-1] + math.sqrt(1 - phi**2) * e)
    return np.array(values)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_effective_sample_size_of_known_sequences(phi):
    rng = np.random.default_rng(4)
    sizes = [effective_sample_size(autoregressive(rng, phi, 2000)) for _ in range(40)]
    assert np.median(sizes) == pytest.approx(2000 * (1 - phi) / (1 + phi), rel=0.12)


@given(st.lists(finite, min_size=1, max_size=300))
def test_effective_sample_size_lies_between_0_and_n(values):
    assert 0 < effective_sample_size(values) <= len(values)


def test_a_constant_sequence_counts_whole():
    assert effective_sample_size(np.full(100, 0.1)) == 100


def alarms(sequences) -> tuple[float, float]:
    """Share of sequences in which a late cut matters, and in which the drift is beyond 10%."""
    late, drifting = [], []
    for values in sequences:
        cut = mser5(values)
        if cut.fraction > 0.5:
            change = shift(values, cut.index)
            late.append(change.low > 0.1 or change.high < -0.1)
        else:
            late.append(False)
        trend = drift(np.arange(values.size), values)
        drifting.append(trend.low > 0.1 or trend.high < -0.1)
    return float(np.mean(late)), float(np.mean(drifting))


@pytest.mark.parametrize("n", [30, 60, 200])
def test_steady_windows_raise_no_alarm(n):
    rng = np.random.default_rng(n)
    late, drifting = alarms(1 + 0.2 * rng.standard_normal((200, n)))
    assert late <= 0.02
    assert drifting <= 0.02


def test_waves_raise_few_alarms():
    rng = np.random.default_rng(5)
    late, drifting = alarms(1 + 0.1 * autoregressive(rng, 0.8, 120) for _ in range(150))
    assert late <= 0.05
    assert drifting <= 0.05


@pytest.mark.parametrize("n", [60, 200])
def test_windows_that_are_not_steady_are_found(n):
    rng = np.random.default_rng(n)
    noise = 1 + 0.1 * rng.standard_normal((100, n))
    step = noise * np.where(np.arange(n) < 0.6 * n, 1.5, 1.0)
    slope = noise * (1 + 0.4 * np.arange(n) / n)
    assert alarms(step)[0] > 0.95
    assert alarms(slope)[1] > 0.95
