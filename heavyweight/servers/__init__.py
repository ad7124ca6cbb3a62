"""Servers: install, start, ready, identify, stop."""

from __future__ import annotations
