"""A study of emulated servers in a folder of its own, measured as a user measures one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from heavyweight import machine
from heavyweight.calibrations import SETTINGS
from heavyweight.design import load_study
from heavyweight.job import prepare_job
from heavyweight.store import RunFolder
from tests.calibrated import write_calibration

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

ARMS = """
[arms.emulated-four]
label = "EMULATED, 4 slots"
server = "emulated"
artefact = "none"
slots = 4
emulate = { api = "ollama", ttft_ms = 20, itl_ms = 2 }
"""
SHORT = """
model = "emulated"
output_tokens = 16
min_seconds = 0.5
min_requests = 30
min_waves = 4
cap_seconds = 60
instrument_seconds = 1
"""


def study(folder: Path, name: str, profile: str) -> Path:
    """Make a folder of the study with one profile more, of the experiment ``name``.

    Args:
        folder: to be made.
        name: of the profile and of its experiment's notebook, which may be changed here alone.
        profile: its lines in TOML, beside the model, which is emulated, and short cells.
    """
    folder.mkdir()
    text = (ROOT / "study.toml").read_text(encoding="utf-8")
    head = f'[profiles.{name}-emulated]\nabout = "a test"\nexperiment = "{name}"\n'
    (folder / "study.toml").write_text(f"{text}{ARMS}\n{head}{SHORT}{profile}\n", encoding="utf-8")
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    return folder


def papermill(
    folder: Path, name: str, **parameters: object
) -> tuple[RunFolder, subprocess.CompletedProcess]:
    """Execute the experiment's notebook by plain papermill, as a session by hand."""
    notebook = folder / "notebooks" / f"{name}.ipynb"
    command = [BIN / "papermill", notebook, folder / "out.ipynb", "--no-progress-bar"]
    for key, value in ({"profile": f"{name}-emulated"} | parameters).items():
        command += ["-p", key, value if isinstance(value, str) else json.dumps(value)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return RunFolder.open(folder / "data" / "runs" / f"by-hand-{name}"), done


def run(folder: Path, name: str) -> RunFolder:
    """Measure the whole profile by the command, as a study.

    The client's own error is given: to measure it would take longer than the rest.
    """
    declared = load_study(folder / "study.toml")
    profile = declared.profile(f"{name}-emulated")
    job = prepare_job(folder, declared, profile, runs=folder / "data" / "runs")
    settings = SETTINGS if len(machine.usable_cores()) > 1 else ("busy",)
    write_calibration(job.folder.path, machine.describe(), users=profile.users, settings=settings)
    done = subprocess.run(
        [BIN / "heavyweight", "study", "run", "--profile", f"{name}-emulated"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return RunFolder.open(folder / "data" / "runs" / f"{name}-emulated-1")
