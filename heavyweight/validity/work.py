"""Whether the work was done: complete, equal for every arm, and as the rows say."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from heavyweight.kinds import started
from heavyweight.validity.base import Evidence, Part

FEW_REQUESTS = 100  # up to here a single failure is too many


def output_tokens(e: Evidence) -> list[Part]:
    """Every answer is as long as was asked."""
    good = ~e.requests.failed
    if not good.any():
        return [Part(None, 0, "requests", False, "no request succeeded")]
    counted, asked = e.requests.completion_tokens[good], e.requests.asked[good]
    wrong = int(np.count_nonzero(counted != asked))
    detail = f"{wrong} of {good.sum()} answers are not as long as asked"
    if wrong:
        odd = counted[counted != asked]
        detail += f" ({np.nanmin(odd, initial=math.inf):.0f} to {np.nanmax(odd, initial=0):.0f}"
        detail += f" tokens instead of {asked[0]:.0f})"
    return [Part(wrong, 0, "requests", wrong == 0, detail)]


def prompt_tokens(e: Evidence) -> list[Part]:
    """Every prompt was counted, and everywhere in the run the same."""
    good = ~e.requests.failed
    if not good.any():
        return [Part(None, 0, "requests", False, "no request succeeded")]
    uncounted = int(np.count_nonzero(np.isnan(e.requests.prompt_tokens[good])))
    odd = set(e.unequal_prompts)
    unequal = sum(prompt in odd for prompt in e.requests.prompt_id[good])
    detail = f"{unequal} of {good.sum()} prompts have another count elsewhere in the run"
    if uncounted:
        detail += f", {uncounted} were not counted"
    return [Part(unequal + uncounted, 0, "requests", unequal + uncounted == 0, detail)]


def errors(e: Evidence) -> list[Part]:
    """Few requests failed: none in a small cell."""
    n, failed = len(e.requests), int(e.requests.failed.sum())
    if n == 0:
        return [Part(None, 0, "of all requests", False, "no request was made")]
    limit = e.limit("errors_fraction") if n > FEW_REQUESTS else 0.0
    classes = Counter(e.requests.error[e.requests.failed]).most_common()
    detail = f"{failed} of {n} requests failed"
    if failed:
        detail += f" ({', '.join(f'{count} {name}' for name, count in classes)})"
    if e.cell.ended == "errors":
        detail += "; the cell was ended by errors in a row"
    passed = failed / n <= limit and e.cell.ended != "errors"
    return [Part(failed / n, limit, "of all requests", passed, detail)]


def requests(e: Evidence) -> list[Part]:
    """Enough of them in the window; an open loop has no waves of users."""
    counted, closed = int(e.requests.in_window.sum()), e.cell.loop == "closed"
    least = e.limit("min_requests")
    if closed:
        least = max(least, e.limit("min_waves") * e.cell.users)
    verb = "finished" if closed else "were due"
    detail = f"{counted} requests {verb} in a window of {e.requests.window_s:.1f} s"
    if e.cell.ended == "cap":
        detail += ", which the time cap ended" if closed else "; some did not end in time"
    if e.cell.ended == "memory":
        detail += ", which ended early since the client's memory was full"
    passed = counted >= least and e.cell.ended != "memory"
    return [Part(counted, least, "requests", passed, detail)]


def bookkeeping(e: Evidence) -> list[Part]:
    """Requests in flight, latencies and users add up."""
    r, limit = e.requests, e.limit("bookkeeping_fraction")
    known = ~np.isnan(r.sent_ns)
    sent, done = r.sent_ns[known], r.done_ns[known]
    begin, end = float(e.cell.window_start_ns), float(e.cell.window_end_ns)
    if end <= begin or not known.any():
        return [Part(None, limit, "relative", False, "there is no window to look at")]
    # In flight by a sweep over all events, against the latencies as far as they lie in the window
    # (throughput x mean latency, corrected at both edges): apart if a stamp is impossible.
    times = np.concatenate([sent, done])
    order = np.argsort(times, kind="stable")
    flying = np.cumsum(np.repeat([1, -1], sent.size)[order])
    edges = np.clip(np.append(times[order], math.inf), begin, end)
    in_flight = float((flying * np.diff(edges)).sum()) / (end - begin)
    parts = np.maximum(np.minimum(done, end) - np.maximum(sent, begin), 0)
    latency = float(parts.sum()) / (end - begin)
    detail = f"{in_flight:.3g} requests in flight on average; by their latencies {latency:.3g}"
    apart = abs(in_flight - latency) / latency if latency else math.inf
    if e.cell.imported:
        detail += "; its window is the whole load, so that it is not held against the users"
    elif e.cell.loop == "closed":
        apart = max(apart, abs(in_flight - e.cell.users) / e.cell.users)
        detail += f"; {e.cell.users} users"
    return [Part(apart, limit, "relative", apart <= limit, detail)]


def server(e: Evidence) -> list[Part]:
    """One start, on its cores, and what answered is what was prepared."""
    s, cell = e.session, e.cell
    start = next((x for x in s.starts if x.start_id == cell.start_id), None)
    faults = []
    if start is None or (e.requests.start_id != cell.start_id).any():
        faults.append("not all requests belong to one known start")
    elif sorted(start.cores) != sorted(start.affinity_seen) and started(s.server or ""):
        faults.append(f"bound to cores {start.cores}, found on {start.affinity_seen}")
    if s.identity is None:
        faults.append("it was not asked what it is")
    else:
        if s.identity.server != s.server:
            faults.append(f"{s.identity.server} answered instead of {s.server}")
        if s.identity.version is None and started(s.server or ""):
            faults.append("it did not say its version")
        found, prepared = s.identity.model_digest or "", s.artefact_sha256 or ""
        if found and prepared and found.removeprefix("sha256:") != prepared.removeprefix("sha256:"):
            faults.append("it serves another artefact than the one that was prepared")
    if cell.idle_after is False:
        faults.append("it was not idle after the drain")
    detail = "; ".join(faults) or "one start, cores and identity as stated"
    return [Part(len(faults), 0, "faults", not faults, detail)]
