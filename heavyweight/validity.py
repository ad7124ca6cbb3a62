"""Named checks of a cell -> VALID, or INVALID with value, limit and remedy.

A check of kind "work" asks whether the work was done, complete and equal; one of kind "machine"
whether the machine let it be measured. A cell is VALID if it passes all of both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from heavyweight.errors import StoreError
from heavyweight.records import Cell, Session
from heavyweight.stats import Estimate, drift, mser5, shift
from heavyweight.stats.requests import Requests

FEW_REQUESTS = 100  # up to here a single failure is too many


@dataclass(frozen=True)
class Check:
    """One named check of one cell.

    Args:
        name: as in the study's table of checks.
        kind: what a failure means: the work was not as stated, or the machine was not quiet.
        value: what was found; None: it could not be found.
        limit: the largest value that passes, or the smallest for "requests".
        unit: of both.
        passed: whether it holds.
        detail: what was found, in words.
        remedy: what to do; empty if it holds.
    """

    name: str
    kind: Literal["work", "machine"]
    value: float | None
    limit: float | None
    unit: str
    passed: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class _Part:
    """One of several things that a check looks at."""

    value: float | None
    limit: float | None
    unit: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class _Evidence:
    """All that the checks of one cell look at."""

    cell: Cell
    session: Session
    requests: Requests
    limits: Mapping[str, float]
    unequal_prompts: Collection[str]

    def limit(self, name: str) -> float:
        """A limit of the run.

        Raises:
            StoreError: run.json does not hold it.
        """
        try:
            return self.limits[name]
        except KeyError as error:
            raise StoreError(
                f"run.json has no limit {name!r}",
                "all limits of the table [limits] of study.toml",
                "add the limit to the run's run.json, with the value of its study.toml",
            ) from error


def _output_tokens(e: _Evidence) -> list[_Part]:
    good = ~e.requests.failed
    if not good.any():
        return [_Part(None, 0, "requests", False, "no request succeeded")]
    counted, asked = e.requests.completion_tokens[good], e.requests.asked[good]
    wrong = int(np.count_nonzero(counted != asked))
    detail = f"{wrong} of {good.sum()} answers are not as long as asked"
    if wrong:
        odd = counted[counted != asked]
        detail += f" ({np.nanmin(odd, initial=math.inf):.0f} to {np.nanmax(odd, initial=0):.0f}"
        detail += f" tokens instead of {asked[0]:.0f})"
    return [_Part(wrong, 0, "requests", wrong == 0, detail)]


def _prompt_tokens(e: _Evidence) -> list[_Part]:
    good = ~e.requests.failed
    if not good.any():
        return [_Part(None, 0, "requests", False, "no request succeeded")]
    uncounted = int(np.count_nonzero(np.isnan(e.requests.prompt_tokens[good])))
    odd = set(e.unequal_prompts)
    unequal = sum(prompt in odd for prompt in e.requests.prompt_id[good])
    detail = f"{unequal} of {good.sum()} prompts have another count elsewhere in the run"
    if uncounted:
        detail += f", {uncounted} were not counted"
    return [_Part(unequal + uncounted, 0, "requests", unequal + uncounted == 0, detail)]


def _errors(e: _Evidence) -> list[_Part]:
    n, failed = len(e.requests), int(e.requests.failed.sum())
    if n == 0:
        return [_Part(None, 0, "of all requests", False, "no request was made")]
    limit = e.limit("errors_fraction") if n > FEW_REQUESTS else 0.0
    classes = Counter(e.requests.error[e.requests.failed]).most_common()
    detail = f"{failed} of {n} requests failed"
    if failed:
        detail += f" ({', '.join(f'{count} {name}' for name, count in classes)})"
    if e.cell.ended == "errors":
        detail += "; the cell was ended by errors in a row"
    passed = failed / n <= limit and e.cell.ended != "errors"
    return [_Part(failed / n, limit, "of all requests", passed, detail)]


def _requests(e: _Evidence) -> list[_Part]:
    finished = int(e.requests.in_window.sum())
    least = max(e.limit("min_requests"), e.limit("min_waves") * e.cell.users)
    detail = f"{finished} requests finished in a window of {e.requests.window_s:.1f} s"
    if e.cell.ended == "cap":
        detail += ", which the time cap ended"
    return [_Part(finished, least, "requests", finished >= least, detail)]


def _bookkeeping(e: _Evidence) -> list[_Part]:
    r, limit = e.requests, e.limit("bookkeeping_fraction")
    known = ~np.isnan(r.sent_ns)
    sent, done = r.sent_ns[known], r.done_ns[known]
    begin, end = float(e.cell.window_start_ns), float(e.cell.window_end_ns)
    if end <= begin or not known.any():
        return [_Part(None, limit, "relative", False, "there is no window to look at")]
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
    if e.cell.loop == "closed":
        apart = max(apart, abs(in_flight - e.cell.users) / e.cell.users)
        detail += f"; {e.cell.users} users"
    return [_Part(apart, limit, "relative", apart <= limit, detail)]


def _server(e: _Evidence) -> list[_Part]:
    s, cell = e.session, e.cell
    start = next((x for x in s.starts if x.start_id == cell.start_id), None)
    faults = []
    if start is None or (e.requests.start_id != cell.start_id).any():
        faults.append("not all requests belong to one known start")
    elif sorted(start.cores) != sorted(start.affinity_seen) and s.server != "openai":
        faults.append(f"bound to cores {start.cores}, found on {start.affinity_seen}")
    if s.identity is None:
        faults.append("it was not asked what it is")
    else:
        if s.identity.server != s.server:
            faults.append(f"{s.identity.server} answered instead of {s.server}")
        if s.identity.version is None and s.server != "openai":
            faults.append("it did not say its version")
        found, prepared = s.identity.model_digest or "", s.artefact_sha256 or ""
        if found and prepared and found.removeprefix("sha256:") != prepared.removeprefix("sha256:"):
            faults.append("it serves another artefact than the one that was prepared")
    if cell.idle_after is False:
        faults.append("it was not idle after the drain")
    detail = "; ".join(faults) or "one start, cores and identity as stated"
    return [_Part(len(faults), 0, "faults", not faults, detail)]


def _steady_state(e: _Evidence) -> list[_Part]:
    r, most, far = e.requests, e.limit("mser_cut_fraction"), e.limit("drift_fraction")
    values = r.latencies_ms("e2e", failures=False)
    times = r.done_ns[r.in_window & ~r.failed & ~np.isnan(r.start_ns)]
    if values.size < 10 or times[-1] <= times[0] or np.median(values) <= 0:
        detail = f"{values.size} requests succeeded in the window: too few to tell"
        return [_Part(None, most, "of the window", False, detail)]
    cut, trend = mser5(values), drift(times, values)
    parts = [_Part(_certain(trend), far, "relative", _certain(trend) <= far,
                   f"drift {_percent(trend)}")]  # fmt: skip
    detail = f"MSER-5 cuts {cut.fraction:.0%}"
    if cut.fraction > most:
        # A late cut alone means little: steady sequences have one in up to a fifth of cases.
        change = shift(values, cut.index)
        detail += f"; end-to-end latency before the cut is {_percent(change)} off"
        late = _certain(change) > far
        parts.insert(0 if late else 1, _Part(cut.fraction, most, "of the window", not late, detail))
    else:
        parts.insert(0, _Part(cut.fraction, most, "of the window", True, detail))
    return parts


def _certain(change: Estimate) -> float:
    """The change that the whole interval agrees on: its end nearest to none."""
    return max(change.low, -change.high, 0.0)


def _percent(estimate: Estimate) -> str:
    """An estimate and its interval in percent."""
    return f"{estimate.value:+.0%} ({estimate.low:+.0%} to {estimate.high:+.0%})"


def _client(e: _Evidence) -> list[_Part]:
    r = e.requests
    lag_ms = ((r.sent_ns - r.due_ns) / 1e6)[r.in_window & ~np.isnan(r.sent_ns)]
    # A closed loop counts latency from sending, but a client that is late to send is late to stamp.
    scale_ms = r.latencies_ms("ttft", failures=False)
    limit = e.limit("dispatch_lag_ms")
    if lag_ms.size == 0 or scale_ms.size == 0:
        return [_Part(None, limit, "ms", False, "no request succeeded in the window")]
    limit = max(limit, e.limit("dispatch_lag_fraction") * float(np.median(scale_ms)))
    p99 = float(np.quantile(lag_ms, 0.99, method="inverted_cdf"))
    detail = f"requests were sent {p99:.3g} ms after they were due (p99)"
    return [_Part(p99, limit, "ms", p99 <= limit, detail)]


def _machine(e: _Evidence) -> list[_Part]:
    load, cpus = e.cell.machine_load, e.session.machine.cpus
    if load.elapsed_s <= 0:
        return [_Part(None, None, "", False, "the machine was not watched")]
    other, steal = load.other_cpu_s / load.elapsed_s, load.steal_s / load.elapsed_s / cpus
    most, stolen = e.limit("other_cpu_cores"), e.limit("steal_fraction")
    swapped = load.swapped_bytes
    return [
        _Part(other, most, "cores", other <= most, f"other processes used {other:.2f} cores"),
        _Part(steal, stolen, "of the time", steal <= stolen, f"steal {steal:.1%}"),
        _Part(swapped, 0, "bytes", swapped == 0, f"{swapped} bytes swapped"),
    ]


_Look = Callable[[_Evidence], list[_Part]]
_CHECKS: tuple[tuple[str, Literal["work", "machine"], _Look, str], ...] = (
    ("output tokens", "work", _output_tokens,
     "prepare the models again (end tokens suppressed) and see that the context holds an answer"),
    ("prompt tokens", "work", _prompt_tokens,
     "compare the chat templates of the arms; send a system message always"),
    ("errors", "work", _errors, "read error_detail of the requests and the server's log"),
    ("requests", "work", _requests, "raise cap_seconds in the profile, or ask for fewer tokens"),
    ("bookkeeping", "work", _bookkeeping,
     "look at the users' pauses and at the stamps; the rows do not add up"),
    ("server", "work", _server, "stop all servers, start a new run, and read the server's log"),
    ("steady state", "machine", _steady_state,
     "measure longer (min_seconds, min_requests), and see that clocks are not throttled"),
    ("client", "machine", _client, "give the client a core of its own, or lower the load"),
    ("machine", "machine", _machine, "stop other programs, and measure again in a new run"),
)  # fmt: skip
CHECK_NAMES = tuple(name for name, *_ in _CHECKS)


def check_cell(
    cell: Cell,
    session: Session,
    requests: Requests,
    limits: Mapping[str, float],
    unequal_prompts: Collection[str] = (),
) -> list[Check]:
    """All checks of one cell.

    Args:
        cell: what was measured.
        session: the session that measured it.
        requests: its rows.
        limits: table [limits] of study.toml, as kept in run.json.
        unequal_prompts: prompts that have more than one token count in the run.

    Returns:
        The checks of :data:`CHECK_NAMES`, in that order. Where a check looks at several things,
        value and limit are those of the first that failed, or of the first.

    Raises:
        StoreError: a limit is missing.
    """
    evidence = _Evidence(cell, session, requests, limits, unequal_prompts)
    checks = []
    for name, kind, look, remedy in _CHECKS:
        parts = look(evidence)
        passed = all(part.passed for part in parts)
        shown = next((part for part in parts if not part.passed), parts[0])
        detail = "; ".join(part.detail for part in parts)
        checks.append(
            Check(name, kind, shown.value, shown.limit, shown.unit, passed, detail,
                  "" if passed else remedy)
        )  # fmt: skip
    return checks
