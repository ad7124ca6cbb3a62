"""A study of servers that break, crash or lie goes on; what they did is told, never averaged in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from benchmarks.kills import small_study
from heavyweight import tables
from heavyweight.emulator.faults import LEAK_MOST_BYTES
from heavyweight.estimates import Assessment, assess
from heavyweight.store import RunFolder

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.notebook

ARM = """
[arms.{name}]
label = "EMULATED, {name}"
server = "emulated"
artefact = "none"
slots = 4
emulate = {{ api = "vllm", ttft_ms = 20, itl_ms = 2 }}
flags = {flags}
"""
PROFILE = """
[profiles.faulty]
about = "servers that break, each in its way"
model = "emulated"
arms = ["good", "breaks", "lies", "liar", "crashes", "leaks"]
contrasts = { A = ["good", "breaks"] }
users = [1, 2]
output_tokens = 8
blocks = 1
min_seconds = 0.5
min_requests = 30
min_waves = 4
cap_seconds = 12
instrument_seconds = 0.5
session_minutes = { good = 0.1, breaks = 0.1, lies = 0.1, liar = 0.1, crashes = 0.1, leaks = 0.1 }
"""
FLAGS: dict[str, list[str]] = {
    "good": [],
    "breaks": ["--fault", "reset", "--fault-every", "7"],
    "lies": ["--fault", "other-model", "--fault-every", "7"],
    "liar": ["--fault", "other-model"],
    "crashes": ["--fault", "crash", "--fault-every", "20"],
    "leaks": ["--fault", "leak"],
}
SCARCE = "available_memory_fraction = 0.03"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory):
    """The command's result and the assessed run; made once."""
    with small_study(tmp_path_factory.mktemp("faulty") / "study") as root:
        path = root / "study.toml"
        arms = "".join(ARM.format(name=name, flags=flags) for name, flags in FLAGS.items())
        # Memory counts as scarce from a quarter of what is leaked: tests that run beside this one
        # may give back, meanwhile, what they have now.
        memory = psutil.virtual_memory()
        left = (memory.available - LEAK_MOST_BYTES / 4) / memory.total
        text = path.read_text(encoding="utf-8")
        assert SCARCE in text
        text = text.replace(SCARCE, f"available_memory_fraction = {left:.4f}")
        path.write_text(text + arms + PROFILE, encoding="utf-8")
        done = subprocess.run(
            [BIN / "heavyweight", "study", "run", "--profile", "faulty", "--run", "r"],
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done, assess(RunFolder.open(root / "data" / "runs" / "r"))


def detail(found: Assessment, arm: str, check: str) -> str:
    rows = found.checks[(found.checks["arm"] == arm) & (found.checks["check"] == check)]
    return " ".join(rows["detail"])


@pytest.mark.timeout(400)
def test_the_study_goes_on_with_the_next_and_says_what_failed(studied) -> None:
    done, found = studied
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "session(s) of r could not be finished" in done.stderr
    assert "liar" in done.stderr
    assert "answered by somebody-elses" in done.stderr
    assert {"good", "breaks", "lies", "leaks"} <= set(found.cells["arm"]), done.stderr[-3000:]


@pytest.mark.timeout(400)
def test_only_the_good_servers_work_counts(studied) -> None:
    _, found = studied
    errors = found.checks[found.checks["check"] == "errors"].groupby("arm")["passed"].agg(list)
    assert all(errors["good"])
    valid = found.cells.groupby("arm")["work_valid"].agg(list)
    for arm in ("breaks", "lies", "crashes"):
        assert not any(errors[arm]), arm
        assert not any(valid[arm]), arm


@pytest.mark.timeout(400)
def test_the_reason_is_told_with_its_number(studied) -> None:
    _, found = studied
    assert "reset" in detail(found, "breaks", "errors")
    lies = detail(found, "lies", "errors")
    assert "wrong_model" in lies
    assert "refused" in detail(found, "crashes", "errors")
    sessions: pd.DataFrame = found.sessions.set_index("arm")
    assert sessions.loc["crashes", "starts"] >= 2
    assert sessions.loc["good", "complete"]
    assert sessions.loc["crashes", "deaths"] >= 1
    assert sessions.loc["good", "deaths"] == 0
    told = tables.failures(found)
    assert "wrong_model: " in told
    assert "a server died " in told


@pytest.mark.timeout(400)
def test_a_lie_is_no_fast_success(studied) -> None:
    _, found = studied
    for cell_id in found.cells.loc[found.cells["arm"] == "lies", "cell_id"]:
        rows = found.requests(cell_id)
        lied = rows[rows["error"].notna()]
        assert set(lied["error"]) == {"wrong_model"}
        assert lied["error_detail"].str.contains("answered by somebody-elses").all()


@pytest.mark.timeout(400)
def test_a_leak_is_seen_before_memory_is_gone(studied) -> None:
    _, found = studied
    assert "of the memory were left" in detail(found, "leaks", "machine")
    leaks = found.cells["arm"] == "leaks"
    assert not found.cells.loc[leaks, "valid"].all()
    assert not found.cells.loc[leaks, "errors"].any()
