"""Whether the machine, the server's state and the client let the work be measured."""

from __future__ import annotations

import numpy as np

from heavyweight.records import measured
from heavyweight.stats import Estimate, drift, mser5, shift
from heavyweight.validity import recorded
from heavyweight.validity.base import Evidence, Part

SLEPT_S = 0.05  # two clocks are not read at the same moment
CLOCK_SET_S = 1.0  # what a time service corrects little by little stays below


def steady_state(e: Evidence) -> list[Part]:
    """The window is one state: no start-up in it, and no drift.

    An open loop above the server's capacity drifts for ever. That is what was to be found, so
    there the drift is told and fails nothing.
    """
    r, most, far = e.requests, e.limit("mser_cut_fraction"), e.limit("drift_fraction")
    values = r.latencies_ms("e2e", failures=False)
    times = r.done_ns[r.in_window & ~r.failed & ~np.isnan(r.start_ns)]
    if values.size < 10 or times[-1] <= times[0] or np.median(values) <= 0:
        detail = f"{values.size} requests succeeded in the window: too few to tell"
        return [Part(None, most, "of the window", False, detail)]
    cut, trend = mser5(values), drift(times, values)
    if e.cell.loop == "open":
        detail = f"drift {_percent(trend)}; an open loop may drift"
        return [Part(_certain(trend), None, "relative", True, detail)]
    parts = [Part(_certain(trend), far, "relative", _certain(trend) <= far,
                   f"drift {_percent(trend)}")]  # fmt: skip
    detail = f"MSER-5 cuts {cut.fraction:.0%}"
    if cut.fraction > most:
        # A late cut alone means little: steady sequences have one in up to a fifth of cases.
        change = shift(values, cut.index)
        detail += f"; end-to-end latency before the cut is {_percent(change)} off"
        late = _certain(change) > far
        parts.insert(0 if late else 1, Part(cut.fraction, most, "of the window", not late, detail))
    else:
        parts.insert(0, Part(cut.fraction, most, "of the window", True, detail))
    return parts


def _certain(change: Estimate) -> float:
    """The change that the whole interval agrees on: its end nearest to none."""
    return max(change.low, -change.high, 0.0)


def _percent(estimate: Estimate) -> str:
    """An estimate and its interval in percent."""
    return f"{estimate.value:+.0%} ({estimate.low:+.0%} to {estimate.high:+.0%})"


def client(e: Evidence) -> list[Part]:
    """Requests were sent when they were due, and the parts of a load had one time."""
    r = e.requests
    lag_ms = ((r.sent_ns - r.due_ns) / 1e6)[r.in_window & ~np.isnan(r.sent_ns)]
    # A closed loop counts latency from sending, but a client that is late to send is late to stamp.
    scale_ms = r.latencies_ms("ttft", failures=False)
    limit = e.limit("dispatch_lag_ms")
    if lag_ms.size == 0 or scale_ms.size == 0:
        return [Part(None, limit, "ms", False, "no request succeeded in the window")]
    limit = max(limit, e.limit("dispatch_lag_fraction") * float(np.median(scale_ms)))
    p99 = float(np.quantile(lag_ms, 0.99, method="inverted_cdf"))
    detail = f"requests were sent {p99:.3g} ms after they were due (p99)"
    parts = [Part(p99, limit, "ms", p99 <= limit, detail)]
    if e.cell.clock_error_ns is not None:
        apart_ms, limit = e.cell.clock_error_ns / 1e6, e.limit("dispatch_lag_ms")
        detail = f"the clocks of its {e.cell.parts} parts may be {apart_ms:.3g} ms apart"
        parts.append(Part(apart_ms, limit, "ms", apart_ms <= limit, detail))
    return parts


def machine(e: Evidence) -> list[Part]:
    """Nothing else used the machine, and neither heat nor power held it down."""
    load, cpus = measured(e.cell.machine_load), measured(e.session.machine).cpus
    if load.elapsed_s <= 0:
        return [Part(None, None, "", False, "the machine was not watched")]
    other, steal = load.other_cpu_s / load.elapsed_s, load.steal_s / load.elapsed_s / cpus
    most, stolen = e.limit("other_cpu_cores"), e.limit("steal_fraction")
    swapped = load.swapped_bytes
    return [
        Part(other, most, "cores", other <= most, f"other processes used {other:.2f} cores"),
        Part(steal, stolen, "of the time", steal <= stolen, f"steal {steal:.1%}"),
        Part(swapped, 0, "bytes", swapped == 0, f"{swapped} bytes swapped"),
        *_slept(e),
        *recorded.parts(e),
    ]


def _slept(e: Evidence) -> list[Part]:
    """Sleep of the machine, and a wall clock that was set; told only where it was.

    No latency is taken from the wall clock, so that setting it fails nothing.
    """
    load, found = measured(e.cell.machine_load), []
    if (load.suspended_s or 0.0) > SLEPT_S:
        detail = f"the machine slept {load.suspended_s:.1f} s"
        found.append(Part(load.suspended_s, SLEPT_S, "s", False, detail))
    if abs(load.clock_set_s or 0.0) > CLOCK_SET_S:
        detail = f"the wall clock was set by {load.clock_set_s:+.1f} s, which changes no latency"
        found.append(Part(load.clock_set_s, None, "s", True, detail))
    return found
