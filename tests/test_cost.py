"""What a million tokens cost: by hand, and turned over with its interval."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from heavyweight import tables
from heavyweight.errors import BadInput
from heavyweight.estimates import assess, cost_table, throughput_table
from heavyweight.estimates.cost import usd_per_million_tokens
from heavyweight.store import RunFolder
from tests.synthetic import write_run

REFERENCE = assess(RunFolder.open(Path(__file__).parents[1] / "data" / "reference"))


def test_a_million_tokens_at_1000_tokens_a_second_take_1000_seconds() -> None:
    assert usd_per_million_tokens(3.6, 1000) == pytest.approx(1.0)
    assert usd_per_million_tokens(1.9, 2500) == pytest.approx(1.9 * 400 / 3600)
    assert math.isnan(usd_per_million_tokens(1, math.nan))
    assert usd_per_million_tokens(1, 0) == math.inf


def test_the_fast_end_of_the_interval_is_the_cheap_one() -> None:
    speeds, costs = throughput_table(REFERENCE), cost_table(REFERENCE, 3.6)
    assert list(costs["arm"]) == list(speeds["arm"])
    for speed, cost in zip(speeds.itertuples(), costs.itertuples(), strict=True):
        assert cost.usd_per_million == pytest.approx(1000 / speed.tok_s)
        assert cost.cheapest == pytest.approx(1000 / speed.high)
        assert cost.dearest == pytest.approx(1000 / speed.low)
        assert cost.cheapest < cost.usd_per_million < cost.dearest


def test_one_block_has_a_cost_and_no_interval(tmp_path: Path) -> None:
    costs = cost_table(assess(write_run(tmp_path / "one", blocks=1)), 2.0)
    assert costs["usd_per_million"].notna().all()
    assert costs[["cheapest", "dearest"]].isna().all().all()
    shown = tables.cost(assess(write_run(tmp_path / "two", blocks=1)), 2.0)
    assert "[" not in shown.to_string()


@pytest.mark.parametrize("price", [0, -1, math.nan, math.inf])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(BadInput, match="price"):
        cost_table(REFERENCE, price)


def test_without_a_price_the_table_says_how_to_give_one() -> None:
    assert "--price-per-hour" in tables.cost(REFERENCE, None).to_string()
    assert "(USD)" in tables.cost(REFERENCE, 1.0).to_string()
