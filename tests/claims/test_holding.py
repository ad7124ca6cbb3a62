"""An estimate against a rule: each side, each edge, and the same answer as the p value's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.article.rules import Band, Condition, Equivalence, Range, Threshold
from heavyweight.claims.holding import hold, limits_of, told
from heavyweight.claims.verdict import Part, combine
from heavyweight.stats import Estimate, log_ratio_t, mean_log_t

BAND = Band(kind="ratio", by="band")
METHOD = "ratio paired by block, Student's t over blocks on the log scale"


def estimate(value, low, high, n=6):
    return Estimate(value, low, high, n, 0.95, METHOD)


def threshold(reproduced=None, refuted=None):
    sides = {
        name: None if side is None else Condition(op=side[0], value=side[1])
        for name, side in (("reproduced", reproduced), ("refuted", refuted))
    }
    return Threshold(kind="ratio", by="threshold", **sides)


def test_a_band_is_symmetric_on_the_log_scale():
    assert limits_of(BAND, (6.0, 6.0), 0.2) == pytest.approx((5.0, 7.2))
    own = Band(kind="ratio", by="band", fraction=1.0)
    assert limits_of(own, (6.0, 6.0), 0.2) == pytest.approx((3.0, 12.0))


def test_a_range_is_widened_at_both_ends():
    rule = Range(kind="absolute", by="range")
    assert limits_of(rule, (5.0, 10.0), 0.25) == pytest.approx((4.0, 12.5))


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (5.5, 6.5, "reproduced"),
        (5.0, 7.2, "reproduced"),  # the limits belong to the band
        (4.9, 6.5, "inconclusive"),
        (5.5, 7.3, "inconclusive"),
        (3.0, 4.9, "refuted"),
        (7.3, 9.0, "refuted"),
        (3.0, 5.0, "inconclusive"),
        (1.0, 90.0, "inconclusive"),
    ],
)
def test_a_band_decides_by_the_whole_interval(low, high, answer):
    found = hold(BAND, estimate(math.sqrt(low * high), low, high), (5.0, 7.2))
    assert found.answer == answer
    assert "5.00 to 7.20" in found.why


@pytest.mark.parametrize(
    ("rule", "low", "high", "answer"),
    [
        (threshold((">", 2), ("<", 1.2)), 2.1, 3.0, "reproduced"),
        (threshold((">", 2), ("<", 1.2)), 2.0, 3.0, "inconclusive"),  # > is strict
        (threshold((">=", 2), ("<", 2)), 2.0, 3.0, "reproduced"),
        (threshold((">", 2), ("<", 1.2)), 0.9, 1.19, "refuted"),
        (threshold((">", 2), ("<", 1.2)), 1.3, 1.9, "inconclusive"),
        (threshold(("<=", 5), (">", 5)), 0.0, 5.0, "reproduced"),
        (threshold(("<=", 5), (">", 5)), 5.1, math.inf, "refuted"),
        (threshold(None, ("<=", 8)), 5.0, 7.0, "refuted"),
        (threshold(None, ("<=", 8)), 9.0, 10.0, "inconclusive"),  # one side cannot reproduce
    ],
)
def test_a_threshold_decides_by_the_end_that_is_nearest(rule, low, high, answer):
    limits = limits_of(rule, None, 0.2)
    value = math.sqrt(max(low, 0.01) * min(high, 100))
    assert hold(rule, estimate(value, low, high), limits).answer == answer


def test_between_two_thresholds_nothing_can_be_concluded():
    rule = threshold((">", 2), ("<", 1.2))
    found = hold(rule, estimate(1.6, 1.5, 1.7), limits_of(rule, None, 0.2))
    assert (found.answer, found.p) == ("inconclusive", 1.0)


def test_an_equivalence_has_its_own_limits():
    rule = Equivalence(kind="ratio", by="equivalence", low=0.8, high=1.25, alpha=0.05)
    limits = limits_of(rule, None, 0.2)
    assert hold(rule, estimate(1.0, 0.9, 1.1), limits).answer == "reproduced"
    assert hold(rule, estimate(1.4, 1.3, 1.5), limits).answer == "refuted"
    assert hold(rule, estimate(1.2, 1.1, 1.3), limits).answer == "inconclusive"


@pytest.mark.parametrize("rule", [BAND, threshold((">", 2), ("<", 1.2))])
def test_one_block_decides_nothing_and_says_so(rule):
    found = hold(rule, mean_log_t([100.0]), (5.0, 7.2))
    assert found.answer == "inconclusive"
    assert "one block" in found.why
    assert math.isnan(found.p)


def test_a_band_without_a_published_number_is_refused():
    with pytest.raises(ValueError, match="published"):
        limits_of(BAND, None, 0.2)


values = st.lists(st.floats(0.3, 30), min_size=3, max_size=10, unique=True)


@given(values, st.floats(0.5, 20))
def test_the_verdict_is_the_one_of_the_p_value(ratios, published):
    """Decided at 95% exactly where the p value of the nearest limit is below 5%."""
    found = log_ratio_t(dict(enumerate(ratios)), dict.fromkeys(range(len(ratios)), 1.0))
    held = hold(BAND, found, limits_of(BAND, (published, published), 0.2))
    if abs(held.p - 0.05) > 1e-6:
        # Between the limits p is the larger of two, so that a band too narrow for the interval
        # has a p above 5%; outside it p is that of the far limit, and smaller than the near one's.
        decided = held.answer != "inconclusive"
        assert decided == (held.p < 0.05)


@given(values, st.floats(0.5, 20), st.floats(0.01, 100))
def test_the_unit_does_not_matter(ratios, published, factor):
    answers = set()
    for scale in (1.0, factor):
        found = mean_log_t([r * scale for r in ratios])
        limits = limits_of(BAND, (published * scale, published * scale), 0.2)
        if any(abs(math.log(e / v)) < 1e-9 for e in (found.low, found.high) for v in limits):
            return  # on the limit itself, to the last digits
        answers.add(hold(BAND, found, limits).answer)
    assert len(answers) == 1


def test_an_estimate_is_told_with_its_unit_blocks_and_unusual_confidence():
    assert told(estimate(8.99, 7.76, 10.4, 3), "x") == "8.99 [7.76, 10.4] x over 3 blocks"
    narrow = Estimate(0.89, 0.817, 0.969, 1, 0.9, METHOD)
    assert told(narrow, "x") == "0.890 [0.817, 0.969] x (90% interval) over 1 block"


def part(answer, **more):
    return Part("ratio", "band", "x", answer, "why.", adjusted=answer, **more)


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([], "inconclusive"),
        ([part("reproduced")], "reproduced"),
        ([part("reproduced"), part("inconclusive")], "inconclusive"),
        ([part("reproduced"), part("refuted")], "refuted"),
        ([part("inconclusive"), part("refuted")], "refuted"),
        ([part("reproduced", suffices=True), part("inconclusive")], "reproduced"),
        ([part("refuted", counts=False), part("reproduced")], "reproduced"),
        ([part("refuted", counts=False)], "inconclusive"),
        ([part("refuted", alike="a"), part("reproduced", alike="a")], "inconclusive"),
        ([part("refuted", alike="a"), part("refuted", alike="a")], "refuted"),
    ],
)
def test_a_claim_follows_from_its_parts(parts, answer):
    assert combine(parts) == answer
    assert combine(parts, adjusted=True) == answer
