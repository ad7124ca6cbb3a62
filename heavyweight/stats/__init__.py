"""Arrays of measured values -> estimates with intervals."""

from heavyweight.stats.estimate import Estimate, NotEstimable
from heavyweight.stats.percentiles import order_statistic_interval, requests_needed
from heavyweight.stats.ratios import log_ratio_t, mean_log_t
from heavyweight.stats.steady import Cut, drift, effective_sample_size, mser5, shift

__all__ = [
    "Cut",
    "Estimate",
    "NotEstimable",
    "drift",
    "effective_sample_size",
    "log_ratio_t",
    "mean_log_t",
    "mser5",
    "order_statistic_interval",
    "requests_needed",
    "shift",
]
