"""What a million tokens cost, from the price of an hour and the measured tokens a second."""

from __future__ import annotations

import math

import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.tables import throughput_table

SECONDS_PER_HOUR = 3600
MILLION = 1e6


def usd_per_million_tokens(price_usd_per_hour: float, tok_s: float) -> float:
    """Price of an hour / tokens of an hour x 10^6; NaN where the speed is not known.

    Raises:
        BadInput: a price that is no number above 0.
    """
    if not 0 < price_usd_per_hour < math.inf:
        raise BadInput(
            f"price {price_usd_per_hour:g} USD an hour",
            "a number above 0",
            "give what an hour costs",
        )
    if math.isnan(tok_s):
        return math.nan
    return math.inf if tok_s <= 0 else price_usd_per_hour / (tok_s * SECONDS_PER_HOUR) * MILLION


def cost_table(
    assessment: Assessment, price_usd_per_hour: float, confidence: float = 0.95
) -> pd.DataFrame:
    """USD per million output tokens of each arm and load, with interval.

    The whole hour is paid and the load lasts through it: a server that is idle half of the time
    costs twice as much. Prompt tokens are not counted. The price is taken as exact, so the interval
    is that of the throughput, turned over: the fastest end is the cheapest.

    Args:
        assessment: the run.
        price_usd_per_hour: of the whole machine.
        confidence: of the intervals.

    Returns:
        The rows of :func:`throughput_table` with usd_per_million, cheapest and dearest in place of
        tok_s, low and high.

    Raises:
        BadInput: a price that is no number above 0.
    """
    usd_per_million_tokens(price_usd_per_hour, math.nan)  # refuses the price, also without rows
    table = throughput_table(assessment, confidence)
    costs = {
        name: [usd_per_million_tokens(price_usd_per_hour, speed) for speed in table[source]]
        for name, source in (
            ("usd_per_million", "tok_s"), ("cheapest", "high"), ("dearest", "low"),
        )
    }  # fmt: skip
    place = list(table).index("tok_s")
    kept = table.drop(columns=["tok_s", "low", "high"])
    for offset, (name, values) in enumerate(costs.items()):
        kept.insert(place + offset, name, pd.Series(values, index=table.index, dtype=float))
    return kept
