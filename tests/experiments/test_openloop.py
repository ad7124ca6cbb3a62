"""Open loops at shares of a server's capacity, on emulated servers whose timing is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heavyweight import design, estimates, store
from heavyweight.calibrations import FOLDER
from heavyweight.errors import BadInput, StudyError
from heavyweight.experiments.openloop import OpenLoopSession
from heavyweight.instrument import calibrate
from heavyweight.job import planned_calibration, prepare_job
from heavyweight.loadtest.in_session import HIGHEST, LOWEST, search_rate
from heavyweight.parameters import Parameters
from heavyweight.stats.requests import Requests

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVICE_S = 0.02 + 15 * 0.002  # of the emulated server with one slot: 20 requests/s
PROFILE = """
[profiles.quick-open]
about = "open loops in seconds"
experiment = "openloop"
model = "emulated"
arms = ["emulated-slots", "emulated-batch"]
contrasts = { A = ["emulated-batch", "emulated-slots"] }
users = [1, 3]
output_tokens = 16
open = { fractions = [0.6, 1.3], seconds = 1.5, warmup_s = 0.2, calibrate_rates = [40], search = ["ttft_p75_ms<=60"], search_seconds = 1, search_probes = 2 }
blocks = 2
min_seconds = 0.5
min_requests = 15
min_waves = 2
cap_seconds = 8
instrument_seconds = 1
session_minutes = { emulated-slots = 0.5, emulated-batch = 0.5 }
"""  # noqa: E501


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's folder with a profile that takes seconds; the working directory."""
    text = (ROOT / "study.toml").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(text + PROFILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def opened(study: Path) -> Iterator:
    """Open sessions; whatever happens, their servers are stopped."""
    made: list[OpenLoopSession] = []

    def open_(arm: str = "emulated-slots", **more: object) -> OpenLoopSession:
        given = {"arm": arm, "profile": "quick-open", "run": "r", "runs": "runs", **more}
        made.append(OpenLoopSession(Parameters.checked(given)))
        return made[-1]

    yield open_
    for session in made:
        session.close()


def least_waits_s(due_ns: np.ndarray) -> np.ndarray:
    """The least wait of each request before the one slot: Lindley's recursion (1952), no delays."""
    wait, waits = 0.0, []
    for gap_s in np.diff(due_ns / 1e9, prepend=due_ns[0] / 1e9 - 1):
        wait = max(0.0, wait + SERVICE_S - gap_s)
        waits.append(wait)
    return np.array(waits)


def test_a_whole_session_and_its_queue_is_the_one_of_theory(opened) -> None:
    session = opened()
    assert len(session.planned) == 2 + 2 + 1
    session.start()
    session.measure()
    assert 0.3 / SERVICE_S < session.capacity_per_s < 1.02 / SERVICE_S
    session.measure_rates()
    shown = search_rate(session)
    told = session.stop()
    assert told["complete"], told["missing"]

    files = store.SessionFolder(session.path).cells()
    assert [file.cell.users for file in files] == [1, 3, 0, 0]
    rates = {file.cell.capacity_fraction: file.cell.rate_per_s for file in files[2:]}
    assert list(rates) == [0.6, 1.3]
    for fraction, rate in rates.items():
        assert rate == pytest.approx(fraction * session.capacity_per_s, rel=1e-3)
    for file in session.rates():
        requests = Requests.read(file.requests(), file.cell)  # in order of completion
        assert not requests.failed.any()
        assert requests.in_window.sum() >= 15
        due_ns, done_ns = requests.due_ns, requests.done_ns
        assert (np.diff(due_ns) >= 0).all(), "one slot: first come, first served"
        first_ns = requests.chunk_ns[np.cumsum(requests.chunks) - requests.chunks]
        waits_s = (first_ns - due_ns) / 1e9 - 0.02
        assert (waits_s >= least_waits_s(due_ns) - 0.002).all()
        # No longer than it takes until the slot is free, as far as this machine lets it.
        begins_ns = np.maximum(due_ns, np.append(-np.inf, done_ns[:-1]))
        assert np.median(first_ns - begins_ns) / 1e6 == pytest.approx(20, abs=15)

    probes = session.probes()
    assert 1 <= len(probes) <= 2
    assert all(probe.path.parent.name == "search" for probe in probes)
    (found,) = store.SessionFolder(session.path).probes()
    assert (found.probe, found.emulated) == (store.HIGHEST_RATE, True)
    assert len(found.trials) == 2 + len(probes)
    verdicts = {trial["rate_per_s"]: trial["verdict"] for trial in found.trials}
    assert verdicts[rates[1.3]] != "holds"
    if found.value is not None:
        assert found.value_low <= found.value <= found.value_high
        assert LOWEST * 0.99 <= found.value / session.capacity_per_s <= HIGHEST * 1.01
    assert set(shown["rate_per_s"]) == set(verdicts)

    prompts = [file.requests()["prompt_id"].to_pylist() for file in [*files, *probes]]
    together = [one for of_cell in prompts for one in of_cell]
    assert len(set(together)) == len(together), "no prompt occurs twice in a session"


def test_a_session_that_was_interrupted_goes_on_with_the_capacity_it_saw(opened) -> None:
    first = opened()
    with pytest.raises(StudyError, match=r"session.measure\(\) comes first"):
        first.measure_rates()
    assert [str(one) for one in first.missing[-2:]] == [str(first.shares[-1]), store.HIGHEST_RATE]
    first.start()
    first.measure()
    capacity = first.capacity_per_s
    first.stop()
    assert not first.record.complete
    assert first.missing == [*first.shares, store.HIGHEST_RATE]

    second = opened()
    assert second.capacity_per_s == capacity
    assert second.shares == first.shares
    second.start()
    assert second.measure().shape[0] == 2  # nothing new
    second.measure_rates()
    (probe,) = [second.probe(0.9 * capacity)]  # and then it was stopped
    second.stop()
    before = {path: path.stat().st_mtime_ns for path in second.path.rglob("*.parquet")}
    assert second.missing == [store.HIGHEST_RATE]

    third = opened()
    third.start()
    third.measure()
    third.measure_rates()
    search_rate(third)
    assert third.stop()["complete"]
    assert before.items() <= {p: p.stat().st_mtime_ns for p in before}.items()
    assert len(third.probes()) <= 2
    trials = third.found.trials
    assert next(t["file"] for t in trials if t["source"] == "search") == probe.path.name
    assert len(third.record.starts) == 3

    again = opened()
    assert again.start()["state"] == "measured already"
    assert search_rate(again).equals(search_rate(third))


def test_an_overload_that_does_not_end_in_time_ends_and_the_server_is_idle(
    opened, study: Path
) -> None:
    """Six times the capacity; what is left after the cap is abandoned."""
    text = (study / "study.toml").read_text()
    text = text.replace("fractions = [0.6, 1.3]", "fractions = [6.0]")
    text = text.replace("cap_seconds = 8\n", "cap_seconds = 2.5\n")
    (study / "study.toml").write_text(text)
    session = opened()
    session.start()
    session.measure()
    session.measure_rates()
    (file,) = session.rates()
    assert file.cell.ended == "cap"
    errors = set(file.requests()["error"].drop_null().to_pylist())
    assert errors == {"abandoned"}
    assert session.server.idle()
    session.stop()


def test_rates_that_follow_from_nothing_are_refused(opened) -> None:
    session = opened()
    with pytest.raises(StudyError, match="the capacity is not known"):
        session.capacity()
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="a number above 0"):
            session.probe(rate)


def test_another_experiment_is_refused(study: Path) -> None:
    with pytest.raises(BadInput, match=r"execute notebooks/session\.ipynb"):
        OpenLoopSession(Parameters.checked({"arm": "emulated-slots", "profile": "emulated"}))


def test_an_arrival_schedule_is_as_long_as_its_requests_need(opened) -> None:
    session = opened()
    slow, fast = session._arrivals(5.0, 1.5), session._arrivals(1000.0, 1.5)
    assert fast.seconds == 1.5
    assert 2.0 <= slow.seconds <= 8.0  # 15 of 5 a second; 8 s is the cap
    assert slow.drain_s == 8


def test_the_plan_counts_the_rates_and_its_calibration_has_them(study: Path) -> None:
    described = design.load_study(study / "study.toml")
    profile = described.profile("quick-open")
    sessions = design.plan(described, profile)
    assert {session.cells for session in sessions} == {4}
    calibration = planned_calibration(profile)
    assert (calibration.users, calibration.rates) == ((1, 3), (40.0,))


@pytest.mark.notebook
@pytest.mark.timeout(240)
def test_a_session_by_its_notebook_is_complete_and_judged_by_a_calibrated_rate(
    study: Path,
) -> None:
    given = {"arm": "emulated-batch", "profile": "quick-open", "runs": "runs"}
    done = subprocess.run(
        [BIN / "papermill", ROOT / "notebooks" / "openloop.ipynb", "out.ipynb",
         "--no-progress-bar", *(word for pair in given.items() for word in ("-p", *pair))],
        cwd=study, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    run = store.RunFolder.open(study / "runs" / "by-hand-openloop")
    (session,) = run.sessions()
    assert session.record.complete
    assert session.record.experiment == run.run.experiment == "openloop"
    assert [probe.probe for probe in session.probes()] == [store.HIGHEST_RATE]

    described = design.load_study(study / "study.toml")
    timing = described.instrument.model_copy(update={"seconds": 0.5})
    calibrate(
        run.path / FOLDER, timing, run="by-hand-openloop", seed=1, users=[3], rates=[30.0],
        settings=("busy",),
    )  # fmt: skip
    cells = estimates.assess(run).cells
    rates = cells[cells["loop"] == "open"]
    assert sorted(rates["capacity_fraction"]) == [0.6, 1.3]
    known = rates["instrument_ttft_p99_ms"].notna()
    assert (known == (rates["rate_per_s"] <= 30)).all()


def test_a_planned_session_is_done_when_its_search_is(study: Path, opened) -> None:
    described = design.load_study(study / "study.toml")
    job = prepare_job(study, described, described.profile("quick-open"), runs=study / "runs",
                      name="r", blocks=1)  # fmt: skip
    mine = next(one for one in job.sessions if one.arm == "emulated-slots")
    session = opened()
    session._save()
    assert not job.complete(mine)
    session._save(complete=True)
    assert job.complete(mine)
