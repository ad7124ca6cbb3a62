"""Tables as figures: made for a notebook, touching no file, saying where their numbers are from."""

from heavyweight.figures.audit import ollama_curve, roofline, vram
from heavyweight.figures.canvas import StudyFigure
from heavyweight.figures.coldstart import coldstart, ramp
from heavyweight.figures.instrument import instrument
from heavyweight.figures.latency import latency
from heavyweight.figures.lengths import length_times, lengths_map
from heavyweight.figures.mechanisms import joining, mechanisms, recycling
from heavyweight.figures.memory import kv_cache, memory_parts
from heavyweight.figures.openloop import goodput_by_rate, highest_rate, response
from heavyweight.figures.provenance import Provenance
from heavyweight.figures.scaling import goodput, growth, self_test
from heavyweight.figures.slots import slots, slots_map, slots_memory
from heavyweight.figures.throughput import ratio, throughput
from heavyweight.figures.timeline import cells_at, timeline
from heavyweight.figures.verdicts import scoreboard, tally

__all__ = [
    "Provenance", "StudyFigure", "cells_at", "coldstart", "goodput", "goodput_by_rate",
    "growth", "highest_rate", "instrument", "joining", "kv_cache", "latency", "length_times",
    "lengths_map", "mechanisms", "memory_parts", "ollama_curve", "ramp", "ratio", "recycling",
    "response", "roofline", "scoreboard", "self_test", "slots", "slots_map", "slots_memory",
    "tally", "throughput", "timeline", "vram",
]  # fmt: skip
