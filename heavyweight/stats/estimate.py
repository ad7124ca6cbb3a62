"""What every estimator returns: a number with its interval, or what it would need."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; units are those of the data.

    Args:
        value: the point estimate.
        low: lower end of the interval; NaN where there is none.
        high: upper end of the interval; NaN where there is none.
        n: values that it rests on (requests inside a session, blocks over sessions).
        confidence: of the interval, two-sided.
        method: how it was computed, in words.
        note: what a reader must know; empty if nothing.
    """

    value: float
    low: float
    high: float
    n: int
    confidence: float
    method: str
    note: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether both ends exist; an end may be infinite."""
        return not (math.isnan(self.low) or math.isnan(self.high))


@dataclass(frozen=True)
class NotEstimable:
    """The sample is too small, and so no number is given.

    Args:
        needs: values that it would need.
        n: values that there are.
        method: what was asked for.
        note: why, in words.
    """

    needs: int
    n: int
    method: str
    note: str
