"""What must hold of any queue: Little's law, bounds of a closed loop, utilisation.

What published numbers imply of slots and waits is in :mod:`heavyweight.physics`.
"""

from __future__ import annotations


def little_gap(in_flight: float, throughput_per_s: float, latency_s: float) -> float:
    """How far the requests in flight are from throughput x latency, relative (Little 1961).

    Args:
        in_flight: requests in flight, mean over the window.
        throughput_per_s: requests that ended, per second.
        latency_s: their mean latency.

    Returns:
        in_flight / (throughput x latency) - 1; 0 where the books agree.

    Raises:
        ValueError: a number that is not positive.
    """
    _positive(in_flight=in_flight, throughput_per_s=throughput_per_s, latency_s=latency_s)
    return in_flight / (throughput_per_s * latency_s) - 1


def closed_loop_bound(users: float, alone_s: float, service_s: float, slots: int = 1) -> float:
    """Highest throughput of a closed loop without think time, in requests per second.

    X(N) <= min(N / R(1), slots / S) (Denning & Buzen 1978, asymptotic bounds): no user gets more
    than alone, and no slot works faster than its service.

    Args:
        users: N.
        alone_s: response time of a user alone, R(1).
        service_s: time that a request holds a slot, S.
        slots: requests that are served at once.

    Raises:
        ValueError: a number that is not positive.
    """
    _positive(users=users, alone_s=alone_s, service_s=service_s, slots=slots)
    return min(users / alone_s, slots / service_s)


def saturation(alone_s: float, service_s: float, slots: int = 1) -> float:
    """Users from which on the slots bound the throughput: slots x R(1) / S (Denning & Buzen 1978).

    Args:
        alone_s: response time of a user alone, R(1).
        service_s: time that a request holds a slot, S.
        slots: requests that are served at once.

    Raises:
        ValueError: a number that is not positive.
    """
    _positive(alone_s=alone_s, service_s=service_s, slots=slots)
    return slots * alone_s / service_s


def utilisation(throughput_per_s: float, service_s: float, slots: int = 1) -> float:
    """Share of the time that a slot is in use, X S / slots (Denning & Buzen 1978).

    Above 1 the numbers contradict each other.

    Args:
        throughput_per_s: requests that ended, per second; 0 where none did.
        service_s: time that a request holds a slot.
        slots: requests that are served at once.

    Raises:
        ValueError: a number that is not positive.
    """
    _positive(service_s=service_s, slots=slots)
    if not throughput_per_s >= 0:
        raise ValueError("throughput_per_s must not be negative or NaN")
    return throughput_per_s * service_s / slots


def _positive(**numbers: float) -> None:
    """Refuse what is not positive, NaN included."""
    for name, number in numbers.items():
        if not 0 < number < float("inf"):
            raise ValueError(f"{name} must be positive and finite, not {number}")
