"""The client's own error as tables for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.tables.words import interval, number, one_header
from heavyweight.text import count_of

ERRORS = ("ttft", "itl", "tpot", "e2e")
NOT_CALIBRATED = pd.DataFrame(
    {"the client's own error": ["not measured in this run"],
     "remedy": ["`heavyweight study run`, or execute notebooks/instrument.ipynb with this run"]},
    index=[""],
)  # fmt: skip


def instrument(table: pd.DataFrame) -> pd.DataFrame:
    """The client's own error in ms, a row a setting and load: p99 of the absolute error, or mean.

    Args:
        table: of ``estimates.instrument_table``.
    """
    rows = table[table["setting"] != "saturation"]
    if rows.empty:
        return NOT_CALIBRATED.copy()
    shown = {"setting": rows["setting"], "load": rows.apply(load, axis=1)}
    shown |= {"requests": rows["requests"].map(str)}
    for name, title in (("lag", "sent late"), *((f"{q}_error", q.upper()) for q in ERRORS)):
        shown[f"{title} p99 (ms)"] = rows.apply(
            lambda r, n=name: interval(
                r[f"{n}_p99_ms"], r[f"{n}_p99_low_ms"], r[f"{n}_p99_high_ms"]
            ),
            axis=1,
        )
        if name != "lag":
            shown[f"{title} mean (ms)"] = rows[f"{name}_mean_ms"].map(number)
    shown["read by the server p99 (ms)"] = rows["read_p99_ms"].map(number)
    shown["tokens seen"] = rows["tokens_seen_fraction"].map("{:.2%}".format)
    return one_header(pd.DataFrame(shown).set_index("setting"), "setting")


def instrument_cost(table: pd.DataFrame) -> pd.DataFrame:
    """What the client takes of the machine, a row a setting and load.

    Args:
        table: of ``estimates.instrument_table``.
    """
    if table.empty:
        return NOT_CALIBRATED.copy()
    shown = {
        "setting": table["setting"],
        "load": table.apply(load, axis=1),
        "events/s": table["events_per_s"].map(number),
        "client's CPU (cores)": table["client_cpu_share"].map(number),
        "CPU per event (µs)": table["client_cpu_us_per_event"].map(number),
        "client's memory (MB)": (table["client_rss_bytes"] / 1e6).map(number),
        "CPU of other programs (cores)": table["other_cpu_cores"].map(number),
    }
    return one_header(pd.DataFrame(shown).set_index("setting"), "setting")


def load(row: pd.Series) -> str:
    """A load in words."""
    if row["loop"] == "open":
        return f"{row['rate_per_s']:g} requests/s"
    return count_of(row["users"], "user")
