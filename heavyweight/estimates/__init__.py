"""A run's rows -> tidy tables of estimates with intervals; only VALID cells enter."""

from heavyweight.estimates.assessment import Assessment, assess
from heavyweight.estimates.crossings import crossover_table
from heavyweight.estimates.goodput import Objective, goodput_table, objective_at_one_user
from heavyweight.estimates.instrument import instrument_table
from heavyweight.estimates.kv_cache import (
    kv_cache_frame,
    kv_cache_table,
    kv_waste_by_block,
    kv_waste_table,
)
from heavyweight.estimates.latency import latency_table
from heavyweight.estimates.memory import (
    machine_memory_bytes,
    memory_by_block,
    memory_frame,
    memory_table,
)
from heavyweight.estimates.memory_costs import (
    breakdown_table,
    memory_physics_table,
    memory_ratio_table,
    memory_slots_table,
)
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
    "breakdown_table",
    "crossover_table",
    "goodput_table",
    "growth_table",
    "inside_table",
    "instrument_table",
    "kv_cache_frame",
    "kv_cache_table",
    "kv_waste_by_block",
    "kv_waste_table",
    "latency_table",
    "machine_memory_bytes",
    "memory_by_block",
    "memory_frame",
    "memory_physics_table",
    "memory_ratio_table",
    "memory_slots_table",
    "memory_table",
    "methods_table",
    "objective_at_one_user",
    "precision_table",
    "queue_table",
    "ratio_table",
    "scaling_table",
    "self_test_table",
    "summary",
    "throughput_table",
]
