"""Tables as figures: made for a notebook, touching no file, saying where their numbers are from."""

from heavyweight.figures.canvas import StudyFigure
from heavyweight.figures.instrument import instrument
from heavyweight.figures.latency import latency
from heavyweight.figures.provenance import Provenance
from heavyweight.figures.throughput import ratio, throughput
from heavyweight.figures.timeline import cells_at, timeline

__all__ = [
    "Provenance", "StudyFigure", "cells_at", "instrument", "latency", "ratio", "throughput",
    "timeline",
]  # fmt: skip
