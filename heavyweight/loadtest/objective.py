"""What must hold at a load: ``ttft_p99_ms<=500``, ``error_fraction<=0.01``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from scipy.stats import rankdata

from heavyweight.errors import BadInput
from heavyweight.stats import effective_sample_size
from heavyweight.stats.requests import Quantity, Requests

_PERCENTILE = re.compile(r"([a-z0-9]+)_p(\d+(?:\.\d+)?)_ms")
_FORM = re.compile(r"\s*([a-z0-9_.]+)\s*<=\s*(\S+)\s*")
ERRORS = "error_fraction"


@dataclass(frozen=True)
class Tally:
    """How many values break an objective.

    Args:
        bad: of them.
        n: values.
        worth: as many independent values as they are worth.
    """

    bad: float
    n: float
    worth: float

    @property
    def share(self) -> float:
        """Of all values; 0 where there are none."""
        return self.bad / self.n if self.n else 0.0


def pooled(tallies: Sequence[Tally]) -> Tally:
    """Several probes as one.

    Each probe counts by its values, not by what they are worth: a probe in which a queue came and
    went is worth least, and is the one that says most. The share's variance is the sum of those of
    the probes, each ``share (1 - share) / worth``, which gives what they are worth together.
    """
    some = [one for one in tallies if one.n > 0]
    n = sum(one.n for one in some)
    spread = sum((one.n / n) ** 2 / one.worth for one in some)
    return Tally(sum(one.bad for one in some), n, 1 / spread if some else 0.0)


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
        """Count the bad values of the window; a failed request is one, also one that hung in it.

        Neighbours resemble each other (a wave, a queue): the values are worth as many independent
        ones as the sequence of good and bad is, or that of their ranks, whichever is less. The
        ranks tell of a queue that comes and goes also where nothing is bad yet.
        """
        if requests.cell.ended == "errors":  # there may be no window at all
            values = requests.failed.astype(float)
            bad = values > 0
        elif self.quantity is None:
            values = np.append(requests.failed[requests.in_window].astype(float), _hung(requests))
            bad = values > 0
        else:
            lost = np.where(_hung(requests) > 0, np.inf, 0.0)
            values = np.append(requests.latencies_ms(self.quantity), lost)
            bad = values > self.limit
        if bad.size == 0:
            return Tally(0.0, 0.0, 0.0)
        worth = min(effective_sample_size(bad), effective_sample_size(rankdata(values)))
        return Tally(float(np.count_nonzero(bad)), float(bad.size), worth)


def _hung(requests: Requests) -> np.ndarray:
    """A one for each request of a closed loop that the window's end found hung: it failed later."""
    cell = requests.cell
    if cell.loop == "open":  # there the window's requests are those that were due in it
        return np.empty(0)
    hung = (
        requests.failed
        & (requests.sent_ns <= cell.window_end_ns)
        & (requests.done_ns > cell.window_end_ns)
    )
    return np.ones(int(np.count_nonzero(hung)))


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
