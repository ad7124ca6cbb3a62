"""Estimates and checks as tables on a terminal."""

from __future__ import annotations
