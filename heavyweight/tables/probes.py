"""Answers of probes as tables for a reader."""

from __future__ import annotations

import pandas as pd

from heavyweight.tables.words import NOTHING, interval, one_header

NO_PROBE = pd.DataFrame({"": ["this run has no probe"]}, index=[""])


def answer(row: pd.Series) -> str:
    """An answer in words with its trials, and with its blocks where they are not of one mind.

    Args:
        row: of ``estimates.probes_over_blocks``.
    """
    known = int(row["blocks_yes"] + row["blocks_no"])
    words = str(row["answer"])
    if words == "mixed":
        words = f"{row['blocks_yes']} blocks yes, {row['blocks_no']} no"
    words += f", {row['yes']} of {row['of']} trials" if several(row) else ""
    if 0 < known < row["blocks"]:
        words += f" ({row['blocks_unknown']} of {row['blocks']} blocks unknown)"
    return words


def several(row: pd.Series) -> bool:
    """Whether a block has more than one trial, so that their number says something."""
    return bool(row["of"] > row["blocks"])


def probes(over: pd.DataFrame) -> pd.DataFrame:
    """Each question and what each server does, a row a question, a column a server.

    Args:
        over: of ``estimates.probes_over_blocks``.
    """
    if over.empty:
        return NO_PROBE.copy()
    shown = over.assign(shown=[answer(row) for _, row in over.iterrows()])
    labels = list(dict.fromkeys(shown["label"]))
    questions = list(dict.fromkeys(shown["question"]))
    wide = shown.pivot(index="question", columns="label", values="shown")
    wide = wide.reindex(index=questions, columns=labels).fillna(NOTHING)
    return one_header(wide.rename_axis(columns=None), "question")


def probe_numbers(over: pd.DataFrame) -> pd.DataFrame:
    """The numbers behind the answers, over blocks, with what was seen in one of them.

    Args:
        over: of ``estimates.probes_over_blocks``.
    """
    rows = over[over["value"].notna()]
    if rows.empty:
        return NO_PROBE.copy()
    table = pd.DataFrame(
        {
            "probe": rows["probe"],
            "server": rows["label"],
            "number": [interval(r.value, r.low, r.high) for r in rows.itertuples()],
            "unit": rows["unit"],
            "blocks": rows["blocks"],
            "in the last block": rows["why"],
            "note": rows["note"],
        }
    )
    return one_header(table.set_index("probe"), "probe")


def probe_sessions(table: pd.DataFrame) -> pd.DataFrame:
    """What each session said, and why.

    Args:
        table: of ``estimates.probes_table``.
    """
    if table.empty:
        return NO_PROBE.copy()
    shown = pd.DataFrame(
        {
            "session": table["session"],
            "probe": table["probe"],
            "answer": table["answer"],
            "trials": [
                f"{r.yes} of {r.of}" + f", {r.failed} failed" * bool(r.failed) if r.of else NOTHING
                for r in table.itertuples()
            ],
            "why": table["why"],
        }
    )
    return one_header(shown.set_index("session"), "session")
