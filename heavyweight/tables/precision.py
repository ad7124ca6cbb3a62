"""Width of intervals, what would narrow them, and one arm against itself, for a reader."""

from __future__ import annotations

import math

import pandas as pd

from heavyweight.tables.curves import MEASURES, NO_CONTRAST
from heavyweight.tables.words import NOTHING, interval, number, one_header


def precision(table: pd.DataFrame, half_width: float) -> pd.DataFrame:
    """How wide each ratio's interval is, and the blocks that a wanted width needs.

    Args:
        table: of ``estimates.precision_table``.
        half_width: that was wanted, relative.
    """
    if table.empty:
        return pd.DataFrame({"": ["no load was measured"]}, index=[""])
    wanted = f"blocks for +-{half_width:.0%}"
    needed, cautious = (
        [NOTHING if pd.isna(n) else n for n in table[name]]
        for name in ("blocks_needed", "blocks_cautious")
    )
    rows = pd.DataFrame(
        {
            "users": table["users"],
            "blocks": table["blocks"],
            "ratio": table["ratio"].map(number),
            "interval": [NOTHING if pd.isna(w) else f"+-{w:.1%}" for w in table["half_width"]],
            "spread of blocks": [NOTHING if pd.isna(s) else f"{s:.1%}" for s in table["sd_log"]],
            wanted: needed,
            f"{wanted}, cautious": cautious,
            "drift of the first-named": table["drift_numerator"],
            "of the other": table["drift_denominator"],
            "note": table["note"],
        }
    )  # fmt: skip
    return one_header(rows.set_index("users"), "users")


def inside(table: pd.DataFrame) -> pd.DataFrame:
    """Spread between blocks and inside them, and how many requests a cell pay.

    Args:
        table: of ``estimates.inside_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["no VALID cell"]}, index=[""])
    rows = pd.DataFrame(
        {
            "server": table["label"],
            "users": table["users"],
            "blocks": table["blocks"],
            "between blocks": [NOTHING if pd.isna(s) else f"{s:.1%}" for s in table["sd_between"]],
            "between requests": [NOTHING if pd.isna(s) else f"{s:.1%}" for s in table["sd_within"]],
            "requests a cell": table["requests"],
            "that pay": [
                NOTHING if pd.isna(n) else "all in one block" if math.isinf(n) else f"{n:.0f}"
                for n in table["requests_that_pay"]
            ],
            "note": table["note"],
        }
    )
    return one_header(rows.set_index("server"), "server")


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """A ratio's interval by several methods side by side.

    Args:
        table: of ``estimates.methods_table``.
    """
    if table.empty:
        return pd.DataFrame({"": ["no load has both servers"]}, index=[""])
    columns = {"Student's t": "t", "hierarchical bootstrap": "hierarchical", "BCa": "bca"}
    rows = pd.DataFrame(
        {
            "ratio of": table["quantity"],
            "users": table["users"],
            "blocks": table["blocks"],
            "value": table["ratio"].map(number),
            **{
                title: [
                    NOTHING if pd.isna(low) else f"{number(low)} to {number(high)}"
                    for low, high in zip(table[f"{name}_low"], table[f"{name}_high"], strict=True)
                ]
                for title, name in columns.items()
            },
            "note": table["note"],
        }
    )
    return one_header(rows.set_index("ratio of"), "ratio of")


def self_test(table: pd.DataFrame) -> pd.DataFrame:
    """One arm against itself: each ratio, whether its interval holds 1, and p.

    Args:
        table: of ``estimates.self_test_table``.
    """
    if table.empty:
        return NO_CONTRAST.copy()
    shown = pd.DataFrame(
        {
            "ratio of": [MEASURES.get(q, q) for q in table["quantity"]],
            "users": table["users"],
            "blocks": table["blocks"],
            "ratio [95%]": [interval(r.ratio, r.low, r.high) for r in table.itertuples()],
            "holds 1": [
                NOTHING if pd.isna(held) else "yes" if held else "NO" for held in table["holds_one"]
            ],
            "p": [NOTHING if pd.isna(p) else f"{p:.2f}" for p in table["p"]],
            "p after Holm": [NOTHING if pd.isna(p) else f"{p:.2f}" for p in table["p_holm"]],
            "note": table["note"],
        }
    )
    return one_header(shown.set_index("ratio of"), "ratio of")
