"""Crossovers as verdicts: by inversion, with a p value in the right direction."""

import math

import numpy as np
import pytest

from heavyweight.article.rules import Condition, Threshold
from heavyweight.claims.crossing import p_of_crossing, widened
from heavyweight.claims.holding import hold
from heavyweight.stats import crossover

LOADS = [1, 4, 8, 16, 50]
RULE = Threshold(
    kind="shape", by="threshold",
    reproduced=Condition(op="<=", value=5), refuted=Condition(op=">", value=5),
)  # fmt: skip
NOISE = (-0.02, 0.01, 0.03, -0.01, 0.0, -0.01)  # of the blocks, log scale


def curves(*ratios, blocks=6, spread=1.0):
    """The same curve in each block, moved a little up or down."""
    return {b: np.array(ratios) * math.exp(spread * NOISE[b]) for b in range(blocks)}


def held(by_block):
    return hold(RULE, crossover(LOADS, by_block).estimate, (5.0,))


def test_one_block_that_crosses_below_the_loads_does_not_break_the_verdict():
    by_block = curves(0.85, 2.0, 3.0, 5.0, 8.0)
    by_block[5] = np.array([1.01, 2.0, 3.0, 5.0, 8.0])
    assert crossover(LOADS, by_block).by_t is None
    assert held(by_block).answer == "reproduced"
    assert p_of_crossing((LOADS, by_block), 5.0, "reproduced") < 0.05


def test_a_ratio_that_ends_across_one_has_no_upper_end_and_is_open():
    by_block = curves(0.6, 0.8, 0.9, 0.95, 1.02, spread=4.0)
    found = held(by_block)
    assert crossover(LOADS, by_block).high == math.inf
    assert found.answer == "refuted"  # N* > 5 altogether: below 1 is shown at 5 and beyond
    assert p_of_crossing((LOADS, by_block), 5.0, found.answer) < 0.05


def test_a_fall_below_one_after_the_limit_is_evidence_against():
    """Above 1 at 5 users, below it from 16 on: refuted by the loads beyond, not by the limit."""
    by_block = curves(0.5, 1.5, 1.4, 0.8, 0.7)
    assert held(by_block).answer == "refuted"
    assert p_of_crossing((LOADS, by_block), 5.0, "refuted") < 0.01
    assert p_of_crossing((LOADS, by_block), 5.0, "reproduced") == 1.0


def test_the_weakest_load_decides_what_must_hold_at_all():
    strong = curves(0.5, 3.0, 4.0, 5.0, 8.0)
    weak = {b: row * np.array([1, 1, 1, 1, 0.13]) for b, row in strong.items()}
    p = [p_of_crossing((LOADS, one), 5.0, "reproduced") for one in (strong, weak)]
    assert p[0] < p[1]


def test_outside_the_loads_nothing_is_tested():
    few = {b: row[2:] for b, row in curves(1, 1, 0.5, 0.6, 0.7).items()}
    assert math.isnan(p_of_crossing((LOADS[2:], few), 5.0, "refuted"))
    assert math.isnan(p_of_crossing((LOADS, {1: np.array([0.5, 2, 3, 4, 5])}), 5.0, "reproduced"))


def test_more_confidence_is_a_wider_interval():
    by_block = curves(0.5, 2.0, 3.0, 5.0, 8.0)
    narrow, wide = (widened((LOADS, by_block), c) for c in (0.9, 0.99))
    assert wide.low <= narrow.low <= narrow.high <= wide.high
    assert narrow.value == pytest.approx(wide.value)
