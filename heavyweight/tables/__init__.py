"""Estimates as tables for a reader: rounded, with intervals and units, theirs beside ours."""

from heavyweight.tables.claims import decisions, tally, verdicts
from heavyweight.tables.client import instrument, instrument_cost, load
from heavyweight.tables.coldstart import begun_with, cold_ratios, coldstart, phases
from heavyweight.tables.cost import cost
from heavyweight.tables.curves import crossovers, goodput, growth, queue, scaling
from heavyweight.tables.findings import findings
from heavyweight.tables.lengths import length_times, lengths, moves, speeds
from heavyweight.tables.memory import (
    kv_cache,
    kv_waste,
    memory,
    memory_parts,
    memory_physics,
    memory_ratios,
    memory_slots,
    vram_held,
)
from heavyweight.tables.openloop import capacity, goodput_ratios, rates, searches
from heavyweight.tables.precision import inside, methods, precision, self_test
from heavyweight.tables.probes import probe_numbers, probe_sessions, probes
from heavyweight.tables.reproduction import reproduction
from heavyweight.tables.slots import contrasts, fairest, gains, memory_per_slot, slots
from heavyweight.tables.study import (
    advice,
    answers,
    cells,
    failed_checks,
    failures,
    invalid,
    latency,
    ratios,
    sessions,
    throughput,
)
from heavyweight.tables.words import (
    NOTHING,
    by_length,
    contrast_label,
    first_contrast,
    interval,
    load_interval,
    load_of,
    main_length,
    number,
    percentile,
)

__all__ = [
    "NOTHING", "advice", "answers", "begun_with", "by_length", "capacity", "cells", "cold_ratios",
    "coldstart", "contrast_label", "contrasts", "cost", "crossovers", "decisions", "failed_checks",
    "failures", "fairest", "findings", "first_contrast", "gains", "goodput", "goodput_ratios",
    "growth", "inside", "instrument", "instrument_cost", "interval", "invalid", "kv_cache",
    "kv_waste", "latency", "length_times", "lengths", "load", "load_interval", "load_of",
    "main_length", "memory", "memory_parts", "memory_per_slot", "memory_physics", "memory_ratios",
    "memory_slots", "methods", "moves", "number", "percentile", "phases", "precision",
    "probe_numbers", "probe_sessions", "probes", "queue", "rates", "ratios", "reproduction",
    "scaling", "searches", "self_test", "sessions", "slots", "speeds", "tally", "throughput",
    "verdicts", "vram_held",
]  # fmt: skip
