"""A server that lives and answers no more is stopped, counted, and started again for the rest."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heavyweight import store
from heavyweight.load.spec import LoadSpec, Timeouts
from heavyweight.parameters import Parameters
from heavyweight.servers.emulated import EmulatedServer
from heavyweight.session import Session, loads
from heavyweight.store import SessionFolder

ROOT = Path(__file__).parents[1]
PROFILE = """
[profiles.hangs]
about = "a server that hangs in its first cell"
model = "emulated"
arms = ["emulated-slots"]
users = [1, 2]
output_tokens = 8
blocks = 1
min_seconds = 2
min_requests = 4
min_waves = 1
cap_seconds = 5
instrument_seconds = 0.5
session_minutes = { emulated-slots = 0.2 }
"""


class Impatient(Session):
    """A session whose client waits a second for a token, and not minutes."""

    def _spec(self, *given: Any, **more: Any) -> LoadSpec:
        short = Timeouts(first_s=1, gap_s=1, total_s=2)
        return super()._spec(*given, **more).model_copy(update={"timeouts": short})


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (ROOT / "study.toml").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(text + PROFILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loads, "SETTLE_S", 1.0)
    monkeypatch.setattr(EmulatedServer, "stop_timeout_s", 0.5)
    given = {"arm": "emulated-slots", "profile": "hangs", "run": "r", "runs": "runs"}
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
