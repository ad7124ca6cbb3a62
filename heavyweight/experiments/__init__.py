"""Experiments beside closed loops: each has a session of its own, and a notebook that calls it."""

from heavyweight.experiments.coldstart import ColdstartSession

__all__ = ["ColdstartSession"]
