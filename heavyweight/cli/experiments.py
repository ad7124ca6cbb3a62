"""What an experiment came to, on a terminal; its page has more."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from heavyweight import estimates, tables
from heavyweight.cli.tables import print_frame
from heavyweight.estimates import Assessment

Shown = list[tuple[str, pd.DataFrame]]


def print_experiment(assessment: Assessment) -> None:
    """The main tables of an experiment; nothing of a plain study."""
    shown = TABLES.get(assessment.run.experiment)
    for title, table in shown(assessment) if shown else ():
        print_frame(table, title)


def _coldstart(assessment: Assessment) -> Shown:
    starts = estimates.cold_starts(assessment.folder)
    found = estimates.coldstart_table(starts, assessment.run)
    ratios = estimates.cold_ratio_table(starts, assessment.run)
    return [
        ("Cold starts [95%]", tables.coldstart(found)),
        ("Ratios of cold starts [95%]", tables.cold_ratios(ratios)),
    ]


def _mechanisms(assessment: Assessment) -> Shown:
    return [("Probes", tables.probes(estimates.probes_over_blocks(assessment.folder)))]


def _memory(assessment: Assessment) -> Shown:
    seen = estimates.memory_frame(assessment.folder, assessment)
    ratios = estimates.memory_ratio_table(assessment, seen)
    return [
        ("Memory [95%]", tables.memory(estimates.memory_table(assessment, seen))),
        ("Ratios of memory [95%]", tables.memory_ratios(assessment, ratios)),
    ]


def _openloop(assessment: Assessment) -> Shown:
    objective = estimates.objective_at_one_user(assessment, 2.0, percent=95)
    ratios = estimates.goodput_ratio_table(assessment, objective)
    searches = estimates.search_table(assessment.folder, assessment)
    return [
        ("Open loops [95%]", tables.rates(estimates.rates_table(assessment, objective))),
        (f"Highest goodput: {objective}", tables.goodput_ratios(ratios, assessment)),
        ("Highest rate that was still good, by a search", tables.searches(searches)),
    ]


def _parallel(assessment: Assessment) -> Shown:
    return [("Gain of more slots [95%]", tables.gains(estimates.gain_table(assessment)))]


def _lengths(assessment: Assessment) -> Shown:
    contrast = tables.first_contrast(assessment)
    if contrast is None:
        return []
    ratios = estimates.lengths_table(assessment, contrast)
    return [("Ratios by length of text [95%]", tables.lengths(ratios))]


TABLES: dict[str, Callable[[Assessment], Shown]] = {
    "coldstart": _coldstart,
    "mechanisms": _mechanisms,
    "memory": _memory,
    "openloop": _openloop,
    "parallel": _parallel,
    "lengths": _lengths,
}
