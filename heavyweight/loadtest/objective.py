"""What must hold at a load: ``ttft_p99_ms<=500``, ``error_fraction<=0.01``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import get_args

import numpy as np

from heavyweight.errors import BadInput
from heavyweight.stats import effective_sample_size
from heavyweight.stats.requests import Quantity, Requests

_PERCENTILE = re.compile(r"([a-z0-9]+)_p(\d+(?:\.\d+)?)_ms")
_FORM = re.compile(r"\s*([a-z0-9_.]+)\s*<=\s*(\S+)\s*")
ERRORS = "error_fraction"


@dataclass(frozen=True)
class Tally:
    """How many values of a probe break an objective.

    Args:
        bad: of them, as many as the share of bad values is worth in independent ones.
        n: values, as many independent ones as they are worth.
    """

    bad: float
    n: float


@dataclass(frozen=True)
class Objective:
    """One thing that must hold.

    A percentile at most a limit is the same as a share of values above the limit: ``p99 <= 500 ms``
    holds if at most 1% of the values are above 500 ms. So every objective is a share of bad values
    and the share that is allowed.

    Args:
        text: as the user wrote it.
        quantity: which latency; None: the share of failed requests.
        percent: which percentile of it.
        limit: in ms, or a share.
    """

    text: str
    quantity: Quantity | None
    percent: float
    limit: float

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read an objective.

        Raises:
            BadInput: it is none.
        """
        form = _FORM.fullmatch(text)
        name, limit = (form[1], _positive(form[2])) if form else ("", None)
        if limit is not None and name == ERRORS and limit < 1:
            return cls(text.strip(), None, math.nan, limit)
        found = _PERCENTILE.fullmatch(name)
        known: dict[str, Quantity] = {one: one for one in get_args(Quantity)}
        if limit is not None and found and found[1] in known and 0 < float(found[2]) < 100:
            return cls(text.strip(), known[found[1]], float(found[2]), limit)
        raise BadInput(
            f"{text!r} is no objective",
            f"QUANTITY_pPERCENT_ms<=LIMIT with one of {', '.join(known)}, or {ERRORS}<=SHARE with "
            "a share above 0 and below 1",
            'write for instance --search "ttft_p99_ms<=500" --search "error_fraction<=0.01"',
        )

    @property
    def allowed(self) -> float:
        """The share of values that may be bad."""
        return self.limit if self.quantity is None else 1 - self.percent / 100

    def tally(self, requests: Requests) -> Tally:
        """Count the bad values of the window; a failed request is one.

        Neighbours resemble each other (a wave, a queue): the count is scaled to the number of
        independent values that the sequence of good and bad is worth.
        """
        if self.quantity is None:
            bad = requests.failed[requests.in_window]
        else:
            bad = requests.latencies_ms(self.quantity) > self.limit
        if bad.size == 0:
            return Tally(0.0, 0.0)
        n = effective_sample_size(bad)
        return Tally(float(np.mean(bad)) * n, n)


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
