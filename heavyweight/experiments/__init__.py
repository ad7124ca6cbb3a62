"""Experiments beside closed loops: each has a session of its own, and a notebook that calls it."""
