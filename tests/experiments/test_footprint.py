"""The sampler of memory sees what a process takes, and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from heavyweight.experiments import footprint
from heavyweight.experiments.footprint import Footprint, Watch

MIB = 2**20
TAKEN = 64 * MIB
linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")

# Says "ready", then obeys: "take" fills memory, "drop" gives it back, "fork" shares it.
CHILD = f"""
import mmap, os, sys, time
def say(word):
    print(word, flush=True)
say("ready")
for line in sys.stdin:
    if line == "take\\n":
        held = mmap.mmap(-1, {TAKEN}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for _ in range({TAKEN // MIB}):
            held.write(b"x" * {MIB})
    elif line == "drop\\n":
        held.close()
    elif line == "fork\\n":
        if os.fork() == 0:
            sys.stdin.close()
            time.sleep(60)
            os._exit(0)
    say("done")
"""


class Child:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.pgid = process, process.pid
        assert self.said() == "ready"

    def said(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def does(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self.said() == "done"


@contextmanager
def child() -> Iterator[Child]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", CHILD],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield Child(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()


@linux
def test_what_a_process_takes_is_seen_in_every_count() -> None:
    with child() as process:
        before = Footprint.of(process.pgid)
        process.does("take")
        after = Footprint.of(process.pgid)
    for name in ("rss_bytes", "pss_bytes", "private_bytes", "anonymous_bytes", "highest_rss_bytes"):
        grown = getattr(after, name) - getattr(before, name)
        assert 0.9 * TAKEN < grown < 1.5 * TAKEN, name
    assert abs(after.file_bytes - before.file_bytes) < 8 * MIB, "it was backed by no file"
    assert (before.processes, before.threads) == (1, 1)
    assert before.rss_bytes > before.pss_bytes >= before.private_bytes > 0
    assert after.taken_bytes == after.pss_bytes


@linux
def test_pages_that_two_processes_share_count_once_in_pss_and_twice_in_rss() -> None:
    with child() as process:
        process.does("take")
        one = Footprint.of(process.pgid)
        process.does("fork")
        two = Footprint.of(process.pgid)
    assert two.processes == 2
    assert two.rss_bytes > one.rss_bytes + 0.9 * TAKEN
    assert two.pss_bytes < one.pss_bytes + 0.3 * TAKEN
    assert two.private_bytes < one.private_bytes - 0.5 * TAKEN, "a stop of one gives nothing back"


@linux
def test_a_peak_is_kept_when_the_memory_is_given_back() -> None:
    with child() as process:
        with Watch(process.pgid) as watch:
            first = watch.peak
            process.does("take")
            while watch.peak.pss_bytes < first.pss_bytes + 0.9 * TAKEN:
                pass  # until a sample saw it
            process.does("drop")
        now = Footprint.of(process.pgid)
        assert watch.peak.pss_bytes > now.pss_bytes + 0.9 * TAKEN
        assert watch.peak.highest_rss_bytes > now.rss_bytes + 0.9 * TAKEN
        assert watch.samples >= 3
        assert watch.cost_s > 0
        with Watch(process.pgid) as again:
            pass
    assert again.peak.highest_rss_bytes < watch.peak.highest_rss_bytes - 0.5 * TAKEN, (
        "the kernel's own highest is counted anew"
    )


@linux
def test_a_peak_between_two_samples_is_in_the_kernels_own_highest(monkeypatch) -> None:
    monkeypatch.setattr(footprint, "SAMPLES_PER_S", 0.01)
    with child() as process, Watch(process.pgid) as watch:
        process.does("take")
        process.does("drop")
    assert watch.peak.highest_rss_bytes > watch.peak.rss_bytes + 0.9 * TAKEN


@linux
def test_a_server_that_died_leaves_the_peak_of_its_life() -> None:
    with child() as process:
        with Watch(process.pgid) as watch:
            process.process.kill()
            process.process.wait()
        assert watch.peak.pss_bytes > 0
        assert Footprint.of(process.pgid).processes == 0


def test_without_proc_only_the_resident_memory_is_known(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(footprint, "PROC", tmp_path)
    with child() as process:
        found = Footprint.of(process.pgid)
    assert found.rss_bytes > MIB
    assert found.pss_bytes is None
    assert found.highest_rss_bytes is None
    assert found.taken_bytes == found.rss_bytes


def test_the_higher_of_each_count_and_what_is_not_known() -> None:
    one = Footprint(2, 5, 100, 80, None, 50, 30, 20, 120)
    two = replace(one, rss_bytes=90, pss_bytes=85, private_bytes=7, vram_bytes=3, on_gpu=True)
    assert one.highest(two) == Footprint(2, 5, 100, 85, 7, 50, 30, 20, 120, 3, True)
    assert two.taken_bytes == 3, "where there is a GPU its memory is what is compared"


def test_memory_of_gpus_counts_above_what_was_used_before(monkeypatch) -> None:
    monkeypatch.setattr(footprint, "vram_used_bytes", lambda: 900)
    with child() as process:
        assert Footprint.of(process.pgid, 400).vram_bytes == 500
        assert Footprint.of(process.pgid, 1000).vram_bytes == 0, "somebody else gave some back"
        assert Footprint.of(process.pgid).vram_bytes is None


def test_a_gpu_that_does_not_answer_leaves_the_sample_unknown(monkeypatch) -> None:
    answers = iter([None, 900, None])
    monkeypatch.setattr(footprint, "vram_used_bytes", lambda: next(answers))
    with child() as process:
        silent, told, again = (Footprint.of(process.pgid, 400) for _ in range(3))
    assert silent.rss_bytes > MIB
    assert silent.taken_bytes is None, "its PSS is another count"
    assert told.taken_bytes == 500
    for peak in (silent.highest(told), told.highest(again)):
        assert peak.taken_bytes == 500, "the highest of the samples that are known"


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ({"0": 900.0, "1": 50.0}, 950),
        ({"0": 900.0, "0.0": 300.0, "0.1": 400.0, "1": 50.0}, 950),
        ({"0.0": 300.0, "0.1": 400.0, "1": 50.0}, 750),
        ({}, None),
    ],
)
def test_an_instance_of_a_gpu_is_a_part_of_it(monkeypatch, told, used) -> None:
    class Stub:
        @staticmethod
        def sample() -> list[tuple[str, str, float]]:
            pairs = [(name, "memory_used_bytes", size) for name, size in told.items()]
            return [*pairs, ("0", "power_w", 70.0)]

    monkeypatch.setattr(footprint, "_gpus", Stub)
    assert footprint.vram_used_bytes() == used
