"""Crossovers, scaling, goodput and precision as tables for a reader."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from heavyweight.estimates import Assessment
from heavyweight.tables.words import (
    NOTHING,
    contrast_label,
    interval,
    load_interval,
    number,
    one_header,
)

MEASURES = {
    "throughput_tok_s": "tokens a second",
    "ttft_p50_ms": "median time to first text",
    "e2e_p50_ms": "median response",
    "e2e_p95_ms": "p95 response",
    "ttft_p95_ms": "p95 time to first text",
    "tpot_p50_ms": "median time per output token",
    "requests_per_s": "requests a second",
    "server_rss_bytes": "resident memory",
}
PARAMETERS = {
    "rate": "one user, tok/s",
    "sigma": "contention",
    "kappa": "coherence",
    "peak": "users at the peak",
}
NO_CONTRAST = pd.DataFrame({"": ["this run compares no two servers"]}, index=[""])


def crossovers(assessment: Assessment, found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """From how many users on the first-named server is ahead, by each measure.

    Args:
        assessment: of a run.
        found: contrast: its table of ``estimates.crossover_table``.
    """
    seen = assessment.cells["users"].dropna()
    loads = (seen.min(), seen.max())
    rows = [
        {
            "contrast": contrast_label(assessment, name),
            "measure": MEASURES.get(r.quantity, r.quantity),
            "ahead by": f"{r.threshold:g}x",
            "users from which on [95%]": load_interval(r.users, r.low, r.high, loads),
            "blocks": r.blocks,
            "below / inside / above the loads": f"{r.below} / {r.inside} / {r.above}",
            "by inversion": _ends(r.by_inversion_low, r.by_inversion_high, loads),
            "note": r.note,
        }
        for name, table in found.items()
        for r in table.itertuples()
    ]
    if not rows:
        return NO_CONTRAST.copy()
    return one_header(pd.DataFrame(rows).set_index("contrast"), "contrast")


def _ends(low: float, high: float, loads: tuple[float, float]) -> str:
    """An interval's ends without its value."""
    if pd.isna(low) or pd.isna(high):
        return NOTHING
    return load_interval(1.0, low, high, loads).partition("[")[2].rstrip("]")


def scaling(table: pd.DataFrame) -> pd.DataFrame:
    """Parameters of the Universal Scalability Law with intervals, a row an arm.

    Args:
        table: of ``estimates.scaling_table``.
    """
    rows = []
    for label, mine in table.groupby("label", sort=False):
        row = {"server": label, "loads": mine["loads"].iloc[0], "blocks": mine["blocks"].iloc[0]}
        for r in mine.itertuples():
            if r.parameter in PARAMETERS:
                row[PARAMETERS[r.parameter]] = _parameter(r.value, r.low, r.high)
        fit = mine["residual"].max()
        row["largest misfit"] = NOTHING if pd.isna(fit) else f"{fit:.0%}"
        row["note"] = "; ".join(dict.fromkeys(note for note in mine["note"] if note))
        rows.append(row)
    return one_header(pd.DataFrame(rows).fillna(NOTHING).set_index("server"), "server")


def _parameter(value: float, low: float, high: float) -> str:
    """A parameter that may be near 0 or below it."""
    if pd.isna(value):
        return NOTHING
    if abs(value) >= 1:
        return interval(value, low, high)
    return f"{value:.3f}" + ("" if pd.isna(low) else f" [{low:.3f}, {high:.3f}]")


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """Throughput as a multiple of that of the lowest load, a row a load, a column an arm.

    Args:
        table: of ``estimates.growth_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["no two loads share a block"]}, index=[""])
    shown = table.assign(shown=[interval(r.growth, r.low, r.high) for r in table.itertuples()])
    order = list(dict.fromkeys(table["label"]))
    wide = shown.pivot(index="users", columns="label", values="shown")[order].fillna(NOTHING)
    return one_header(wide.rename_axis(columns=None), "users")


def goodput(table: pd.DataFrame) -> pd.DataFrame:
    """Requests a second that met an objective, over blocks, with the share that did.

    Args:
        table: of ``estimates.goodput_table``.
    """
    rows = table[table["scope"] == "blocks"]
    if rows.empty:
        return pd.DataFrame({"": ["no VALID cell"]}, index=[""])
    shown = rows.assign(
        shown=[
            f"{interval(r.goodput_per_s, r.low, r.high)}, {r.met_fraction:.0%} of requests"
            for r in rows.itertuples()
        ],
        label=rows["label"] + " (good requests/s)",
    )
    order = list(dict.fromkeys(shown["label"]))
    wide = shown.pivot(index="users", columns="label", values="shown")[order].fillna(NOTHING)
    return one_header(wide.rename_axis(columns=None), "users")


def queue(table: pd.DataFrame) -> pd.DataFrame:
    """Each arm and load against the laws of queues.

    Args:
        table: of ``estimates.queue_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["no VALID cell of a closed loop"]}, index=[""])
    shown = pd.DataFrame(
        {
            "server": table["label"],
            "users": table["users"],
            "in flight": table["in_flight"].map(number),
            "requests/s": table["requests_per_s"].map(number),
            "mean response (s)": table["response_s"].map(number),
            "off Little's law": [f"{gap:+.1%}" for gap in table["gap"]],
            "slots": [NOTHING if pd.isna(n) else f"{n:.0f}" for n in table["slots"]],
            "at most (requests/s)": table["bound_per_s"].map(number),
            "reached": [NOTHING if pd.isna(s) else f"{s:.0%}" for s in table["share_of_bound"]],
            "slots in use": [NOTHING if pd.isna(u) else f"{u:.0%}" for u in table["utilisation"]],
        }
    )
    return one_header(shown.set_index("server"), "server")
