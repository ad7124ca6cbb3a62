"""Two one-sided tests: p values of R, and the interval that decides alike."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import tost
from tests.stats import reference
from tests.stats.test_ratios import DENOMINATOR, NUMERATOR

ratios = st.lists(st.floats(0.3, 3), min_size=2, max_size=12)


@pytest.mark.parametrize("blocks", [2, 3, 6])
def test_the_p_value_is_that_of_r(blocks):
    first = {b: v for b, v in NUMERATOR.items() if b < blocks}
    found = tost(first, DENOMINATOR, 3.8, 4.4)
    assert found.p == pytest.approx(reference()[f"tost-{blocks}", "p"], rel=1e-9)
    expected = reference()[f"ratio-{blocks}-0.9", "low"]
    assert found.estimate.confidence == pytest.approx(0.9)
    assert found.estimate.low == pytest.approx(expected, rel=1e-9)


def test_one_block_decides_nothing():
    found = tost({1: 1.0}, {1: 1.0}, 0.8, 1.25)
    assert math.isnan(found.p)
    assert not found.equivalent
    assert not found.different


def test_blocks_without_spread_decide():
    equal, apart = ({1: x, 2: x, 3: x} for x in (1.0, 2.0))
    assert tost(equal, equal, 0.8, 1.25).equivalent
    found = tost(apart, equal, 0.8, 1.25)
    assert (found.p, found.equivalent, found.different) == (1.0, False, True)


@pytest.mark.parametrize("band", [(1.25, 0.8), (0, 1.25), (-1, 1), (0.8, math.inf), (1, math.nan)])
def test_an_impossible_band_is_refused(band):
    with pytest.raises(ValueError, match="band"):
        tost({1: 1.0}, {1: 1.0}, *band)


@pytest.mark.parametrize("alpha", [0, 0.5, 1, math.nan])
def test_an_impossible_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        tost({1: 1.0}, {1: 1.0}, 0.8, 1.25, alpha)


@given(ratios, st.floats(0.01, 0.2))
def test_p_and_interval_decide_alike(values, alpha):
    found = tost(dict(enumerate(values)), dict.fromkeys(range(len(values)), 1.0), 0.8, 1.25, alpha)
    assert not (found.equivalent and found.different)
    if abs(found.p - alpha) > 1e-9:
        inside = found.estimate.low > 0.8 and found.estimate.high < 1.25
        assert found.equivalent == inside


@given(ratios)
def test_the_inverse_ratio_decides_alike(values):
    above, below = dict(enumerate(values)), dict.fromkeys(range(len(values)), 1.0)
    one, other = tost(above, below, 0.8, 1.25), tost(below, above, 0.8, 1.25)
    assert one.p == pytest.approx(other.p, abs=1e-9)


def test_a_wider_band_is_easier():
    values = dict(enumerate(np.exp([0.05, -0.1, 0.08, 0.02])))
    equal = dict.fromkeys(range(4), 1.0)
    assert tost(values, equal, 0.7, 1.4).p < tost(values, equal, 0.8, 1.25).p
