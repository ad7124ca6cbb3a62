"""A server that lives and answers no more is stopped, counted, and started again for the rest."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.kills import small_study
from heavyweight import store
from heavyweight.errors import ServerError
from heavyweight.load.spec import LoadSpec, Timeouts
from heavyweight.parameters import Parameters
from heavyweight.servers.emulated import EmulatedServer
from heavyweight.session import Session, loads
from heavyweight.store import SessionFolder


class Impatient(Session):
    """A session whose client waits seconds for a token and for a cell's end, and not minutes."""

    def _spec(self, *given: Any, **more: Any) -> LoadSpec:
        short = {"timeouts": Timeouts(first_s=1, gap_s=1, total_s=2), "cap_seconds": 5}
        return super()._spec(*given, **more).model_copy(update=short)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Impatient]:
    monkeypatch.setattr(loads, "SETTLE_S", 1.0)
    monkeypatch.setattr(EmulatedServer, "stop_timeout_s", 0.5)
    given = {"arm": "emulated-slots", "profile": "kills", "run": "r", "runs": "runs"}
    with small_study(tmp_path):
        made = Impatient(Parameters.checked(given))
        yield made
        made.close()


def when_measuring(session: Session, act: Callable[[], object]) -> None:
    """Do something when the first cell's window has begun."""
    told, done = session.progress.cell, []

    def cell(users: int, state: dict[str, Any]) -> None:
        told(users, state)
        if state.get("phase") == "measure" and not done:
            done.append(act())

    session.progress.cell = cell  # type: ignore[method-assign]


def errors(file: store.CellFile) -> set[str | None]:
    return set(file.requests().column("error").to_pylist())


def test_it_is_started_again_for_the_next_load(session: Impatient) -> None:
    session.start()
    pgid = session.server.pgid
    assert pgid is not None
    when_measuring(session, lambda: os.killpg(pgid, signal.SIGSTOP))
    session.measure()
    assert session.stop()["complete"]
    assert (session.record.hangs, session.record.deaths) == (1, 0)
    assert len(session.record.starts) == 2
    cells = {file.cell.start_id: file for file in SessionFolder(session.path).cells()}
    assert errors(cells[1]) & loads.TIMEOUTS
    assert errors(cells[2]) == {None}
    with pytest.raises(ProcessLookupError):
        os.killpg(pgid, 0)


def test_one_that_answers_after_a_time_out_is_left_alone(session: Impatient) -> None:
    session.start()
    pgid = session.server.pgid
    assert pgid is not None

    def pause() -> None:
        os.killpg(pgid, signal.SIGSTOP)
        threading.Timer(2.5, os.killpg, (pgid, signal.SIGCONT)).start()

    when_measuring(session, pause)
    session.measure()
    session.stop()
    assert (session.record.hangs, len(session.record.starts)) == (0, 1)
    first, *_ = sorted(
        SessionFolder(session.path).cells(), key=lambda one: one.cell.origin_monotonic_ns
    )
    assert errors(first) & loads.TIMEOUTS


def test_one_that_is_dying_is_a_death(session: Impatient, monkeypatch: pytest.MonkeyPatch) -> None:
    session.start()
    pgid = session.server.pgid
    assert pgid is not None
    when_measuring(session, lambda: os.killpg(pgid, signal.SIGSTOP))

    def refused(*_: object, **__: object) -> None:
        monkeypatch.undo()  # the next start answers
        threading.Timer(0.5, os.killpg, (pgid, signal.SIGKILL)).start()
        raise ServerError("the engine is dead", "an answer", "read its log")

    monkeypatch.setattr(loads.load, "first_token", refused)
    session.measure()
    session.stop()
    assert (session.record.hangs, session.record.deaths) == (0, 1)
    assert len(session.record.starts) == 2


@pytest.mark.parametrize(
    ("before", "starts", "refused"),
    [(0, 2, False), (0, 3, True), (3, 5, False), (3, 6, True)],
)
def test_only_starts_of_this_sitting_tell_that_a_server_dies_again_and_again(
    before: int, starts: int, refused: bool
) -> None:
    """A session that was interrupted three times has as many starts, and no server that died."""
    started: list[bool] = []
    sitting: Any = SimpleNamespace(
        server=SimpleNamespace(alive=lambda: False), path=Path("s"), _starts_before=before,
        record=SimpleNamespace(starts=[None] * starts), _end_server=lambda: None,
        _start_server=lambda: started.append(True),
    )  # fmt: skip
    if refused:
        with pytest.raises(ServerError, match="died or hung in 3 starts"):
            Session.revive(sitting)
    else:
        Session.revive(sitting)
    assert bool(started) != refused
