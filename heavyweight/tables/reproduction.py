"""One study measured twice, as a table for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.tables.words import by_length, interval, one_header


def reproduction(found: pd.DataFrame) -> pd.DataFrame:
    """Their ratio, ours, and ours / theirs, each with its interval, by contrast and load.

    Args:
        found: of :func:`heavyweight.estimates.reproduction_table`.
    """
    parts = by_length(found)
    rows = []
    for length, part in parts:
        for row in part.to_dict("records"):
            shown = {"contrast": row["contrast"], "users": row["users"]}
            if len(parts) > 1:
                shown["tokens"] = length
            for side in ("theirs", "ours"):
                ends = (row[side], row[f"{side}_low"], row[f"{side}_high"])
                shown[side] = f"{interval(*ends)}, {row[f'{side}_blocks']} blocks"
            shown["ours / theirs"] = interval(row["quotient"], row["low"], row["high"])
            differs = row["differs"]
            shown["differ"] = "cannot be told" if pd.isna(differs) else "yes" if differs else "no"
            shown["note"] = row["note"]
            rows.append(shown)
    return one_header(pd.DataFrame(rows).set_index("contrast"), "contrast")
