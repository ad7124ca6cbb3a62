"""Queues: numbers computed by hand, and a queue that is run."""

import heapq
import math

import pytest

from heavyweight.stats import (
    closed_loop_bound,
    little_gap,
    saturation,
    slots_of,
    utilisation,
    waiting_share,
)


def test_littles_law():
    assert little_gap(50, 10, 5) == pytest.approx(0)
    assert little_gap(51, 10, 5) == pytest.approx(0.02)


def test_bounds_of_a_closed_loop():
    """One user takes 2 s alone, of which a slot is held for 1.5 s; 3 slots."""
    assert closed_loop_bound(1, 2, 1.5, 3) == pytest.approx(0.5)
    assert closed_loop_bound(4, 2, 1.5, 3) == pytest.approx(2)
    assert closed_loop_bound(50, 2, 1.5, 3) == pytest.approx(2)
    assert saturation(2, 1.5, 3) == pytest.approx(4)


def test_utilisation():
    assert utilisation(2, 1.5, 3) == pytest.approx(1)
    assert utilisation(0, 1.5) == 0


@pytest.mark.parametrize(("users", "slots"), [(50, 1), (50, 8), (10, 3), (4, 8)])
def test_the_waiting_share_is_that_of_a_queue_that_is_run(users, slots):
    free = [0.0] * min(slots, users)
    due = [(0.0, user) for user in range(users)]
    waited = responded = 0.0
    for served in range(400 * users):
        sent, user = heapq.heappop(due)
        start = max(sent, heapq.heappop(free))
        end = start + 1.0
        heapq.heappush(free, end)
        heapq.heappush(due, (end, user))
        if served > 10 * users:
            waited, responded = waited + start - sent, responded + end - sent
    assert waited / responded == pytest.approx(waiting_share(users, slots), abs=0.01)


def test_slots_that_a_waiting_share_tells():
    """The article: 3.2 s of 18.4 s at 50 users need about 41 slots (CLAIMS, audit 7)."""
    assert slots_of(50, 3.2 / 18.4) == pytest.approx(41.3, abs=0.05)
    assert waiting_share(50, slots_of(50, 0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_what_is_not_positive_is_refused(bad):
    for call in (
        lambda: little_gap(bad, 1, 1),
        lambda: little_gap(1, 1, bad),
        lambda: closed_loop_bound(1, bad, 1),
        lambda: saturation(1, bad),
        lambda: utilisation(1, bad),
        lambda: waiting_share(bad, 1),
        lambda: slots_of(bad, 0.5),
    ):
        with pytest.raises(ValueError, match="must be positive and finite"):
            call()


@pytest.mark.parametrize("bad", [-1, math.nan])
def test_a_negative_throughput_is_refused(bad):
    with pytest.raises(ValueError, match="not be negative"):
        utilisation(bad, 1)


@pytest.mark.parametrize("share", [-0.1, 1, math.nan])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="waiting share"):
        slots_of(10, share)
