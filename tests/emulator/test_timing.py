"""Who writes when: queue, steps, jitter, no drift, backpressure, and the log that tells it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heavyweight.emulator import stream as stream_module
from heavyweight.emulator.__main__ import parse
from heavyweight.emulator.clock import Clock
from heavyweight.emulator.jitter import Jitter
from tests.emulator.asking import PATHS, Answer, ask, body_of, request_bytes
from tests.load.serving import serving

MS = 1_000_000
Lines = list[dict[str, Any]]


def logged(tmp_path: Path, work: Callable[[str], Awaitable[Any]], **options: Any) -> Lines:
    """The log of a server while some work was done on it, in the order of reading."""
    log = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"

    async def both() -> None:
        async with serving(log=log, **options) as base_url:
            await asyncio.wait_for(work(base_url), 60)

    asyncio.run(both())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sorted(lines, key=lambda line: line["read_ns"])


def many(count: int, tokens: int = 4, kind: str = "chat") -> Callable[[str], Awaitable[Any]]:
    """So many requests at once, each with a prompt of its own."""

    async def work(base_url: str) -> list[Answer]:
        bodies = [body_of(tokens, f"prompt {number}") for number in range(count)]
        return await asyncio.gather(*(ask(base_url, kind, body, 30) for body in bodies))

    return work


def test_a_full_queue_answers_503(tmp_path: Path) -> None:
    answers: list[Answer] = []

    async def work(base_url: str) -> None:
        answers.extend(await many(6)(base_url))
        answers.append(await ask(base_url, "ollama-chat"))

    lines = logged(tmp_path, work, slots=2, queue=1, ttft_ms=100, itl_ms=1)
    assert sorted(answer.status for answer in answers) == [200] * 4 + [503] * 3
    assert b"maximum pending requests" in next(a for a in answers if a.status == 503).rest
    served = [line for line in lines if line["status"] == 200]
    assert len(lines) == 7
    assert served[0]["admitted_ns"] < served[2]["read_ns"] + 100 * MS
    assert served[2]["admitted_ns"] > min(line["write_ns"][-1] for line in served[:2])
    refused = [line for line in lines if line["status"] == 503]
    assert all(line["admitted_ns"] is None and not line["write_ns"] for line in refused)


def test_one_who_leaves_the_queue_is_passed_over(tmp_path: Path) -> None:
    async def work(base_url: str) -> None:
        first = asyncio.create_task(ask(base_url, "chat", silence_s=30))
        await asyncio.sleep(0.02)
        leaving = asyncio.create_task(ask(base_url, "chat", silence_s=0.03))
        await asyncio.sleep(0.01)
        last = asyncio.create_task(ask(base_url, "chat", silence_s=30))
        assert (await leaving).how == "silent"
        assert (await first).how == (await last).how == "complete"

    lines = logged(tmp_path, work, slots=1, ttft_ms=150, itl_ms=1)
    assert lines[1]["admitted_ns"] is None
    assert lines[2]["admitted_ns"] >= lines[0]["write_ns"][-1]


def test_no_write_is_early_and_lateness_does_not_add_up(tmp_path: Path) -> None:
    lines = logged(tmp_path, many(8, tokens=100), slots=8, ttft_ms=20, itl_ms=2.5)
    assert len(lines) == 8
    lateness = (
        np.array([np.array(line["write_ns"]) - line["admitted_ns"] - 20 * MS for line in lines])
        - np.arange(100) * 2.5 * MS
    )
    assert (lateness >= 0).all()
    # A sleep for each token would end far behind where it began; one pause of the machine may hit.
    assert np.median(lateness[:, -20:]) < np.median(lateness[:, :20]) + 5 * MS


def test_all_streams_of_a_step_write_on_its_tick(tmp_path: Path) -> None:
    lines = logged(
        tmp_path, many(6, tokens=12), api="vllm", slots=6, ttft_ms=30, itl_ms=40, batching="step"
    )
    # Who was ready a little too late for the first tick is one tick behind, and on the ticks too.
    ticks, *others = (np.array(line["write_ns"]) for line in lines)
    step = np.median(np.diff(ticks))
    for other in others:
        distance = np.abs(np.subtract.outer(other[1:-1], ticks)).min(axis=1)
        assert np.median(distance) < step / 8
    assert all(line["write_ns"][0] - line["admitted_ns"] >= 30 * MS for line in lines)


def test_a_request_joins_at_a_tick_and_crowded_steps_last_longer(tmp_path: Path) -> None:
    async def work(base_url: str) -> None:
        early = asyncio.create_task(ask(base_url, "chat", body_of(16), 30))
        await asyncio.sleep(0.105)
        await ask(base_url, "chat", body_of(4), 30)
        await early

    first, second = logged(
        tmp_path, work, slots=2, ttft_ms=5, itl_ms=20, batching="step", step_growth=2.0
    )
    distance = np.abs(np.subtract.outer(second["write_ns"], first["write_ns"])).min(axis=1)
    assert np.median(distance) < 5 * MS
    gaps = np.diff(first["write_ns"])
    together = (np.array(first["write_ns"][:-1]) >= second["write_ns"][0]) & (
        np.array(first["write_ns"][1:]) <= second["write_ns"][-1]
    )
    assert np.median(gaps[together]) > 2 * np.median(gaps[~together])  # 3 times: 1 + 2 * (2 - 1)


def test_jitter_has_the_moments_asked_for_and_depends_on_the_request_alone() -> None:
    jitter = Jitter(7, 0.5)
    times = [jitter.request(b"%d" % i, 100 * MS, 10 * MS, 50) for i in range(400)]
    first = np.array([ttft for ttft, _ in times])
    gaps = np.diff(np.array([offsets for _, offsets in times]), axis=1)
    for sample, mean in ((first, 100 * MS), (gaps.ravel(), 10 * MS)):
        assert abs(sample.mean() / mean - 1) < 6 * 0.5 / np.sqrt(len(sample))
        assert 0.4 < sample.std() / sample.mean() < 0.6
    assert {offsets[0] for _, offsets in times if offsets} == {0}
    assert Jitter(7, 0.5).request(b"399", 100 * MS, 10 * MS, 50) == times[399]
    assert Jitter(8, 0.5).request(b"399", 100 * MS, 10 * MS, 50) != times[399]
    assert jitter.request(b"x", 100, 0, 50)[1] is None
    steps = [next(factors) for factors in [jitter.factors()] for _ in range(3000)]
    assert abs(np.mean(steps) - 1) < 0.06


def test_jitter_is_kept_by_the_writes(tmp_path: Path) -> None:
    options = {"slots": 4, "ttft_ms": 20, "itl_ms": 4, "jitter": 0.8, "seed": 3}
    for _ in range(2):
        for line in logged(tmp_path, many(4, tokens=20), **options):
            offsets = np.array(line["write_ns"]) - line["admitted_ns"]
            bodies = [json.dumps(body_of(20, f"prompt {n}")).encode() for n in range(4)]
            plans = [Jitter(3, 0.8).request(body, 20 * MS, 4 * MS, 20) for body in bodies]
            dues = np.array([[ttft + after for after in found] for ttft, found in plans if found])
            late = offsets - dues
            assert ((late >= 0).all(axis=1) & (np.median(late, axis=1) < 4 * MS)).any()


def test_unpaced_tokens_are_joined_and_the_log_counts_them(tmp_path: Path) -> None:
    lines = logged(tmp_path, many(3, tokens=500), slots=3, ttft_ms=1, itl_ms=0)
    for line in lines:
        assert sum(line["write_tokens"]) == 500
        assert len(line["write_ns"]) == len(line["write_tokens"]) < 100
        assert line["write_ns"] == sorted(line["write_ns"])


@pytest.mark.parametrize("batching", ["none", "step"])
def test_a_reader_that_stops_stops_the_writes(tmp_path: Path, batching: str) -> None:
    count = 20_000

    async def work(base_url: str) -> None:
        host, port = base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 12)
        writer.write(request_bytes(PATHS["chat"], body_of(count)))
        seen = -1
        while True:  # until the server stands still
            await asyncio.sleep(0.2)
            state = json.loads((await get(base_url, "/emulator/state")).partition(b"\r\n\r\n")[2])
            assert state["running"] == 1
            if seen == (seen := state["tokens"]):
                break
        assert 0 < seen < count
        total = b""
        while not total.endswith(b"0\r\n\r\n"):
            total = total[-5:] + await reader.read(1 << 16)
        writer.close()

    itl_ms = 0 if batching == "none" else 0.02
    (line,) = logged(tmp_path, work, ttft_ms=1, itl_ms=itl_ms, batching=batching)
    assert sum(line["write_tokens"]) == count
    assert np.diff(line["write_ns"]).max() > 100 * MS


async def get(base_url: str, path: str) -> bytes:
    host, port = base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_a_flood_stops_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "FLOOD_BYTES", 1_000_000)

    async def drink() -> Answer:
        async with serving(ttft_ms=1, itl_ms=1) as base_url:
            return await ask(base_url, "chat", silence_s=30, X_Emulate_Fault="flood")

    answer = asyncio.run(drink())
    assert answer.how == "complete"
    assert 1_000_000 < len(answer.raw) < 1_200_000
    assert b"[DONE]" not in answer.raw


def test_a_drip_keeps_dripping() -> None:
    async def watch() -> None:
        async with serving(ttft_ms=1, itl_ms=1) as base_url:
            task = asyncio.create_task(ask(base_url, "chat", silence_s=30, X_Emulate_Fault="drip"))
            await asyncio.sleep(0.5)
            assert not task.done()
            task.cancel()

    asyncio.run(watch())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_log_is_there_soon_and_complete_at_the_end(tmp_path: Path, number: int) -> None:
    log = tmp_path / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "heavyweight.emulator", "--log", str(log), "--ttft-ms", "60000"],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        base_url = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        refused = asyncio.run(ask(base_url, "chat", X_Emulate_Fault="status-500", X_Request_Id="a"))
        assert refused.status == 500
        stop = time.monotonic() + 10
        while not log.read_text() and time.monotonic() < stop:
            time.sleep(0.01)
        assert json.loads(log.read_text())["request_id"] == "a"

        async def leave_it_waiting() -> None:
            task = asyncio.create_task(ask(base_url, "chat", X_Request_Id="b"))
            while b'"running": 1' not in await get(base_url, "/emulator/state"):
                await asyncio.sleep(0.01)
            process.send_signal(number)
            assert (await task).how == "reset"

        asyncio.run(asyncio.wait_for(leave_it_waiting(), 20))
        assert process.wait(10) == 0
        last = json.loads(log.read_text().splitlines()[-1])
        assert last["request_id"] == "b"
        assert last["write_ns"] == []
        assert last["ended_ns"] > last["admitted_ns"] > last["read_ns"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_without_timers_that_are_files_the_loop_wakes_the_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Clock, "_open", lambda self: None)
    lines = logged(tmp_path, many(2, tokens=5), slots=2, ttft_ms=5, itl_ms=5)
    for line in lines:
        late = np.array(line["write_ns"]) - line["admitted_ns"] - 5 * MS - np.arange(5) * 5 * MS
        assert (late >= 0).all()


@pytest.mark.parametrize(
    "arguments",
    ["--queue -1", "--jitter -0.1", "--itl-ms -1", "--ttft-ms nan", "--batching step --itl-ms 0"],
)
def test_options_that_make_no_sense_are_refused(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(arguments.split())
    assert stop.value.code == 2
    assert "must be" in (told := capsys.readouterr().err) or "needs" in told
