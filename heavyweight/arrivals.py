"""When the requests of an open loop are due: the whole schedule, before the first one is sent.

Pure: a function of the load's description, the seed and the block, without a clock; only
:func:`read_trace` touches a file. Any number of processes computes the same schedule and each takes
its own part of it, so that the union of the parts is the schedule of one process. Gaps are drawn
from a stream of their own, are never cut, and are never rescaled to fill a length of time.

::

    poisson    independent exponential gaps; the number of requests in a length of time is random
    constant   request k is due at k / rate, computed from k: nothing adds up
    gamma      independent gaps of a given coefficient of variation; above 1 they come in bursts
    trace      the times of a file, from its first one on
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heavyweight.design import stream
from heavyweight.errors import BadInput

if TYPE_CHECKING:
    from heavyweight.load.spec import Arrivals

MOST_REQUESTS = 1 << 20  # of one load: as many prompts have names of their own
MOST_SECONDS = 10**7  # of a trace
NS_PER_S = 10**9
DRAW = 4096  # gaps drawn at once; the schedule does not depend on it
TIME_FIELDS = ("arrival_s", "timestamp")
TOKEN_FIELDS = ("prompt_tokens", "output_tokens")


@dataclass(frozen=True, eq=False)
class Trace:
    """The arrivals of a file.

    Args:
        due_ns: from the first one on, ascending; int64.
        prompt_tokens: of each request, as far as the file says.
        output_tokens: of each request, as far as the file says.
    """

    due_ns: np.ndarray
    prompt_tokens: np.ndarray | None = None
    output_tokens: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Schedule:
    """All requests of an open loop.

    Args:
        due_ns: when each is due, from the origin, ascending; int64. A request's place in it is
            its index, whichever process sends it.
        window_ns: first and last moment of the steady window.
        prompt_tokens: of each request; None: all alike.
        output_tokens: of each request; None: all alike.
    """

    due_ns: np.ndarray
    window_ns: tuple[int, int]
    prompt_tokens: np.ndarray | None = None
    output_tokens: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.due_ns.size)

    @cached_property
    def key(self) -> int:
        """32 bits that tell schedules apart, so that no two loads share their prompts."""
        return zlib.crc32(self.due_ns.tobytes())

    @property
    def mean_rate_per_s(self) -> float:
        """Requests per second from the origin to the end; their number where they come at once."""
        return len(self) / (self.window_ns[1] / NS_PER_S or 1.0)

    def indices(self, part: int = 0, parts: int = 1) -> range:
        """The requests of one of several processes: ``part``, ``part + parts``, and so on."""
        return range(part, len(self), parts)


def schedule(arrivals: Arrivals, seed: int, block: int, trace: Trace | None = None) -> Schedule:
    """The schedule of an open loop.

    It ends before ``arrivals.seconds``, or with the last of ``arrivals.requests`` or of the trace
    if that comes first. The window ends with it.

    Args:
        arrivals: what was asked.
        seed: of the study.
        block: from 1; each block has gaps of its own, the same in all arms.
        trace: what :func:`read_trace` read, where the arrivals are a trace.

    Raises:
        BadInput: no request is due in the window, or more than 2**20 in all.
    """
    horizon_ns = None if arrivals.seconds is None else round(arrivals.seconds * NS_PER_S)
    ends = False  # before the horizon
    if arrivals.process == "trace":
        assert trace is not None
        due_ns = _cut(trace.due_ns, horizon_ns, arrivals.requests)
        ends = due_ns.size == trace.due_ns.size
    else:
        assert arrivals.rate_per_s is not None
        if arrivals.process == "constant":
            due_ns = _constant(arrivals.rate_per_s, horizon_ns, arrivals.requests)
        else:
            cv = arrivals.cv if arrivals.process == "gamma" else 1.0
            # A stream for each load: loads of different rates are independent of each other.
            load = f"{arrivals.process} {arrivals.rate_per_s!r} {cv!r}"
            rng = stream(seed, "arrivals", block, load)
            due_ns = _renewal(rng, arrivals.rate_per_s, cv, horizon_ns, arrivals.requests)
    count = due_ns.size
    ends = ends or (arrivals.requests is not None and count >= arrivals.requests)
    last_ns = int(due_ns[-1]) if count else 0
    end_ns = last_ns if ends or horizon_ns is None else horizon_ns
    start_ns = round(arrivals.warmup_s * NS_PER_S)
    if not count or not (due_ns >= start_ns).any():
        raise BadInput(
            f"none of {count} requests is due in the window",
            "at least one request after the warm-up",
            "make the load longer or its rate higher, or the warm-up shorter",
        )
    return Schedule(
        due_ns,
        (start_ns, end_ns),
        *(None if t is None else t[:count] for t in _tokens(trace)),
    )


def _tokens(trace: Trace | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    return (None, None) if trace is None else (trace.prompt_tokens, trace.output_tokens)


def _cut(due_ns: np.ndarray, horizon_ns: int | None, requests: int | None) -> np.ndarray:
    """Those that are due before the horizon, and no more than asked."""
    if horizon_ns is not None:
        due_ns = due_ns[: np.searchsorted(due_ns, horizon_ns)]
    due_ns = due_ns[:requests]
    if due_ns.size > MOST_REQUESTS:
        raise _too_long()
    return due_ns


def _constant(rate_per_s: float, horizon_ns: int | None, requests: int | None) -> np.ndarray:
    """k / rate for k = 0, 1, ..., rounded down to ns; the rate is the decimal that was written."""
    rate = Fraction(repr(rate_per_s))
    count = requests
    if horizon_ns is not None:
        inside = -(-horizon_ns * rate // NS_PER_S)  # the k with k / rate below the horizon
        count = inside if requests is None else min(requests, inside)
    assert count is not None
    if count > MOST_REQUESTS:
        raise _too_long()
    scale, rate_int = NS_PER_S * rate.denominator, rate.numerator
    return np.fromiter((k * scale // rate_int for k in range(count)), np.int64, count)


def _renewal(
    rng: np.random.Generator, rate_per_s: float, cv: float,
    horizon_ns: int | None, requests: int | None,
) -> np.ndarray:  # fmt: skip
    """Sums of independent gaps, gamma distributed; with a variation of 1 they are exponential.

    The shape is 1 / cv**2 and the mean 1 / rate. The gaps are rounded to ns and added as integers.
    """
    shape = 1 / cv**2
    pieces, last_ns, count = [], 0, 0
    most = MOST_REQUESTS + 1 if requests is None else min(requests, MOST_REQUESTS + 1)
    while count < most and (horizon_ns is None or last_ns < horizon_ns):
        gaps = rng.standard_exponential(DRAW) if cv == 1 else rng.standard_gamma(shape, DRAW)
        scale_ns = NS_PER_S / rate_per_s * (1.0 if cv == 1 else cv**2)
        pieces.append(last_ns + np.cumsum(np.rint(gaps * scale_ns).astype(np.int64)))
        last_ns, count = int(pieces[-1][-1]), count + DRAW
    return _cut(np.concatenate(pieces), horizon_ns, requests)


def _too_long() -> BadInput:
    return BadInput(
        f"the schedule has more than {MOST_REQUESTS} requests",
        "a load whose prompts are all different",
        "make it shorter, or its rate lower",
    )


def read_trace(path: Path) -> Trace:
    """Read arrival times in seconds: one a line, or a CSV or JSONL with a column of them.

    The column is ``arrival_s`` or ``timestamp``; ``prompt_tokens`` and ``output_tokens`` are read
    where they are there. Times count from the first one, so that Unix times do as well.

    Raises:
        BadInput: the file cannot be read, is empty, or a time is no number, negative or earlier
            than the one before it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadInput(f"cannot read the trace {path.name}: {reason}", "a text file") from error
    kept = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not kept:
        raise BadInput(f"the trace {path.name} is empty", "at least one arrival time, in seconds")
    times: list[Decimal] = []
    tokens: dict[str, list[int]] = {name: [] for name in TOKEN_FIELDS}
    for number, fields in _records(path.name, kept):
        where = f"line {number} of {path.name}"
        time_s = _time(fields, where)
        if times and time_s < times[-1]:
            raise BadInput(f"{where} is earlier than the line before it", "ascending times",
                           "sort the file by time")  # fmt: skip
        times.append(time_s)
        for name in TOKEN_FIELDS:
            if fields.get(name) not in (None, ""):
                tokens[name].append(_count(fields[name], name, where))
    if not times:
        raise BadInput(f"the trace {path.name} has no rows", "at least one arrival time")
    for name, values in tokens.items():
        if values and len(values) != len(times):
            raise BadInput(f"{name} is missing in some rows of {path.name}", "all of them or none")
    if times[-1] - times[0] > MOST_SECONDS:
        raise BadInput(f"{path.name} spans {times[-1] - times[0]:g} s", "times in seconds",
                       "divide them if they are in ms or ns")  # fmt: skip
    due = ((time_s - times[0]) * NS_PER_S for time_s in times)
    due_ns = np.fromiter((round(value) for value in due), np.int64, len(times))
    columns = (np.array(values, np.int64) if values else None for values in tokens.values())
    return Trace(due_ns, *columns)


def _records(name: str, lines: list[tuple[int, str]]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Line numbers and fields, whichever of the three forms the file has."""
    first = lines[0][1].strip()
    if first.startswith("{"):
        for number, line in lines:
            try:
                record = json.loads(line, parse_float=Decimal)
            except json.JSONDecodeError as error:
                raise BadInput(
                    f"line {number} of {name} is not JSON", "one object a line"
                ) from error
            if not isinstance(record, dict):
                raise BadInput(f"line {number} of {name} is no object", "one object a line")
            yield number, record
    elif any(field in first for field in TIME_FIELDS):
        header = [cell.strip() for cell in next(csv.reader([first]))]
        for number, line in lines[1:]:
            yield number, dict(zip(header, next(csv.reader([line])), strict=False))
    else:
        for number, line in lines:
            yield number, {"arrival_s": line}


def _time(fields: dict[str, Any], where: str) -> Decimal:
    """The time of a row, exactly as written."""
    given = next((fields[name] for name in TIME_FIELDS if name in fields), None)
    try:
        time_s = Decimal(str(given).strip())
    except InvalidOperation:
        time_s = Decimal("NaN")
    if not time_s.is_finite() or isinstance(given, bool):
        raise BadInput(
            f"{where} has no time ({str(given)[:40]})",
            f"seconds, alone on the line or in a column {' or '.join(TIME_FIELDS)}",
        )
    if time_s < 0:
        raise BadInput(f"{where} has a negative time", "seconds, from 0 up")
    return time_s


def _count(given: Any, name: str, where: str) -> int:
    """A number of tokens."""
    text = str(given).strip()
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(f"{where} has {name} {text[:40]!r}", "a whole number from 1 up")
    return int(text)
