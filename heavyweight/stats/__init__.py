"""Arrays of measured values -> estimates with intervals."""

from heavyweight.stats.bootstrap import Hierarchical, hierarchical, log_ratio_bca
from heavyweight.stats.crossover import Crossover, crossing, crossover
from heavyweight.stats.equivalence import Equivalence, tost
from heavyweight.stats.estimate import Estimate, NotEstimable
from heavyweight.stats.goodput import goodput, mean_t
from heavyweight.stats.multiple import HolmResult, holm, p_of, rewiden
from heavyweight.stats.percentiles import order_statistic_interval, requests_needed
from heavyweight.stats.planning import (
    Plan,
    VarianceComponents,
    blocks_needed,
    plan,
    repetitions,
    variance_components,
)
from heavyweight.stats.queueing import (
    closed_loop_bound,
    little_gap,
    saturation,
    utilisation,
)
from heavyweight.stats.ratios import log_quotient_welch, log_ratio_t, mean_log_t
from heavyweight.stats.scaling import Scaling, usl
from heavyweight.stats.steady import Cut, drift, effective_sample_size, mser5, shift, trend

__all__ = [
    "Crossover",
    "Cut",
    "Equivalence",
    "Estimate",
    "Hierarchical",
    "HolmResult",
    "NotEstimable",
    "Plan",
    "Scaling",
    "VarianceComponents",
    "blocks_needed",
    "closed_loop_bound",
    "crossing",
    "crossover",
    "drift",
    "effective_sample_size",
    "goodput",
    "hierarchical",
    "holm",
    "little_gap",
    "log_quotient_welch",
    "log_ratio_bca",
    "log_ratio_t",
    "mean_log_t",
    "mean_t",
    "mser5",
    "order_statistic_interval",
    "p_of",
    "plan",
    "repetitions",
    "requests_needed",
    "rewiden",
    "saturation",
    "shift",
    "tost",
    "trend",
    "usl",
    "utilisation",
    "variance_components",
]
