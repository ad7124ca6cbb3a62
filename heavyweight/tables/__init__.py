"""Estimates as tables for a reader: rounded, with intervals and units, theirs beside ours."""

from heavyweight.tables.claims import decisions, tally, verdicts
from heavyweight.tables.client import instrument, instrument_cost, load
from heavyweight.tables.curves import crossovers, goodput, growth, queue, scaling
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
from heavyweight.tables.precision import inside, methods, precision, self_test
from heavyweight.tables.study import (
    answers,
    cells,
    failed_checks,
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
    main_length,
    number,
    percentile,
)

__all__ = [
    "NOTHING", "answers", "by_length", "cells", "contrast_label", "crossovers", "decisions",
    "failed_checks", "first_contrast", "goodput", "growth", "inside", "instrument",
    "instrument_cost", "interval", "invalid", "kv_cache", "kv_waste", "latency", "load",
    "load_interval",
    "main_length", "memory", "memory_parts", "memory_physics", "memory_ratios", "memory_slots",
    "methods", "number", "percentile", "precision", "queue", "ratios", "scaling",
    "self_test", "sessions", "tally", "throughput", "verdicts", "vram_held",
]  # fmt: skip
