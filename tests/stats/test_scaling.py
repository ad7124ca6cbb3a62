"""Universal Scalability Law: parameters of R's nls, exact curves, what cannot be fitted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import NotEstimable, usl
from tests.stats import USERS, reference, weyl_rows

PROCESSORS = [1, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64]
FRAMES = [20, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310]


def law(rate, sigma, kappa, n=USERS) -> np.ndarray:
    """Throughput by the law."""
    return rate * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def noisy() -> dict[int, np.ndarray]:
    """The three blocks of reference.R."""
    noise = np.exp(0.1 * (weyl_rows(3, 7) - 0.5))
    return {b: law((100, 95, 108)[b], 0.05, 0.002) * noise[b] for b in range(3)}


@pytest.mark.parametrize("block", range(3))
def test_a_block_is_that_of_r(block):
    found = usl(USERS, {block: noisy()[block]})
    for name in ("rate", "sigma", "kappa"):
        expected = reference()[f"usl-{block + 1}", name]
        assert getattr(found, name).value == pytest.approx(expected, rel=1e-5)
    assert not found.rate.has_interval


def test_intervals_over_blocks_are_those_of_r():
    found = usl(USERS, noisy())
    for name in ("sigma", "kappa"):
        for end in ("low", "high"):
            expected = reference()["usl", f"{name}-{end}"]
            assert getattr(getattr(found, name), end) == pytest.approx(expected, rel=1e-5)
    assert found.peak.value == pytest.approx(reference()["usl", "peak"], rel=1e-5)
    assert found.peak.low == pytest.approx(reference()["usl", "peak-low"], rel=1e-5)
    assert 0.01 < found.residual < 0.1


def test_a_published_benchmark():
    """The ray tracer of Gunther (2007): contention near 5%."""
    found = usl(PROCESSORS, {1: FRAMES})
    assert found.sigma.value == pytest.approx(0.05, abs=0.01)
    for name in ("rate", "sigma", "kappa"):
        expected = reference()["usl-tracer", name]
        assert getattr(found, name).value == pytest.approx(expected, rel=1e-4)


@given(st.floats(1e-3, 1e5), st.floats(0, 0.9), st.floats(1e-5, 0.05))
def test_an_exact_curve_gives_back_its_parameters(rate, sigma, kappa):
    found = usl(USERS, {1: law(rate, sigma, kappa), 2: law(rate, sigma, kappa)})
    assert found.rate.value == pytest.approx(rate, rel=1e-6)
    assert found.sigma.value == pytest.approx(sigma, abs=1e-6)
    assert found.kappa.value == pytest.approx(kappa, rel=1e-4)
    assert found.peak.value == pytest.approx(math.sqrt((1 - sigma) / kappa), rel=1e-3)
    assert found.residual < 1e-6
    assert found.at(USERS) == pytest.approx(law(rate, sigma, kappa), rel=1e-4)


def test_a_peak_beyond_the_loads_is_called_extrapolated():
    assert "extrapolated" in usl(USERS, {1: law(10, 0.1, 1e-5)}).peak.note
    assert "extrapolated" not in usl(USERS, {1: law(10, 0.1, 1e-2)}).peak.note


def test_throughput_that_only_rises_has_no_peak():
    peak = usl(USERS, {1: law(10, 0.1, 0.01), 2: law(10, 0.1, -1e-5)}).peak
    assert isinstance(peak, NotEstimable)
    assert "1 of 2 blocks have no peak" in peak.note


def test_few_loads_are_not_estimable():
    found = usl(USERS[:4], {1: law(10, 0.1, 0.01)[:4]})
    assert isinstance(found, NotEstimable)
    assert (found.needs, found.n) == (5, 4)


def test_what_no_law_describes_is_not_estimable():
    found = usl(USERS, {7: np.array([1e-6, 1, 1e3, 1e6, 1e9, 1e12, 1e15])})
    assert isinstance(found, NotEstimable)
    assert "block 7" in found.note


@pytest.mark.parametrize(
    ("loads", "throughput", "message"),
    [
        (USERS, {}, "no blocks"),
        (USERS[::-1], {1: law(1, 0, 0)}, "ascending"),
        ([0, 1, 2, 3, 4], {1: np.ones(5)}, "positive"),
        (USERS, {1: np.ones(6)}, "one throughput at each"),
        (USERS, {1: [1, 2, 3, 0, 5, 6, 7]}, "no logarithm"),
        (USERS, {1: [1, 2, 3, math.nan, 5, 6, 7]}, "no logarithm"),
        (USERS, {1: [1, 2, 3, math.inf, 5, 6, 7]}, "no logarithm"),
    ],
)
def test_bad_input_is_refused(loads, throughput, message):
    with pytest.raises(ValueError, match=message):
        usl(loads, throughput)
