"""Arrivals of tokens read as decoding steps: which come together, and how many lie between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Stamps = NDArray[np.int64]

WINDOW = 0.2  # of a step: two tokens that come nearer than this are of the same step
SHIFTS = 8  # of one stream against the other, for what chance would do


def step_ns(stamps: Stamps) -> float:
    """Median time between two tokens of a stream, in ns; NaN below two tokens."""
    return float(np.median(np.diff(stamps))) if len(stamps) > 1 else float("nan")


def both(first: Stamps, second: Stamps) -> tuple[Stamps, Stamps]:
    """The tokens of two streams that came while both were running; maybe none."""
    if not len(first) or not len(second):
        return first[:0], second[:0]
    begin, end = max(first[0], second[0]), min(first[-1], second[-1])
    one, other = (s[(s >= begin) & (s <= end)] for s in (first, second))
    return one, other


def share_together(first: Stamps, second: Stamps, window_ns: float) -> float:
    """Share of the shorter stream's tokens with one of the other's no farther away than a window.

    Args:
        first: arrivals of a stream's tokens, ascending, in ns.
        second: the same of another one.
        window_ns: in ns.

    Raises:
        ValueError: a stream without tokens.
    """
    short, long = sorted((first, second), key=len)
    if not len(short):
        raise ValueError("a stream without tokens")
    place = np.searchsorted(long, short)
    before = np.abs(short - long[np.maximum(place - 1, 0)])
    after = np.abs(long[np.minimum(place, len(long) - 1)] - short)
    return float(np.mean(np.minimum(before, after) <= window_ns))


def share_by_chance(first: Stamps, second: Stamps, step: float, window_ns: float) -> float:
    """The same share where nothing ties the streams: one moved by parts of a step, the mean.

    Two regular streams of one pace that know nothing of each other come together in
    2 x window / step of all phases.
    """
    moves = (np.arange(SHIFTS) + 0.5) / SHIFTS * step
    shares = [share_together(first, second + round(move), window_ns) for move in moves]
    return float(np.mean(shares))


def steps_between(running: Stamps, freed_ns: int, first_ns: int, step: float) -> int:
    """Steps of a running stream from the end of another one to the first token of a third.

    Tokens of one step arrive within a fraction of it, so that what comes up to half a step after
    the end belongs to the step of the end, and what comes up to half a step after the first token
    to the step of that token: 1 is the very next step, whose work may include the whole prompt.

    Args:
        running: arrivals of the running stream's tokens.
        freed_ns: end of the stream that ended.
        first_ns: first token of the one that waited.
        step: length of a step, in ns.
    """
    half = step / 2
    return int(np.sum((running > freed_ns + half) & (running <= first_ns + half)))
