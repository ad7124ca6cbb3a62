"""A run's rows -> tidy tables of estimates with intervals; only VALID cells enter."""

from heavyweight.estimates.assessment import Assessment, assess
from heavyweight.estimates.instrument import instrument_table
from heavyweight.estimates.latency import latency_table
from heavyweight.estimates.summary import summary
from heavyweight.estimates.tables import ratio_table, throughput_table

__all__ = [
    "Assessment",
    "assess",
    "instrument_table",
    "latency_table",
    "ratio_table",
    "summary",
    "throughput_table",
]
