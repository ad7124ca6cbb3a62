"""A run's rows -> tidy tables of estimates with intervals; only VALID cells enter."""

from heavyweight.estimates.assessment import Assessment, assess
from heavyweight.estimates.crossings import crossover_table
from heavyweight.estimates.goodput import Objective, goodput_table, objective_at_one_user
from heavyweight.estimates.highest_goodput import (
    goodput_pairing,
    goodput_ratio,
    goodput_ratio_table,
)
from heavyweight.estimates.highest_rate import search_table
from heavyweight.estimates.instrument import instrument_table
from heavyweight.estimates.latency import latency_table
from heavyweight.estimates.openloop import capacity_table, knee_table, rates_table
from heavyweight.estimates.precision import inside_table, methods_table, precision_table
from heavyweight.estimates.queues import queue_table
from heavyweight.estimates.scaling import growth_table, scaling_table
from heavyweight.estimates.selftest import self_test_table
from heavyweight.estimates.summary import summary
from heavyweight.estimates.tables import ratio_table, throughput_table

__all__ = [
    "Assessment",
    "Objective",
    "assess",
    "capacity_table",
    "crossover_table",
    "goodput_pairing",
    "goodput_ratio",
    "goodput_ratio_table",
    "goodput_table",
    "growth_table",
    "inside_table",
    "instrument_table",
    "knee_table",
    "latency_table",
    "methods_table",
    "objective_at_one_user",
    "precision_table",
    "queue_table",
    "rates_table",
    "ratio_table",
    "scaling_table",
    "search_table",
    "self_test_table",
    "summary",
    "throughput_table",
]
