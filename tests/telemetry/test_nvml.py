"""NVML's real ctypes path, run against a small stand-in for NVIDIA's library."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heavyweight.records import TELEMETRY_QUANTITIES

STUB = Path(__file__).with_name("stub.c")
ROOT = Path(__file__).parents[2]
SAMPLE = """
import json, time
from heavyweight.telemetry.nvml import Gpus
gpus = Gpus.of_environment()
samples = []
for _ in range(3):
    samples.append(gpus.sample())
    time.sleep(0.05)
gpus.close()
print(json.dumps({"samples": samples, "notes": gpus.notes}))
"""
DESCRIBE = """
import json
from heavyweight import doctor, machine
print(json.dumps({"gpus": machine.gpus(), "state": machine.gpu_state(),
                  "doctor": [doctor._gpu().found, doctor._gpu().remedy]}))
"""
MISMATCH, NOT_LOADED, NO_PERMISSION = 18, 9, 4
ALL = {one.name for one in TELEMETRY_QUANTITIES if one.source == "gpu"} - {"lost"}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Folders with the stand-in: of today, and as old drivers have it."""
    made = {}
    for name, flags in {"new": [], "old": ["-DOLD"]}.items():
        made[name] = tmp_path_factory.mktemp(name)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", *flags, str(STUB), "-o",
             str(made[name] / "libnvidia-ml.so.1")],
            check=True,
        )  # fmt: skip
    return made


@pytest.fixture
def run(libraries):
    """Run Python code that finds the stand-in, or no library at all; what it printed, as JSON."""

    def run(code=SAMPLE, library="new", **environment):
        clean = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        place = {"LD_LIBRARY_PATH": str(libraries[library])} if library else {}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
            env=clean | place | {k: str(v) for k, v in environment.items()},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def values(sample, name="0"):
    """Quantity: value of one GPU."""
    return {quantity: value for whose, quantity, value in sample if whose == name}


def names(told):
    return sorted({whose for sample in told["samples"] for whose, *_ in sample})


def test_every_quantity_is_told_in_its_unit(run):
    told = run(STUB_REASONS=0x44, STUB_PROCESSES=3)
    last = values(told["samples"][-1])
    assert set(last) == ALL
    energy_j = last.pop("energy_j")
    assert last == {
        "utilisation_percent": 90, "memory_busy_percent": 45, "memory_used_bytes": 40 << 30,
        "power_w": 300, "sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "temperature_c": 71,
        "clock_reasons": 0x44, "processes": 3,
    }  # fmt: skip
    assert values(told["samples"][0])["energy_j"] == 0
    assert energy_j > 300 * 0.05  # joules, not millijoules
    assert told["notes"] == []


def test_several_gpus_are_told_apart(run):
    told = run(STUB_GPUS=4)
    assert names(told) == ["0", "1", "2", "3"]
    assert values(told["samples"][0], "3")["power_w"] == 303


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("2", ["2"]), ("3,1", ["1", "3"]), ("GPU-stub-2", ["2"]), ("0,9,1", ["0"]), ("", []),
     ("-1", []), ("GPU-other", [])],
)  # fmt: skip
def test_only_the_gpus_that_the_server_may_use_are_watched(run, visible, seen):
    told = run(STUB_GPUS=4, CUDA_VISIBLE_DEVICES=visible)
    assert names(told) == seen
    assert bool(told["notes"]) is not bool(seen)


def test_a_quantity_that_is_not_supported_is_told_once_and_left_out(run):
    told = run(STUB_UNSUPPORTED="energy,power")
    assert set(values(told["samples"][0])) == ALL - {"energy_j", "power_w"}
    assert told["notes"] == ["GPU 0 does not tell its power", "GPU 0 does not tell its energy"]


def test_an_old_driver_is_asked_in_its_words(run):
    told = run(library="old", STUB_REASONS=8)
    assert values(told["samples"][0])["clock_reasons"] == 8
    assert told["notes"] == []


def test_a_gpu_that_is_lost_ends_and_the_others_go_on(run):
    told = run(STUB_GPUS=2, STUB_LOST=1, STUB_LOST_AFTER=1)
    first, second, third = (values(sample, "1") for sample in told["samples"])
    assert set(first) == ALL
    assert second["lost"] == 1
    assert third == {}
    assert all(set(values(sample, "0")) == ALL for sample in told["samples"])
    assert told["notes"] == ["GPU 1 was lost while it was watched: GPU is lost"]


def test_a_divided_gpu_tells_memory_of_each_instance(run):
    told = run(STUB_GPUS=2, STUB_MIG=3)
    assert names(told) == ["0", "0.0", "0.1", "0.2", "1"]
    sample = told["samples"][0]
    assert values(sample, "0.1") == {"memory_used_bytes": 5 << 30}
    assert set(values(sample, "0")) == ALL - {"utilisation_percent", "memory_busy_percent"}
    assert "divided (MIG)" in told["notes"][0]


def test_an_instance_that_is_named_leads_to_its_gpu(run):
    told = run(STUB_MIG=3, CUDA_VISIBLE_DEVICES="MIG-stub-1,MIG-stub-0")
    assert names(told) == ["0", "0.0", "0.1", "0.2"]


@pytest.mark.parametrize(
    ("library", "environment", "said"),
    [
        (None, {}, "libnvidia-ml.so.1 is not found"),
        ("new", {"STUB_INIT": MISMATCH}, "of different versions: restart the machine"),
        ("new", {"STUB_INIT": NOT_LOADED}, "installed and not loaded"),
        ("new", {"STUB_INIT": NO_PERMISSION}, "may not be asked by this user"),
        ("new", {"STUB_INIT": 999}, "cannot be asked: Unknown Error"),
        ("new", {"STUB_GPUS": 0}, "sees no GPU"),
    ],
)
def test_why_no_gpu_is_watched_is_said_once(run, library, environment, said):
    if library is None and shutil.which("nvidia-smi"):
        pytest.skip("this machine has the library")
    told = run(library=library, **environment)
    assert told["samples"] == [[], [], []]
    assert len(told["notes"]) == 1
    assert said in told["notes"][0]
    described = run(DESCRIBE, library=library, **environment)
    assert described["gpus"] == []
    assert said in described["state"]


def test_the_doctor_tells_a_mismatch_from_no_gpu(run):
    found, remedy = run(DESCRIBE, STUB_INIT=MISMATCH)["doctor"]
    assert "different versions" in found
    assert remedy
    found, remedy = run(DESCRIBE, STUB_GPUS=0)["doctor"]
    assert found.startswith("none")
    assert remedy == ""


def test_the_machine_is_described_with_its_gpus(run):
    described = run(DESCRIBE, STUB_GPUS=2)
    gpu = {"name": "Stub", "memory_bytes": str(80 << 30), "driver": "580.00"}
    assert described["gpus"] == [gpu, gpu]
    assert described["state"] == ""
