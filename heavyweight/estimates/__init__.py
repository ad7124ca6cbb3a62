"""A run's rows -> tidy tables of estimates with intervals; only VALID cells enter."""

from heavyweight.estimates.assessment import Assessment, assess
from heavyweight.estimates.coldstart import cold_ratio_table, cold_starts, coldstart_table
from heavyweight.estimates.contrasts import contrast_table
from heavyweight.estimates.cost import cost_table
from heavyweight.estimates.crossings import crossover_table
from heavyweight.estimates.fairest import fairest_table
from heavyweight.estimates.goodput import Objective, goodput_table, objective_at_one_user
from heavyweight.estimates.highest_goodput import (
    goodput_pairing,
    goodput_ratio,
    goodput_ratio_table,
)
from heavyweight.estimates.highest_rate import search_table
from heavyweight.estimates.instrument import instrument_table
from heavyweight.estimates.kv_cache import (
    kv_cache_frame,
    kv_cache_table,
    kv_waste_by_block,
    kv_waste_table,
)
from heavyweight.estimates.latency import latency_table
from heavyweight.estimates.lengths import (
    length_times_table,
    lengths_table,
    moves_table,
    speeds_table,
)
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
from heavyweight.estimates.openloop import capacity_table, knee_table, rates_table
from heavyweight.estimates.precision import inside_table, methods_table, precision_table
from heavyweight.estimates.probes import (
    joining_table,
    probes_over_blocks,
    probes_table,
    recycling_table,
)
from heavyweight.estimates.queues import queue_table
from heavyweight.estimates.reproduction import reproduction_table
from heavyweight.estimates.scaling import growth_table, scaling_table
from heavyweight.estimates.selftest import self_test_table
from heavyweight.estimates.slots import (
    gain_table,
    memory_per_slot_table,
    slot_families,
    slots_table,
)
from heavyweight.estimates.summary import plain_records, summary
from heavyweight.estimates.tables import ratio_table, throughput_table

__all__ = [
    "Assessment", "Objective", "assess", "breakdown_table", "capacity_table",
    "cold_ratio_table", "cold_starts", "coldstart_table", "contrast_table", "cost_table",
    "crossover_table", "fairest_table", "gain_table", "goodput_pairing", "goodput_ratio",
    "goodput_ratio_table", "goodput_table", "growth_table", "inside_table", "instrument_table",
    "joining_table", "knee_table", "kv_cache_frame", "kv_cache_table", "kv_waste_by_block",
    "kv_waste_table", "latency_table", "length_times_table", "lengths_table",
    "machine_memory_bytes", "memory_by_block", "memory_frame", "memory_per_slot_table",
    "memory_physics_table", "memory_ratio_table", "memory_slots_table", "memory_table",
    "methods_table", "moves_table", "objective_at_one_user", "plain_records", "precision_table",
    "probes_over_blocks", "probes_table", "queue_table", "rates_table", "ratio_table",
    "recycling_table", "reproduction_table", "scaling_table", "search_table", "self_test_table",
    "slot_families", "slots_table", "speeds_table", "summary", "throughput_table",
]  # fmt: skip
