"""Telemetry against a cell: the worst seconds, swapping, heat, clocks, and lost GPUs."""

import numpy as np
import pytest

from heavyweight.estimates import assess
from heavyweight.estimates.telemetry import TELEMETRY_CELL_COLUMNS
from heavyweight.stats.requests import Requests
from heavyweight.validity import check_cell
from heavyweight.validity.recorded import MEMORY_LIMIT, SHORT_LIMIT
from tests.recorded import GPU, QUIET, VLLM, recorded, write_all
from tests.synthetic import LIMITS, write_run
from tests.test_validity import known


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(
        tmp_path_factory.mktemp("runs") / "long", users=(8,), blocks=1, requests=800
    )  # fmt: skip


@pytest.fixture
def judged(run):
    """The check `machine` of a cell with this telemetry."""
    folder = run.sessions()[1]
    file = folder.cells()[0]
    assert file.cell.window_end_ns - file.cell.window_start_ns > 20e9

    def judge(curves, limits=LIMITS):
        found = None if curves is None else recorded(curves, file.cell, to_s=120)
        checks = check_cell(
            file.cell, folder.record, Requests.read(file.requests(), file.cell), limits, (),
            known(8, 0.01), found,
        )  # fmt: skip
        return next(check for check in checks if check.name == "machine")

    return judge


@pytest.fixture
def middle_s(run):
    cell = run.sessions()[1].cells()[0].cell
    return (cell.window_start_ns + cell.window_end_ns) / 2e9


def curve(quantity, function, source="machine", name=""):
    return {(source, quantity, name): function}


def test_a_quiet_machine_passes_with_and_without_telemetry(judged):
    assert judged(None).passed
    assert "at worst" not in judged(None).detail
    quiet = judged(QUIET | GPU | VLLM)
    assert quiet.passed, quiet.detail
    assert "at worst 0.05 over 5 s" in quiet.detail
    assert "GPU 0: clock held down 100% of the time, power cap (software)" in quiet.detail
    assert "GPU 0: clocks not throttled" in quiet.detail


def test_a_burst_of_another_process_is_found(judged, middle_s):
    burst = QUIET | curve("other_cpu_s", lambda t: np.clip(t - middle_s, 0, 5) * 0.9)
    check = judged(burst)
    assert not check.passed
    assert check.value == pytest.approx(0.9, rel=0.02)
    assert check.limit == LIMITS[SHORT_LIMIT]
    assert "cooling" in check.remedy
    before = {name: value for name, value in LIMITS.items() if name != SHORT_LIMIT}
    assert judged(burst, before).passed  # a run that was planned before there was this limit


def test_load_outside_of_the_window_does_not_count(judged):
    assert judged(QUIET | curve("other_cpu_s", lambda t: np.clip(t + 1, 0, 0.5) * 2)).passed


@pytest.mark.parametrize("quantity", ["swap_in_bytes", "swap_out_bytes"])
def test_swapping_is_found_from_the_cells_origin_on(judged, quantity):
    early = judged(QUIET | curve(quantity, lambda t: np.where(t > 0.5, 8192.0, 0.0)))
    assert not early.passed
    assert "8192 bytes swapped since the cell began" in early.detail
    assert judged(QUIET | curve(quantity, lambda t: np.where(t > 110, 8192.0, 0.0))).passed


def test_memory_that_runs_out_is_found(judged, middle_s):
    """As of a server that leaks: the machine of these runs has 8 GiB."""
    leak = QUIET | curve("available_bytes", lambda t: np.clip(6e9 * (1 - t / middle_s), 1e6, 6e9))
    check = judged(leak)
    assert not check.passed
    assert check.limit == LIMITS[MEMORY_LIMIT]
    assert "of the memory were left" in check.detail
    assert judged(QUIET | curve("available_bytes", lambda t: 6e9)).passed
    early = curve("available_bytes", lambda t: np.where(t < 0, 1e6, 6e9))
    assert judged(QUIET | early).passed, "before the cell began"
    before = {name: value for name, value in LIMITS.items() if name != MEMORY_LIMIT}
    assert judged(leak, before).passed  # a run that was planned before there was this limit


def test_heat_of_the_processor_is_found(judged, middle_s):
    hot = judged(QUIET | curve("throttled", lambda t: np.where(t > middle_s, 12.0, 3.0)))
    assert not hot.passed
    assert "heat lowered the processor's clock 9 times" in hot.detail


@pytest.mark.parametrize(
    ("bits", "words", "passed"),
    [
        (0x08, "slowdown (hardware)", False),
        (0x20, "heat (software)", False),
        (0x40, "heat (hardware)", False),
        (0x80, "power brake (hardware)", False),
        (0x44, "heat (hardware)", False),
        (0x04, "power cap (software)", True),
        (0x02, "clocks set by the user", True),
        (0x10, "sync boost", True),
        (0x01, "clocks not throttled", True),
        (0x00, "clocks not throttled", True),
    ],
)
def test_what_held_a_gpus_clock_down_is_said(judged, middle_s, bits, words, passed):
    reasons = curve("clock_reasons", lambda t: np.where(t > middle_s, bits, 0), "gpu", "1")
    check = judged(QUIET | GPU | reasons)
    assert check.passed is passed
    assert f"GPU 1: {words}" in check.detail or (
        "GPU 1: clock held down" in check.detail and words in check.detail
    )
    if not passed:
        assert check.value == pytest.approx(0.5, abs=0.02)


def test_throttling_before_the_window_does_not_count(judged):
    early = curve("clock_reasons", lambda t: np.where(t < 0.0, 0x40, 0), "gpu", "0")
    assert judged(QUIET | early).passed


def test_a_lost_gpu_is_found(judged):
    check = judged(QUIET | GPU | curve("lost", lambda t: 1.0, "gpu", "0"))
    assert not check.passed
    assert "GPU 0 was lost" in check.detail


def test_another_process_on_a_gpu_is_found(judged, middle_s):
    came = judged(QUIET | curve("processes", lambda t: np.where(t > middle_s, 2, 1), "gpu", "0"))
    assert not came.passed
    assert "GPU 0: from 1 to 2 processes computed" in came.detail
    assert judged(QUIET | curve("processes", lambda t: 3.0, "gpu", "0")).passed


def test_columns_of_cells(tmp_path):
    run = write_run(tmp_path / "run", users=(4,), blocks=1, requests=400)
    without = assess(run).cells
    assert without[list(TELEMETRY_CELL_COLUMNS)].isna().all(axis=None)
    write_all(run, QUIET | GPU | VLLM)
    cells = assess(run).cells
    assert cells["server_rss_peak_bytes"].tolist() == [1.5e9] * 2
    assert cells["server_threads_max"].tolist() == [7] * 2
    assert cells["server_cpu_cores_mean"].tolist() == pytest.approx([1.5] * 2)
    assert cells["gpu_util_mean"].tolist() == pytest.approx([0.8] * 2)
    assert cells["gpu_memory_peak_bytes"].tolist() == [40e9] * 2  # instances are parts of it
    assert cells["gpu_power_mean_w"].tolist() == pytest.approx([300] * 2)  # the energy counter's
    expected = 300 / cells["throughput_tok_s"]
    assert cells["energy_j_per_token"].tolist() == pytest.approx(expected.tolist())
    assert (cells["kv_used_peak_fraction"] <= 0.4).all()
    assert cells["valid"].tolist() == without["valid"].tolist()


def test_without_an_energy_counter_the_samples_of_power_count(tmp_path):
    run = write_run(tmp_path / "run", users=(4,), blocks=1)
    write_all(run, QUIET | {k: v for k, v in GPU.items() if k[1] != "energy_j"})
    assert assess(run).cells["gpu_power_mean_w"].tolist() == pytest.approx([290] * 2)


def test_telemetry_that_cannot_be_read_is_told_and_the_cell_stands(tmp_path):
    run = write_run(tmp_path / "run", users=(4,), blocks=1)
    write_all(run, QUIET)
    damaged = next(run.path.glob("*/*.telemetry.parquet"))
    damaged.write_bytes(b"PAR1")
    found = assess(run)
    assert len(found.cells) == 2
    assert len(found.problems) == 1
    assert damaged.name in found.problems[0]
