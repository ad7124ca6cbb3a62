"""A session of probes: on disk one by one, resumed, and not ended by a server that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heavyweight import estimates, store
from heavyweight.errors import StoreError
from heavyweight.experiments import mechanisms
from heavyweight.experiments.probes import Mechanism, Observation
from heavyweight.experiments.probes.base import Prober, checked
from heavyweight.experiments.streams import Ask
from heavyweight.parameters import Parameters
from heavyweight.runner import NOTEBOOK
from tests.experiments.probed import ROOT

PROFILE = """
[profiles.probes]
about = "emulated servers, asked what they do"
experiment = "mechanisms"
model = "emulated"
arms = ["emulated-slots", "emulated-batch"]
output_tokens = 8
blocks = 1
min_seconds = 1
min_requests = 30
min_waves = 4
cap_seconds = 2
"""


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A study with a profile of probes for emulated servers."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text((ROOT / "study.toml").read_text() + PROFILE)
    monkeypatch.chdir(folder)
    return folder


def session(arm: str = "emulated-slots") -> mechanisms.Mechanisms:
    return mechanisms.Mechanisms(
        Parameters.checked({"arm": arm, "profile": "probes", "run": "one"})
    )


def one(prober: Prober) -> Observation:
    checked(prober.send(Ask(prober.prompt(), 4)))
    return Observation("yes", "it answered", [{"yes": True, "list": [1.0, 2.5]}], 2.0, "ms")


def kill(prober: Prober) -> Observation:
    os.killpg(prober.server.process.pgid, signal.SIGKILL)
    checked(prober.send(Ask(prober.prompt(), 4)))
    raise AssertionError("a dead server answered")


def own(prober: Prober) -> Observation:
    with prober.starting(prober.arm) as server:
        assert not prober.server.alive()
        checked(prober.send(Ask(prober.prompt(), 4), server=server))
    return Observation("no", "it answered")


def interrupt(prober: Prober) -> Observation:
    raise KeyboardInterrupt


def given(monkeypatch, **questions) -> None:
    """Have sessions put these questions."""
    found = [
        Mechanism(name, f"{name}?", observe, own_start=observe is own)
        for name, observe in questions.items()
    ]
    monkeypatch.setattr(mechanisms, "mechanisms_for", lambda arm: found)


def test_a_server_that_dies_is_unknown_and_the_session_goes_on(study, monkeypatch):
    given(monkeypatch, first=one, second=kill, third=one, fourth=own)
    run = session()
    run.start()
    table = run.ask().set_index("probe")
    assert run.stop()["complete"]
    assert dict(table["answer"]) == {
        "first": "yes", "second": "unknown", "third": "yes", "fourth": "no",
    }  # fmt: skip
    assert "died" in table["why"]["second"]
    probes = {probe.probe: probe for probe in store.SessionFolder(run.path).probes()}
    assert [probes[name].start_id for name in ("first", "second", "third", "fourth")] == [
        1,
        1,
        2,
        0,
    ]
    assert probes["first"].trials == [{"yes": True, "list": [1.0, 2.5]}]
    assert probes["first"].yes == 1
    assert probes["first"].emulated
    assert len(run.record.starts) == 2
    assert (run.path / "probe-1.log").exists()


def test_an_interrupted_session_goes_on_with_the_next_probe(study, monkeypatch):
    given(monkeypatch, first=one, second=interrupt, third=own)
    run = session()
    run.start()
    with pytest.raises(KeyboardInterrupt):
        run.ask()
    assert not run.server.alive()
    written = (run.path / "probe-first.json").stat().st_mtime_ns
    given(monkeypatch, first=one, second=one, third=own)
    again = session()
    assert again.missing == ["second", "third"]
    again.start()
    again.ask()
    assert again.stop()["complete"]
    assert (run.path / "probe-first.json").stat().st_mtime_ns == written
    assert len(again.record.starts) == 2
    last = session()
    assert last.start()["state"] == "measured already"


def test_what_needs_only_its_own_starts_starts_nothing_else(study, monkeypatch):
    given(monkeypatch, only=own)
    run = session()
    assert "of its own" in run.start()["state"]
    run.ask()
    assert run.stop()["complete"]
    assert run.record.starts == []


def test_an_answer_is_written_once(study, monkeypatch):
    given(monkeypatch, first=one)
    run = session()
    run.start()
    run.ask()
    run.stop()
    (probe,) = store.SessionFolder(run.path).probes()
    with pytest.raises(StoreError, match="exists already"):
        store.write_probe(run.path, probe)


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_the_notebook_over_an_emulated_server(study):
    """All probes, cut short by the profile's cap; executed as a user would."""
    out = study / "out.ipynb"
    command = [
        sys.executable, "-m", "papermill", ROOT / NOTEBOOK.format("mechanisms"), out,
        "--no-progress-bar", "-p", "arm", "emulated-batch", "-p", "profile", "probes",
        "-p", "run", "one",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=study, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = store.RunFolder.open(study / "data" / "runs" / "one")
    (folder,) = run.sessions()
    assert folder.record.complete
    table = estimates.probes_table(run).set_index("probe")
    assert table["answer"]["overlap"] == "no", "64 slots"
    assert table["answer"]["queue"] == "no"
    assert table["answer"]["joining"] in ("yes", "unknown"), "time may be over before all trials"
    assert set(table["server"]) == {"emulated"}
    assert not list(folder.path.glob(".*.json"))
