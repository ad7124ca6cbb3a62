"""The highest goodputs of two servers, where one has no good request at all."""

from __future__ import annotations

import pytest

from heavyweight.claims.items import ratio_item
from heavyweight.estimates.highest_goodput import goodput_ratio
from heavyweight.estimates.pairing import Pairing

ONE = {1: 1.0, 2: 1.1, 3: 0.9}


@pytest.mark.parametrize("none_good", [{1: 0.0, 2: 0.0, 3: 0.0}, {1: 0.0, 2: 0.1, 3: 0.0}])
def test_no_good_request_is_a_ratio_of_zero_and_no_crash(none_good: dict[int, float]) -> None:
    item = ratio_item("goodput", Pairing(none_good, ONE), 3, goodput_ratio)
    assert item.estimate is not None
    assert 0 <= item.estimate.value < 0.1
    assert item.estimate.low == 0


def test_a_ratio_to_nothing_is_missing() -> None:
    item = ratio_item("goodput", Pairing(ONE, dict.fromkeys(ONE, 0.0)), 3, goodput_ratio)
    assert item.estimate is None
    assert item.missing


def test_blocks_of_a_second_start_are_left_out_by_the_same_estimator() -> None:
    pairing = Pairing({1: 0.0, 2: 2.0, 3: 2.2}, ONE, restarted={1})
    item = ratio_item("goodput", pairing, 3, goodput_ratio)
    assert item.unbroken is not None
    assert item.unbroken.value == pytest.approx(2.1, rel=0.2)
