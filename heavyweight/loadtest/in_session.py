"""The search for the highest rate of a session's server, from what the session measured already.

The open loops of the session are its first probes. Further ones lie between the rates that surely
hold and those that surely fail, below the lowest or above the highest; see
:mod:`heavyweight.loadtest.search` for what "surely" means and how the next rate is chosen. Every
probe is on disk when it is done, so that a search that was interrupted goes on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from heavyweight.experiments.openloop import OpenLoopSession
from heavyweight.loadtest.objective import Objective
from heavyweight.loadtest.result import judge_load
from heavyweight.loadtest.running import on_time
from heavyweight.loadtest.search import Answer, Range, Search
from heavyweight.records import Probe, measured
from heavyweight.stats.requests import Requests
from heavyweight.store import HIGHEST_RATE, CellFile

LOWEST, HIGHEST = 0.2, 1.5  # of the capacity: what is searched
LOOKS = 2  # most probes of one rate, besides the session's own
CONFIDENCE = 0.90  # of the verdict on each rate; over blocks there is an interval besides


def search_rate(session: OpenLoopSession) -> pd.DataFrame:
    """Find the highest rate at which the profile's objectives hold, and write it down.

    It makes at most the profile's number of probes, each no longer than its cap. A search that is
    over is not made again.

    Args:
        session: whose server runs, after its open loops.

    Returns:
        One row a rate that was probed: rate_per_s, of_capacity, probes, requests, verdict; empty
        where the profile has no objectives.

    Raises:
        BadInput: an objective is none.
        StudyError: a probe failed; what was probed before is kept.
    """
    if not session.open.search:
        return _shown([])
    if session.found is not None:
        return _shown(session.found.trials)
    with session.watched():
        objectives = [Objective.parse(text) for text in session.open.search]
        search, trials = _begun(session, objectives)
        left = session.open.search_probes - len(session.probes())
        while left > 0 and (at := search.next()) is not None:
            _look(search, trials, session, objectives, session.probe(at), "search")
            left -= 1
        found = _record(session, objectives, search, trials)
        session.finish_search(found)
    return _shown(found.trials)


def _begun(
    session: OpenLoopSession, objectives: list[Objective]
) -> tuple[Search, list[dict[str, Any]]]:
    """The search as it stands: told of the open loops and of its own probes, one by one."""
    rates, probes = session.rates(), session.probes()
    lowest, highest = session.rate_per_s(LOWEST), session.rate_per_s(HIGHEST)
    range_ = Range(
        lowest, highest, whole=False, looks=LOOKS, confidence=CONFIDENCE,
        most_probes=len(rates) + session.open.search_probes,
    )  # fmt: skip
    search = Search(range_, tuple(one.allowed for one in objectives))
    trials: list[dict[str, Any]] = []
    for source, files in (("open loop", rates), ("search", probes)):
        for file in files:
            _look(search, trials, session, objectives, file, source)
    return search, trials


def _look(
    search: Search, trials: list[dict[str, Any]], session: OpenLoopSession,
    objectives: list[Objective], file: CellFile, source: str,
) -> None:  # fmt: skip
    """Tell the search of one cell, and keep what it said."""
    cell = file.cell
    requests = Requests.read(file.requests(), cell)
    limits = session.folder.run.limits
    said = judge_load(file.path.name, requests, session.record, limits, instrument_too=False)
    tallies = [one.tally(requests) for one in objectives]
    punctual = on_time(requests, said)
    assert cell.rate_per_s is not None
    search.add(cell.rate_per_s, tallies, punctual)
    trials.append(
        {
            "rate_per_s": cell.rate_per_s,
            "of_capacity": cell.capacity_fraction,
            "source": source,
            "file": file.path.name,
            "requests": int(requests.in_window.sum()),
            "client_on_time": punctual,
            **{
                f"bad_fraction {one.text}": tally.share
                for one, tally in zip(objectives, tallies, strict=True)
            },
        }
    )


def _record(
    session: OpenLoopSession, objectives: list[Objective], search: Search,
    trials: list[dict[str, Any]],
) -> Probe:  # fmt: skip
    """What the search found, as it is written: its verdict on each rate, and the highest."""
    record, answer = session.record, search.answer()
    for trial in trials:
        trial["verdict"] = search.verdict(trial["rate_per_s"])
    held = [trial for trial in trials if trial["verdict"] == "holds"]
    wanted = " and ".join(one.text for one in objectives)
    return Probe(
        probe=HIGHEST_RATE,
        question=f"is there a rate, from {LOWEST:.0%} to {HIGHEST:.0%} of the capacity, at which "
        f"{wanted} surely holds?",
        run=record.run,
        session=record.session,
        arm=record.arm,
        server=measured(record.server),
        block=record.block,
        start_id=len(record.starts),
        emulated=bool(record.emulated),
        answer=_answer(answer, search),
        yes=len(held),
        trials=trials,
        value=answer.point,
        value_low=answer.low,
        value_high=answer.high,
        value_unit="requests/s",
        why=_why(answer),
        finished_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _answer(answer: Answer, search: Search) -> Any:
    if answer.low is not None:
        return "yes"
    return "no" if answer.high is not None and answer.high <= search.range.lowest else "unknown"


def _why(answer: Answer) -> str:
    """The answer in one sentence."""
    ends = [f"it surely holds at {answer.low:.4g}"] if answer.low is not None else []
    ends += [f"it surely fails at {answer.high:.4g}"] if answer.high is not None else []
    told = " and ".join(ends) or "nothing is sure"
    return "; ".join([f"{told} requests/s, after {answer.probes} probes", *answer.notes])


def _shown(trials: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a rate."""
    columns = ["rate_per_s", "of_capacity", "probes", "requests", "verdict"]
    rows: dict[float, dict[str, Any]] = {}
    for trial in sorted(trials, key=lambda trial: trial["rate_per_s"]):
        new = {"rate_per_s": trial["rate_per_s"], "of_capacity": round(trial["of_capacity"], 2),
               "probes": 0, "requests": 0, "verdict": trial["verdict"]}  # fmt: skip
        row = rows.setdefault(trial["rate_per_s"], new)
        row["probes"] += 1
        row["requests"] += trial["requests"]
    return pd.DataFrame(list(rows.values()), columns=columns)
