"""What a million tokens cost, as a table for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.estimates import Assessment, cost_table
from heavyweight.tables.words import interval, wide_table


def cost(assessment: Assessment, price_usd_per_hour: float | None) -> pd.DataFrame:
    """USD per million output tokens with interval, a row a load, a column an arm.

    Args:
        assessment: of a run.
        price_usd_per_hour: of the whole machine; None: nobody said, and the table says how to.
    """
    if price_usd_per_hour is None:
        how = "no price was given: heavyweight study cost RUN --price-per-hour 2.50"
        return pd.DataFrame({"USD per million tokens": [how]}, index=[""])
    table = cost_table(assessment, price_usd_per_hour)
    shown = table.assign(
        shown=[interval(r.usd_per_million, r.cheapest, r.dearest) for r in table.itertuples()],
        label=table["label"] + " (USD)",
    )
    return wide_table(shown, "label", "shown", ["users"])
