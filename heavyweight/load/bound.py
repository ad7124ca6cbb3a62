"""What a load asks of a server at most: told before it goes to another machine."""

from __future__ import annotations

from urllib.parse import urlsplit

from heavyweight.arrivals import read_trace, schedule
from heavyweight.load.spec import LoadSpec


def told(spec: LoadSpec, times: int = 1) -> str:
    """The rate and the bound of a load, in words.

    Args:
        spec: of the load, or of the highest of several.
        times: how many loads there are at most, one after the other.
    """
    host = urlsplit(spec.base_url).hostname
    rate, last_s, patience_s = _bound(spec)
    each = (
        f"each with about {spec.prompt_tokens} tokens of made-up words, and {spec.output_tokens}"
        " asked in answer"
    )
    headers = f"; headers sent: {', '.join(sorted(spec.headers))}" if spec.headers else ""
    again = f"; at most {times} loads, this the highest" if times > 1 else ""
    return (
        f"The load goes to another machine, {host}: {rate}, {each}; "
        f"nothing is sent after {last_s:.0f} s, all is over {patience_s:.0f} s later"
        f"{again}{headers}."
    )


def _bound(spec: LoadSpec) -> tuple[str, float, float]:
    """The rate in words; seconds until the last request is sent, and until all is over after it."""
    arrivals = spec.arrivals
    if arrivals is None:
        most = f"at most {spec.users} request{'s' * (spec.users > 1)} at once"
        return most, spec.cap_seconds, spec.timeouts.total_s
    trace = None if arrivals.trace is None else read_trace(arrivals.trace)
    planned = schedule(arrivals, spec.seed, spec.block, trace)
    rate = f"{planned.mean_rate_per_s:.4g} requests/s on average, {len(planned)} in all"
    return rate, float(planned.due_ns[-1]) / 1e9, arrivals.drain_s
