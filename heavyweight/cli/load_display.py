"""A load test on a terminal: its progress, and what it says."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from heavyweight.cli.output import console, table
from heavyweight.tables import interval, number
from heavyweight.text import count_of

EVERY_S = 5.0  # between two lines where there is no terminal
TITLES = {
    "ttft": "TTFT (ms)",
    "itl": "ITL (ms)",
    "tpot": "TPOT (ms)",
    "e2e": "end to end (ms)",
}


class LoadDisplay:
    """One line, redrawn on a terminal; elsewhere a line now and then.

    Args:
        errors: standard error.
    """

    def __init__(self, errors: Console) -> None:
        self.console = errors
        self.what = ""
        self._phase, self._told_s = "", 0.0
        self._live = Live(console=errors, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, message: str) -> None:
        """A line that stays."""
        self.console.print(message, markup=False)

    def update(self, state: dict[str, Any]) -> None:
        """The load generator reports; called several times a second."""
        line = self._line(state)
        if self.console.is_terminal:
            self._live.update(Text(line))
            return
        now_s = time.monotonic()
        if state.get("phase") != self._phase or now_s - self._told_s >= EVERY_S:
            self._phase, self._told_s = str(state.get("phase")), now_s
            self.say(line)

    def _line(self, state: dict[str, Any]) -> str:
        parts = [
            self.what,
            str(state.get("phase", "")),
            f"{max(0, state.get('elapsed_s') or 0):.0f} s",
            f"{state.get('done', 0)} requests",
            f"{state.get('in_flight', 0)} in flight",
        ]
        if state.get("errors"):
            parts.append(f"{state['errors']} errors")
        if state.get("late"):
            parts.append(f"{state['late']} late")
        parts.append(f"about {state.get('live_tok_s') or 0:.0f} tok/s")
        return " | ".join(part for part in parts if part)


def load_in_words(load: dict[str, Any]) -> str:
    """A load in a few words: ``8 users``, ``12.5 requests/s, poisson``."""
    if load["loop"] == "closed":
        return count_of(load["users"], "user")
    return f"{load['rate_per_s']:.4g} requests/s, {load['arrivals']}"


def print_load(said: dict[str, Any]) -> None:
    """What one load says."""
    load = said["load"]
    emulated = " EMULATED: says nothing of any server." if said["emulated"] else ""
    console.print(
        f"{load_in_words(load)}, {load['output_tokens']} output tokens, by {load['api']}: "
        f"{said['requests']} requests in {said['window_s']:.1f} s.{emulated}",
        markup=False,
    )
    rows = said["latency"]
    percents = list(dict.fromkeys(row["percentile"] for row in rows))
    failures = any(row["failures"] for row in rows)
    body = [_percentiles(title, rows, name, "") for name, title in TITLES.items()]
    if failures:
        body += [
            _percentiles(f"{title} without failures", rows, name, "without_failures_")
            for name, title in TITLES.items()
        ]
    table(["latency [95%]", *(f"p{percent:g}" for percent in percents), "values"], body)
    speed = said["throughput"]
    console.print(
        f"Throughput: {_number(speed['tok_s'])} tok/s, {_number(speed['requests_s'])} requests/s."
        + (f" Not steady: {speed['note']}." if speed["note"] else "")
    )
    if said["errors"]:
        told = ", ".join(f"{count} {name}" for name, count in said["errors"].items())
        console.print(f"Errors: {told}.", markup=False)
    _print_client(said)
    print_verdict(said)


def _percentiles(title: str, rows: list[dict[str, Any]], name: str, prefix: str) -> list[str]:
    """One line of the table: a quantity's percentiles with their intervals."""
    mine = [row for row in rows if row["quantity"] == name]
    cells = []
    for row in mine:
        ends = [row[f"{prefix or 'estimate_'}ms"], row[f"{prefix}low_ms"], row[f"{prefix}high_ms"]]
        known = not math.isnan(ends[0])
        shown = interval(*ends) if known else "not estimable"
        if known and any(math.isnan(end) for end in ends):
            shown += " (no interval)"
        elif not known and row["needs"] is not None and not prefix:
            shown += f": needs {row['needs']}"
        cells.append(shown)
    return [title, *cells, str(mine[0]["n"])]


def _number(value: float | None) -> str:
    return "unknown" if value is None else number(value)


def _print_client(said: dict[str, Any]) -> None:
    client = said["client"]
    lag = ", ".join(
        f"{name} {_number(client[key])}"
        for name, key in (("p50", "lag_p50_ms"), ("p99", "lag_p99_ms"), ("max", "lag_max_ms"))
    )
    cpu = "unknown" if client["cpu_cores"] is None else f"{client['cpu_cores']:.0%} of a core"
    console.print(f"Client: sent after it was due by {lag} ms; CPU {cpu}.")
    print_instrument(said["instrument"], said["instrument_problem"])


def print_instrument(instrument: dict[str, Any] | None, problem: str) -> None:
    """The client's own error, or why it is not known."""
    told = instrument["text"] if instrument else f"not known: {problem}".rstrip(".")
    console.print(f"The client's own error at this load: {told}.", markup=False)


def print_verdict(said: dict[str, Any]) -> None:
    """VALID, or INVALID with each failed check."""
    failed = [check for check in said["checks"] if not check["passed"]]
    if not failed:
        console.print(f"VALID: all {len(said['checks'])} checks hold.")
        return
    console.print(f"INVALID: {len(failed)} of {len(said['checks'])} checks failed.")
    for check in failed:
        value = "unknown" if check["value"] is None else f"{check['value']:.3g}"
        limit = "none" if check["limit"] is None else f"{check['limit']:.3g}"
        console.print(
            f"  {check['name']}: {check['detail']} (value {value}, limit {limit} {check['unit']})."
            f" Remedy: {check['remedy']}.",
            markup=False,
        )


def probe_in_words(at: float, said: dict[str, Any]) -> str:
    """One probe of a search, in a line."""
    shares = ", ".join(
        f"{one['objective']}: {one['bad'] / one['n']:.2%} bad of {one['n']:.0f}"
        if one["n"]
        else f"{one['objective']}: no values"
        for one in said["objectives"]
    )
    failed = [check["name"] for check in said["checks"] if not check["passed"]]
    note = f" (INVALID: {', '.join(failed)})" if failed else ""
    return f"{at:g}: {said['verdict']} | {shares}{note}"


def print_search(said: dict[str, Any]) -> None:
    """The answer of a search, and its probes."""
    unit = said["unit"]
    table(
        [unit, "all looks so far", *said["objectives"], "TTFT p99 (ms)", "tok/s", "checks failed"],
        [
            [
                f"{one['at']:g}",
                one["verdict"],
                *(
                    f"{o['bad'] / o['n']:.2%} bad" if o["n"] else "no values"
                    for o in one["objectives"]
                ),
                _p99(one),
                _number(one["throughput"]["tok_s"]),
                ", ".join(c["name"] for c in one["checks"] if not c["passed"]),
            ]
            for one in said["probes"]
        ],
        "Probes, in their order",
    )
    highest = max(said["probes"], key=lambda one: one["at"])
    print_instrument(highest["instrument"], said["instrument_problem"])
    for note in said["notes"]:
        console.print(f"Note: {note}.", markup=False)
    low, high, point = said["highest_that_holds"], said["lowest_that_fails"], said["estimate"]
    ends = f"{_load(low, 'none')} surely holds, {_load(high, 'none')} surely fails"
    about = "" if point is None else f"; estimate {point:.4g}"
    console.print(f"Highest load, in {unit}, at which {' and '.join(said['objectives'])}: {ends}"
                  f" ({said['confidence']:.0%} each){about}.", markup=False)  # fmt: skip


def _p99(said: dict[str, Any]) -> str:
    row = next(r for r in said["latency"] if (r["quantity"], r["percentile"]) == ("ttft", 99.0))
    return number(row["estimate_ms"])


def _load(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:g}"
