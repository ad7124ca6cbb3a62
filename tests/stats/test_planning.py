"""Planning: variance components of R (aov, nlme), blocks by search, repetitions by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from heavyweight.stats import NotEstimable, blocks_needed, plan, repetitions, variance_components
from tests.stats import reference, weyl

SHIFTS = (0.0, 1.5, -1.0, 2.5)


def groups(sizes) -> list[np.ndarray]:
    """The groups of reference.R."""
    y = norm.ppf(weyl(sum(sizes)))
    parts = np.split(y, np.cumsum(sizes)[:-1])
    return [part + shift for part, shift in zip(parts, SHIFTS, strict=True)]


@pytest.mark.parametrize(
    ("case", "sizes", "rel"),
    [("components", (4, 7, 5, 6), 1e-9), ("components-reml", (6, 6, 6, 6), 1e-6)],
)
def test_components_are_those_of_r(case, sizes, rel):
    found = variance_components(groups(sizes))
    assert found.between == pytest.approx(reference()[case, "between"], rel=rel)
    assert found.within == pytest.approx(reference()[case, "within"], rel=rel)
    assert (found.blocks, found.values, found.note) == (4, sum(sizes), "")


def test_a_negative_estimate_is_set_to_0_and_said():
    found = variance_components([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    assert found.between == 0.0
    assert "negative" in found.note


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [[1.0], [2.0], [3.0]]])
def test_what_cannot_be_split_is_not_estimable(values):
    assert isinstance(variance_components(values), NotEstimable)


@pytest.mark.parametrize("values", [[[], [1.0]], [[math.nan, 1.0], [1.0]], [[math.inf], [1.0]]])
def test_bad_values_are_refused(values):
    with pytest.raises(ValueError, match=r"no values|not finite"):
        variance_components(values)


def test_components_find_what_was_put_in():
    rng = np.random.default_rng(1)
    blocks = 0.3 * rng.standard_normal((2000, 1)) + 0.5 * rng.standard_normal((2000, 5))
    found = variance_components(list(blocks))
    assert found.between == pytest.approx(0.09, rel=0.15)
    assert found.within == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("sd", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("width", [0.02, 0.1])
def test_blocks_are_those_of_r(sd, width):
    assert blocks_needed(sd, width) == reference()[f"blocks-{sd:g}-{width:g}", "blocks"]


def test_blocks_without_spread_and_with_too_much():
    assert blocks_needed(0.0, 0.05) == 2
    assert blocks_needed(10.0, 0.01) == 1000


@pytest.mark.parametrize(
    ("sd", "width", "message"),
    [(math.nan, 0.1, "one block"), (-1, 0.1, "needs"), (0.1, 0, "needs"), (math.inf, 0.1, "needs")],
)
def test_impossible_plans_are_refused(sd, width, message):
    with pytest.raises(ValueError, match=message):
        blocks_needed(sd, width)


@given(st.floats(0, 0.5), st.floats(0.01, 1), st.floats(0.5, 0.99))
def test_more_is_needed_for_less_width_and_more_confidence(sd, width, confidence):
    blocks = blocks_needed(sd, width, confidence)
    assert blocks <= blocks_needed(sd, width / 1.1, confidence)
    assert blocks <= blocks_needed(sd * 1.1, width, confidence)
    assert blocks <= blocks_needed(sd, width, (1 + confidence) / 2)


def test_a_pilots_spread_is_uncertain():
    found = plan([1, 1.05, 0.97, 1.1], 0.05)
    assert found.sd_log_upper == pytest.approx(reference()["pilot", "upper"], rel=1e-9)
    assert found.blocks == blocks_needed(found.sd_log, 0.05)
    assert found.cautious == blocks_needed(found.sd_log_upper, 0.05) > found.blocks


def test_a_plan_of_too_many_blocks_says_so():
    assert "1000 stands for that many or more" in plan([1.0, 40.0], 0.01).note


@pytest.mark.parametrize("pilot", [[], [1.0]])
def test_a_pilot_of_one_block_is_not_enough(pilot):
    found = plan(pilot, 0.05)
    assert isinstance(found, NotEstimable)
    assert (found.needs, found.n) == (2, len(pilot))


@pytest.mark.parametrize("pilot", [[0.0, 1.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_a_pilot_without_logarithm_is_refused(pilot):
    with pytest.raises(ValueError, match="no logarithm"):
        plan(pilot, 0.05)


def test_repetitions():
    """A block costs 60 s beyond its repetitions, each 5 s: sqrt(12 x 4) = 6.9."""
    assert repetitions(60, 5, 0.01, 0.04) == 7
    assert repetitions(60, 5, 1.0, 0.0) == 1
    assert repetitions(1, 100, 1.0, 0.1) == 1
    assert repetitions(60, 5, 0.0, 0.04) == math.inf


def test_repetitions_make_the_variance_smallest_for_its_cost():
    cost_block, cost_inside, between, within = 60, 5, 0.01, 0.04
    best = repetitions(cost_block, cost_inside, between, within)

    def product(n):
        return (between + within / n) * (cost_block + cost_inside * n)

    assert min(range(1, 100), key=product) in (best, best - 1)


@pytest.mark.parametrize("bad", [(0, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, math.nan)])
def test_impossible_costs_and_variances_are_refused(bad):
    with pytest.raises(ValueError, match=r"costs|variances"):
        repetitions(*bad)
