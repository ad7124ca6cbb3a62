"""The recorder sees what runs, on the cell's clock, and loses no cell whatever happens to it."""

import os
import subprocess
import sys
import time

import pytest

from heavyweight.recordings import Recording
from heavyweight.records import TELEMETRY_QUANTITIES, TELEMETRY_SCHEMA
from heavyweight.stats.telemetry import Recorded
from heavyweight.telemetry import recorder as module
from heavyweight.telemetry.recorder import Recorder
from tests.synthetic import write_run

HALF = (
    "import time\n"
    "print('up', flush=True)\n"
    "while True:\n"
    "    end = time.process_time() + 0.02\n"
    "    begin = time.perf_counter()\n"
    "    while time.process_time() < end: pass\n"
    "    time.sleep(max(time.perf_counter() - begin, 0.02))\n"
)


@pytest.fixture
def busy():
    """A server that works half of the time, as far as others let it."""
    server = subprocess.Popen(
        [sys.executable, "-c", HALF], stdout=subprocess.PIPE, start_new_session=True
    )
    server.stdout.readline()
    yield server
    server.kill()
    server.communicate()


@pytest.fixture
def file(tmp_path):
    return write_run(tmp_path / "run", users=(4,), blocks=1).sessions()[0].cells()[0]


def read(recorder, origin_ns, cell):
    table = recorder.table(origin_ns)
    assert table.schema.equals(TELEMETRY_SCHEMA)
    known = {(one.source, one.name) for one in TELEMETRY_QUANTITIES}
    rows = table.to_pylist()
    assert {(row["source"], row["quantity"]) for row in rows} <= known
    record = module.Telemetry(cell_id="x", hz=5, server_hz=1, samples=1, elapsed_s=1, cpu_s=0)
    return Recorded.read(Recording(record, table), cell)


def test_it_sees_what_the_server_uses(busy, file):
    used = os.times()
    begin_ns = time.perf_counter_ns()
    with Recorder(busy.pid, hz=10) as recorder:
        time.sleep(3)
    end_ns = time.perf_counter_ns()
    found = read(recorder, begin_ns, file.cell)
    server = found.get("machine", "server_cpu_s")
    (process,) = found.each("process", "cpu_s").values()
    truth = process.values[-1] - process.values[0]
    assert server.values[-1] == pytest.approx(truth, rel=0.1, abs=0.03)
    assert 0.1 < truth / 3 < 0.75  # about half a core, less where others want it
    assert found.get("machine", "other_cpu_s") is not None
    assert found.get("machine", "busy_cpu_s").values[-1] >= truth - 0.1
    assert found.summed("process", "rss_bytes").values.min() > 2**20
    assert found.summed("process", "threads").values.max() == 1
    at_ns = server.at_ns
    assert at_ns[0] >= 0
    assert at_ns[-1] <= end_ns - begin_ns
    assert recorder.samples + recorder.missed == pytest.approx(30, abs=5)
    assert recorder.samples == len(server)
    spent = sum(os.times()[:2]) - sum(used[:2])
    assert 0 < recorder.cpu_s <= spent + 0.05
    assert recorder.cpu_s < 0.1 * 3


def test_stamps_count_from_the_cells_origin(file):
    with Recorder(None, hz=20) as recorder:
        time.sleep(0.3)
        origin_ns = time.perf_counter_ns()
        time.sleep(0.3)
    stamps = read(recorder, origin_ns, file.cell).get("machine", "busy_cpu_s").at_ns
    assert stamps[0] < 0 < stamps[-1]


def test_a_server_that_is_not_ours_has_no_rows_of_its_own(file):
    with Recorder(None) as recorder:
        time.sleep(0.3)
    found = read(recorder, 0, file.cell)
    assert found.each("process", "cpu_s") == {}
    assert found.get("machine", "server_cpu_s") is None
    assert found.get("machine", "other_cpu_s") is not None


def test_the_server_is_asked_less_often_and_a_slow_answer_delays_no_sample(file):
    def ask():
        time.sleep(0.8)
        return {"requests_running": 3.0}

    with Recorder(None, ask, hz=10, server_hz=2) as recorder:
        time.sleep(2.2)
    found = read(recorder, 0, file.cell)
    assert 2 <= len(found.get("server", "requests_running")) <= 4
    assert len(found.get("machine", "busy_cpu_s")) >= 15


def test_a_question_that_fails_is_told_once_and_the_rest_goes_on(file, capsys):
    def ask():
        raise RuntimeError("no such luck")

    for _ in range(2):
        with Recorder(None, ask, hz=10) as recorder:
            time.sleep(0.5)
    assert "the server is not asked any more: RuntimeError: no such luck" in recorder.notes
    assert recorder.samples >= 3
    assert capsys.readouterr().err.count("no such luck") == 1


def test_a_library_that_breaks_costs_no_cell(file, capsys):
    def broken():
        raise OSError("the driver is gone")

    with Recorder(None, hz=10, gpus=broken) as recorder:
        time.sleep(0.2)
    assert any("the driver is gone" in note for note in recorder.notes)
    path = recorder.write(file.path)
    assert Recording.beside(file.path).record.notes == recorder.notes
    assert path.exists()


def test_it_is_written_beside_its_cell_with_its_cost(file, busy):
    with Recorder(busy.pid, lambda: {"requests_running": 1.0}) as recorder:
        time.sleep(0.6)
    recorder.write(file.path)
    found = Recording.beside(file.path)
    assert found.record.cell_id == file.cell.cell_id
    assert found.record.samples == recorder.samples
    assert (found.record.hz, found.record.server_hz) == (5, 1)
    assert 0 < found.record.cpu_s < found.record.elapsed_s
    assert found.table.num_rows > 0


def test_telemetry_that_cannot_be_written_leaves_the_cell(file, capsys):
    with Recorder(None) as recorder:
        pass
    assert recorder.write(file.path) is not None
    assert recorder.write(file.path) is None  # there is one already
    assert "was not written" in capsys.readouterr().err
    assert file.cell.users == 4


def test_ten_minutes_of_four_processes_and_a_gpu_are_small(file):
    import random

    rng = random.Random(7)
    recorder = Recorder(None)
    for number in range(3000):
        at_ns = number * 200_000_000 + rng.randrange(3_000_000)
        for process in range(4):
            recorder._add(at_ns, "process", [
                (f"p{process}", "cpu_s", round(number * 0.05 + rng.random() * 0.1, 2)),
                (f"p{process}", "rss_bytes", float(4096 * rng.randrange(250_000, 250_400))),
                (f"p{process}", "threads", 60.0),
            ])  # fmt: skip
        recorder._add(at_ns, "machine", [
            ("", name, round(number * 0.2 + rng.random() * 0.1, 2))
            for name in ("busy_cpu_s", "server_cpu_s", "study_cpu_s", "other_cpu_s", "steal_s")
        ])  # fmt: skip
        recorder._add(at_ns, "machine", [("", "available_bytes", 4096.0 * rng.randrange(400))])
    path = recorder.write(file.path)
    assert Recording.beside(file.path).table.num_rows == 3000 * 18
    assert path.stat().st_size < 200_000
