"""Arithmetic of queues: what throughput, response time and users say of each other."""

from __future__ import annotations

import math

from heavyweight.errors import BadInput


def in_flight(rate_per_s: float, response_s: float) -> float:
    """Requests in flight on average: rate x mean response (Little 1961, "L = lambda W")."""
    return _positive("rate_per_s", rate_per_s) * _positive("response_s", response_s)


def output_tokens_at_most(tok_s: float, response_s: float, users: float) -> float:
    """Mean output tokens of a request in a closed loop without pauses: X x R / N.

    From Little's law: N = (X / tokens) x R. With a response that is an upper bound on the mean,
    such as its p95, the result is an upper bound too. (A mean above its p95 takes a long tail.)

    Args:
        tok_s: X, output of all users together.
        response_s: R, mean time from request to the end of its answer.
        users: N, always with one request in flight.
    """
    _positive("users", users)
    return _positive("tok_s", tok_s) * _positive("response_s", response_s) / users


def wait_s(response_s: float, users: int, slots: float) -> float:
    """Mean wait for a slot, first come first served: response x (users - slots) / users.

    Of N users in a closed loop N - k wait while k are served, so waiting has that share of each
    response (Little's law, for the queue and for the whole).
    """
    if not 0 < slots <= users:
        raise BadInput(
            f"{slots:g} slots for {users} users", "more than 0 and at most the users", ""
        )
    return _positive("response_s", response_s) * (users - slots) / users


def slots_for_wait(wait_s: float, response_s: float, users: int) -> float:
    """Slots that leave a wait of that length in a response: users x (1 - wait / response).

    Raises:
        BadInput: a wait below 0, or longer than the response.
    """
    if not 0 <= wait_s < _positive("response_s", response_s):
        raise BadInput(
            f"a wait of {wait_s:g} s in a response of {response_s:g} s",
            "a wait that is shorter than the response",
            "mend it",
        )
    return _positive("users", users) * (1 - wait_s / response_s)


def slots_needed(throughput_tok_s: float, single_tok_s: float) -> float:
    """Requests that must be answered at once, at least, for more throughput than one gives.

    A request in a batch is not faster than alone, so k of them give at most k times as much.
    """
    return _positive("throughput_tok_s", throughput_tok_s) / _positive("single_tok_s", single_tok_s)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise BadInput(f"{name} {value:g}", "a number above 0", "mend it")
    return value
