"""Open loops as tables for a reader: latency and goodput by rate, capacity, knee, highest rate."""

from __future__ import annotations

import pandas as pd

from heavyweight.estimates import Assessment
from heavyweight.tables.words import NOTHING, interval, load_interval, number, one_header

QUANTITIES = {
    "rate_per_s": "offered (requests/s)",
    "requests_per_s": "answered (requests/s)",
    "ttft_p50_ms": "first text p50 (ms)",
    "ttft_p95_ms": "first text p95 (ms)",
    "e2e_p50_ms": "whole answer p50 (ms)",
    "e2e_p95_ms": "whole answer p95 (ms)",
    "tpot_p50_ms": "token p50 (ms)",
    "tpot_p95_ms": "token p95 (ms)",
    "goodput_per_s": "good (requests/s)",
    "met_fraction": "good, of all",
}
NO_RATE = "no open loop was measured"


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """What each server did at each share of its capacity, with intervals over blocks.

    Args:
        table: of ``estimates.rates_table``.
    """
    rows = []
    for (label, fraction), mine in table.groupby(["label", "fraction"], sort=False):
        row = {"server": label, "share of capacity": f"{fraction:g}"}
        for r in mine.itertuples():
            row[QUANTITIES[r.quantity]] = (
                NOTHING if pd.isna(r.value) else
                f"{r.value:.0%}" if r.quantity == "met_fraction" else
                interval(r.value, r.low, r.high)
            )  # fmt: skip
        row["blocks"] = f"{mine['blocks'].max()}"
        row["note"] = "; ".join(dict.fromkeys(filter(None, mine["note"])))
        rows.append(row)
    if not rows:
        return pd.DataFrame({"": [NO_RATE]}, index=[""])
    shown = pd.DataFrame(rows)
    if not shown["note"].any():
        shown = shown.drop(columns="note")
    return one_header(shown.set_index("server"), "server")


def capacity(table: pd.DataFrame, knees: pd.DataFrame, assessment: Assessment) -> pd.DataFrame:
    """The capacity of each server, and the knee of its response.

    Args:
        table: of ``estimates.capacity_table``.
        knees: of ``estimates.knee_table``.
        assessment: of the run.
    """
    seen = assessment.cells["capacity_fraction"].dropna()
    shares = None if seen.empty else (seen.min(), seen.max())
    shown = table.merge(knees, on=["arm", "label"], suffixes=("", "_knee"))
    rows = [
        {
            "server": r.label,
            f"capacity, {r.users} users (requests/s)": interval(r.per_s, r.low, r.high),
            "knee, as a share of it": load_interval(r.fraction, r.low_knee, r.high_knee, shares),
            "knee (requests/s)": interval(r.per_s_knee, r.per_s_low, r.per_s_high),
            "blocks": r.blocks,
            "note": "; ".join(dict.fromkeys(filter(None, (r.note, r.note_knee)))),
        }
        for r in shown.itertuples()
    ]
    return one_header(pd.DataFrame(rows).set_index("server"), "server")


def searches(table: pd.DataFrame) -> pd.DataFrame:
    """The highest rate at which a search's objectives held, over blocks.

    Args:
        table: of ``estimates.search_table``.
    """
    rows = [
        {
            "server": r.label,
            "highest rate (requests/s)": interval(r.per_s, r.low, r.high),
            "surely holds in every block at": number(r.holds_per_s),
            "surely fails in every block at": number(r.fails_per_s),
            "blocks": r.blocks,
            "rates probed": r.probes,
            "note": r.note,
        }
        for r in table[table["scope"] == "blocks"].itertuples()
    ]
    if not rows:
        return pd.DataFrame({"": ["no search was made"]}, index=[""])
    return one_header(pd.DataFrame(rows).set_index("server"), "server")


def goodput_ratios(table: pd.DataFrame, assessment: Assessment) -> pd.DataFrame:
    """The highest goodput of each contrast's servers, and its ratio.

    Args:
        table: of ``estimates.goodput_ratio_table``.
        assessment: of the run.
    """
    rows = [
        {
            "contrast": f"{assessment.label(r.numerator)} / {assessment.label(r.denominator)}",
            "highest goodput (good requests/s)": f"{number(r.numerator_per_s)} / "
            f"{number(r.denominator_per_s)}",
            "ratio": interval(r.ratio, r.low, r.high),
            "blocks": r.blocks,
            "note": r.note,
        }
        for r in table.itertuples()
    ]
    if not rows:
        return pd.DataFrame({"": ["no objective, or no two servers to compare"]}, index=[""])
    return one_header(pd.DataFrame(rows).set_index("contrast"), "contrast")
