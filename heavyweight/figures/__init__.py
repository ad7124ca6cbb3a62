"""Tables as figures: made for a notebook, touching no file, saying where their numbers are from."""

from heavyweight.figures.audit import ollama_curve, roofline, vram
from heavyweight.figures.canvas import StudyFigure
from heavyweight.figures.instrument import instrument
from heavyweight.figures.latency import latency
from heavyweight.figures.provenance import Provenance
from heavyweight.figures.throughput import ratio, throughput
from heavyweight.figures.timeline import cells_at, timeline

__all__ = [
    "Provenance", "StudyFigure", "cells_at", "instrument", "latency", "ollama_curve", "ratio",
    "roofline", "throughput", "timeline", "vram",
]  # fmt: skip
