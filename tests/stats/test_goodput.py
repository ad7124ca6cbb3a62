"""Goodput: intervals of R's binom.test, and means of what may be zero."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.stats import goodput, mean_t
from tests.stats import reference


def flags(good: int, n: int) -> np.ndarray:
    """n requests, of which some met their objective."""
    return np.arange(n) < good


@pytest.mark.parametrize("good", [0, 90, 100])
def test_goodput_is_that_of_r(good):
    found = goodput(flags(good, 100), 10.0)
    assert found.value == good / 10
    for end in ("low", "high"):
        expected = reference()[f"goodput-{good}", end]
        assert getattr(found, end) == pytest.approx(expected, rel=1e-9)


def test_dependent_requests_count_for_fewer():
    found = goodput(flags(90, 100), 10.0, n_eff=40.5)
    assert found.low == pytest.approx(reference()["goodput-neff", "low"], rel=1e-9)
    assert found.high == pytest.approx(reference()["goodput-neff", "high"], rel=1e-9)
    assert "worth 40 independent" in found.note
    assert goodput(flags(900, 1000), 100.0, n_eff=405).note == ""


def test_none_met_is_0_with_an_upper_end():
    found = goodput(flags(0, 40), 20.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 2


def test_a_single_request():
    found = goodput([True], 2.0)
    assert (found.value, found.high) == (0.5, 0.5)
    assert found.low == pytest.approx(0.0125)


@pytest.mark.parametrize(
    ("met", "window_s", "n_eff", "message"),
    [
        ([], 1, None, "no requests"),
        ([1.0, math.nan], 1, None, "true or false"),
        ([True], 0, None, "window"),
        ([True], math.nan, None, "window"),
        ([True], 1, 0, "effective"),
        ([True], 1, math.nan, "effective"),
    ],
)
def test_bad_input_is_refused(met, window_s, n_eff, message):
    with pytest.raises(ValueError, match=message):
        goodput(met, window_s, n_eff=n_eff)


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.floats(0.1, 1), st.floats(0.5, 0.98))
def test_an_interval_holds_its_point_and_widens(met, share, confidence):
    narrow = goodput(met, 10.0, confidence)
    wide = goodput(met, 10.0, (1 + confidence) / 2)
    fewer = goodput(met, 10.0, confidence, n_eff=share * len(met))
    assert 0 <= narrow.low <= narrow.value * (1 + 1e-9)
    assert narrow.value <= narrow.high * (1 + 1e-9)
    assert narrow.high <= len(met) / 10 * (1 + 1e-9)
    for wider in (wide, fewer):
        assert wider.low <= narrow.low * (1 + 1e-9)
        assert wider.high >= narrow.high * (1 - 1e-9)


def test_the_mean_is_that_of_r_and_its_lower_end_is_cut():
    found = mean_t([3.2, 0, 4.1, 3.9])
    assert found.value == pytest.approx(reference()["mean", "value"])
    assert found.high == pytest.approx(reference()["mean", "high"], rel=1e-9)
    assert found.low == 0.0
    assert "cut at 0" in found.note
    uncut = mean_t([3.2, 0, 4.1, 3.9], least=-math.inf)
    assert uncut.low == pytest.approx(2 * uncut.value - uncut.high)


def test_the_mean_of_one_block_and_of_zeros():
    assert not mean_t([2.0]).has_interval
    assert "one degree of freedom" in mean_t([2.0, 3.0]).note
    assert "zeros among 4 blocks" in mean_t([2.0, 3.0, 0.0, 1.0]).note
    zeros = mean_t([0.0, 0.0, 0.0])
    assert (zeros.low, zeros.value, zeros.high) == (0, 0, 0)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf], [-1.0]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match=r"no values|not finite or below"):
        mean_t(values)
