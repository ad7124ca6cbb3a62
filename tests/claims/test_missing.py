"""What would judge an open claim: never empty, never a promise that cannot be kept."""

import dataclasses

import pytest

from heavyweight.article.rules import Band, Condition, Threshold
from heavyweight.claims.missing import more_blocks
from heavyweight.claims.verdict import Part
from heavyweight.stats import blocks_needed, mean_log_t
from heavyweight.stats.multiple import log_standard_error

BAND = Band(kind="ratio", by="band")
SHAPE = Threshold(
    kind="shape", by="threshold",
    reproduced=Condition(op=">", value=2), refuted=Condition(op="<", value=1.2),
)  # fmt: skip


def part(values, rule, limits, **more):
    estimate = mean_log_t(values)
    return Part("ratio", rule.by, "x", "inconclusive", "why.", estimate=estimate, limits=limits,
                p=0.4, rule=rule, **more)  # fmt: skip


def test_the_blocks_are_those_whose_interval_would_leave_out_the_limit():
    found = part([5.2, 6.4, 7.0, 5.0], BAND, (5.0, 7.2))
    text = more_blocks(found)
    spread = log_standard_error(found.estimate) * 2
    needed = blocks_needed(spread, found.estimate.value / 5.0 - 1)
    assert text == f"about {max(needed, 5)} blocks in all, if value and spread stay"


@pytest.mark.parametrize(
    ("values", "rule", "limits"),
    [
        ([1.1, 1.6, 2.3], SHAPE, (1.2, 2.0)),  # between the limits: no number of blocks decides
        ([5.9, 6.0, 6.1], BAND, (5.0, 7.2)),  # holds no limit
    ],
)
def test_no_blocks_are_promised_where_they_would_not_decide(values, rule, limits):
    assert more_blocks(part(values, rule, limits)) == ""


def test_a_value_near_a_limit_is_said_to_be():
    found = part([6.99, 7.41], BAND, (5.0, 7.2))
    assert "so near to a limit" in more_blocks(found)


def test_a_decided_part_and_one_without_a_number_need_no_blocks():
    found = part([5.2, 6.4, 7.0], BAND, (5.0, 7.2))
    assert more_blocks(dataclasses.replace(found, answer="refuted")) == ""
    assert more_blocks(dataclasses.replace(found, estimate=None)) == ""
