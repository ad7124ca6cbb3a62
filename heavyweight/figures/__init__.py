"""Tables as figures: made for a notebook, touching no file, saying where their numbers are from."""

from heavyweight.figures.audit import ollama_curve, roofline, vram
from heavyweight.figures.canvas import StudyFigure
from heavyweight.figures.instrument import instrument
from heavyweight.figures.latency import latency
from heavyweight.figures.memory import kv_cache, memory_parts
from heavyweight.figures.provenance import Provenance
from heavyweight.figures.scaling import goodput, growth, self_test
from heavyweight.figures.throughput import ratio, throughput
from heavyweight.figures.timeline import cells_at, timeline
from heavyweight.figures.verdicts import scoreboard, tally

__all__ = [
    "Provenance", "StudyFigure", "cells_at", "goodput", "growth", "instrument", "kv_cache",
    "latency", "memory_parts", "ollama_curve", "ratio", "roofline", "scoreboard", "self_test",
    "tally", "throughput", "timeline", "vram",
]  # fmt: skip
