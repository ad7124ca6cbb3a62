"""Bootstraps: BCa of R, the exact distribution of resampled quantiles, failures, pairing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from heavyweight.stats import NotEstimable, hierarchical, log_ratio_bca, order_statistic_interval
from tests.stats import reference, weyl


def equal(blocks: int) -> dict[int, float]:
    """An arm that is 1 in each block."""
    return dict.fromkeys(range(blocks), 1.0)


def test_bca_is_that_of_r():
    ratios = np.exp(0.1 * np.exp(norm.ppf(weyl(14))))
    found = log_ratio_bca(dict(enumerate(ratios)), equal(14), resamples=30_000, seed=1)
    # Two programs draw other resamples: 1% of the width of the interval.
    for end in ("low", "high"):
        assert getattr(found, end) == pytest.approx(reference()["bca", end], rel=0.002)
    assert found.value == pytest.approx(np.exp(np.log(ratios).mean()))


@pytest.mark.parametrize("blocks", [0, 1, 9])
def test_bca_of_few_blocks_is_refused(blocks):
    found = log_ratio_bca(dict(enumerate(weyl(blocks))), equal(12), seed=1)
    assert isinstance(found, NotEstimable)
    assert (found.needs, found.n) == (10, blocks)
    assert "would cover" in found.note


def test_bca_of_blocks_without_spread_has_no_width():
    found = log_ratio_bca(dict.fromkeys(range(10), 2.0), equal(10), seed=1)
    assert found.low == found.high == pytest.approx(2.0)


def test_bca_refuses_what_has_no_logarithm():
    with pytest.raises(ValueError, match="no logarithm"):
        log_ratio_bca({0: 0.0}, equal(1), seed=1)


def one_cell(values) -> dict:
    """A study of one arm, load and block."""
    return {"a": {1: {0: values}}}


@pytest.mark.parametrize("k", [2, 5, 9])
def test_resampled_quantiles_are_distributed_as_r_says(k):
    found = hierarchical(one_cell(np.arange(1.0, 10.0)), q=(k - 0.5) / 9, resamples=40_000, seed=k)
    drawn = np.exp(found.draws["a", 1][:, 0])
    for j in range(1, 10):
        share = (drawn < j + 0.5).mean()
        assert share == pytest.approx(reference()[f"drawn-9-{k}", str(j)], abs=0.011)


def test_resampled_quantiles_are_distributed_as_those_of_drawn_requests():
    values = np.exp(norm.ppf(weyl(60)))
    found = hierarchical(one_cell(values), q=0.9, resamples=40_000, seed=1)
    fast = np.exp(found.draws["a", 1][:, 0])
    drawn = np.random.default_rng(2).choice(values, (40_000, 60))
    slow = np.sort(drawn, axis=1)[:, 53]
    for q in (0.05, 0.5, 0.95):
        assert np.mean(fast <= np.quantile(slow, q)) == pytest.approx(
            np.mean(slow <= np.quantile(slow, q)), abs=0.012
        )


def test_resampled_means_are_distributed_as_those_of_drawn_requests():
    values = np.exp(norm.ppf(weyl(60)))
    found = hierarchical(one_cell(values), "mean", resamples=20_000, seed=1)
    means = np.exp(found.draws["a", 1][:, 0])
    assert means.mean() == pytest.approx(values.mean(), rel=0.01)
    assert means.std() == pytest.approx(values.std() / math.sqrt(60), rel=0.03)


def study(seed: int = 3, blocks: int = 6, spread: float = 0.3) -> dict:
    """Two arms at two loads; a block makes both arms slow."""
    rng = np.random.default_rng(seed)
    slow = np.exp(spread * rng.standard_normal(blocks))
    return {
        arm: {
            load: {b: level * slow[b] * rng.lognormal(0, 0.3, 100 + b) for b in range(blocks)}
            for load in (1, 8)
        }
        for arm, level in (("a", 4.0), ("b", 1.0))
    }


def test_a_block_is_drawn_for_all_arms_at_once():
    found = hierarchical(study(), seed=1, resamples=2000)
    ratio, level = found.ratio("a", "b", 8), found.level("a", 8)
    assert ratio.low < ratio.value < ratio.high
    assert math.log(ratio.high / ratio.low) < 0.5 * math.log(level.high / level.low)
    assert ratio.n == level.n == 6


def test_points_are_those_of_the_percentiles():
    values = study()
    found = hierarchical(values, q=0.95, seed=1, resamples=10)
    points = [order_statistic_interval(v, 0.95).value for v in values["a"][8].values()]
    assert found.level("a", 8).value == pytest.approx(np.exp(np.log(points).mean()))


def test_the_seed_decides():
    one, same, other = (
        hierarchical(study(), seed=s, resamples=200).level("a", 1) for s in (1, 1, 2)
    )
    assert one == same
    assert one.low != other.low


@pytest.mark.parametrize("statistic", ["quantile", "mean"])
def test_a_change_of_unit_changes_only_the_unit(statistic):
    plain = study()
    scaled = {
        arm: {load: {b: 1000 * v for b, v in cells.items()} for load, cells in loads.items()}
        for arm, loads in plain.items()
    }
    one, other = (hierarchical(v, statistic, seed=1, resamples=300) for v in (plain, scaled))
    assert other.level("a", 8).low == pytest.approx(1000 * one.level("a", 8).low)
    assert other.ratio("a", "b", 8).low == pytest.approx(one.ratio("a", "b", 8).low)


def test_failures_reach_the_upper_end_and_never_make_it_faster():
    values = study()
    values["a"][8][0][:51] = math.inf
    found = hierarchical(values, q=0.5, seed=1, resamples=2000)
    clean = hierarchical(study(), q=0.5, seed=1, resamples=2000)
    level, ratio = found.level("a", 8), found.ratio("a", "b", 8)
    assert level.value == level.high == ratio.value == ratio.high == math.inf
    assert level.low >= clean.level("a", 8).low
    assert found.ratio("b", "a", 8).low == 0.0
    assert found.level("b", 8).high < math.inf
    assert hierarchical(values, "mean", seed=1, resamples=10).level("a", 8).value == math.inf


def test_two_failed_arms_have_no_ratio():
    values = study()
    for arm in ("a", "b"):
        values[arm][8] = {b: np.full(20, math.inf) for b in range(6)}
    ratio = hierarchical(values, seed=1, resamples=200).ratio("a", "b", 8)
    assert math.isnan(ratio.value)
    assert (ratio.low, ratio.high) == (0.0, math.inf)


def test_a_block_without_a_cell_counts_only_where_it_has_one():
    values = study()
    del values["a"][8][0]
    found = hierarchical(values, seed=1, resamples=500)
    assert found.level("a", 8).n == 5
    assert found.level("b", 8).n == 6
    assert found.ratio("a", "b", 8).n == 5
    values["b"][8] = {0: values["b"][8][0]}
    with pytest.raises(ValueError, match="no block in common"):
        hierarchical(values, seed=1, resamples=10).ratio("a", "b", 8)


def test_one_block_has_a_value_and_no_interval():
    level = hierarchical(one_cell([1.0, 2.0, 4.0]), seed=1, resamples=10).level("a", 1)
    assert level.value == 2.0
    assert not level.has_interval


def test_few_blocks_say_so():
    assert "extreme resamples" in hierarchical(study(blocks=3), seed=1, resamples=10).note
    assert hierarchical(study(blocks=4), seed=1, resamples=10).note == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no values"),
        (one_cell([]), "no values"),
        (one_cell([0.0, 1.0]), "not positive"),
        (one_cell([math.nan]), "not positive"),
        (one_cell([-1.0]), "not positive"),
    ],
)
def test_bad_input_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        hierarchical(values, seed=1)


@pytest.mark.parametrize("q", [0, 1, math.nan])
def test_an_impossible_quantile_is_refused(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        hierarchical(one_cell([1.0]), q=q, seed=1)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=9), min_size=2, max_size=5),
    st.sampled_from([0.1, 0.5, 0.95]),
)
def test_resamples_are_values_that_occurred(rows, q):
    found = hierarchical({"a": {1: dict(enumerate(rows))}}, q=q, seed=1, resamples=50)
    seen = np.log(np.concatenate([np.asarray(row) for row in rows]))
    drawn = found.draws["a", 1]
    assert np.isin(drawn, seen).all()
    level = found.level("a", 1)
    assert math.exp(seen.min()) * (1 - 1e-9) <= level.low <= level.high
    assert level.high <= math.exp(seen.max()) * (1 + 1e-9)
