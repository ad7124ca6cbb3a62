"""The floor: a bare uvloop protocol that stamps reads and writes prepared bytes, nothing else.

``python -m benchmarks.bare TASK.json``; what it is told is :meth:`benchmarks.cases.Case.task`. It
knows one answer of one server: chunked, ended by an empty chunk, on connections that stay open.
What an answer said is read after the load.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import time
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import numpy as np
import uvloop

TEXT = re.compile(rb'"content": ?"[^"]')
END = b"0\r\n\r\n"
SPIN_S = 0.0015  # a timer of uvloop is exact to 1 ms
IDLE = 64  # connections of an open loop before the first request


class Answer:
    """One request's times and its raw answer."""

    __slots__ = ("due_ns", "parts", "request_id", "sent_ns", "stamps")

    def __init__(self, request_id: str, due_ns: int) -> None:
        self.request_id, self.due_ns, self.sent_ns = request_id, due_ns, 0
        self.parts: list[bytes] = []
        self.stamps: list[int] = []


class Connection(asyncio.Protocol):
    """One connection; tells its load when an answer ended."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answer: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.file = transport.get_extra_info("socket").fileno()

    def send(self, answer: Answer) -> None:
        """Write a request."""
        self.answer = answer
        data = self.load.head + answer.request_id.encode() + self.load.tail
        answer.sent_ns = time.perf_counter_ns()
        # uvloop's transport would write at the end of the loop's turn: no floor then.
        written = os.write(self.file, data)
        if written < len(data):
            self.transport.write(data[written:])

    def data_received(self, data: bytes) -> None:
        """Stamp and keep."""
        now_ns = time.perf_counter_ns()
        answer = self.answer
        assert answer is not None
        answer.stamps.append(now_ns)
        answer.parts.append(data)
        if data.endswith(END):
            self.answer = None
            self.load.ended(self, answer)


class Load:
    """A closed or an open loop, as the task says."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        body = json.dumps(request_body(task)).encode()
        address = f"127.0.0.1:{task['port']}"
        self.head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\n"
            "Content-Type: application/json\r\nAccept: text/event-stream\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-Id: "
        ).encode()
        self.tail = b"\r\n\r\n" + body
        self.done: list[Answer] = []
        self.started = 0
        self.stop_ns = 0
        self.all_sent = False  # by the schedule; users go on by themselves
        self._idle: list[Connection] = []
        self._over = asyncio.Event()

    def _next(self, due_ns: int) -> Answer:
        self.started += 1
        return Answer(f"{self.started:032x}", due_ns)

    async def _connect(self) -> Connection:
        _, protocol = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self), "127.0.0.1", self.task["port"]
        )
        return protocol

    def ended(self, connection: Connection, answer: Answer) -> None:
        """An answer ended: the next request of a closed loop, or an idle connection."""
        self.done.append(answer)
        if self.task["users"] and answer.stamps[-1] < self.stop_ns:
            connection.send(self._next(answer.stamps[-1]))
            return
        self._idle.append(connection)
        self._look()

    def _look(self) -> None:
        if self.all_sent and len(self.done) == self.started:
            self._over.set()

    async def run(self) -> None:
        """Run the load to its end."""
        task, loop = self.task, asyncio.get_running_loop()
        opened = [await self._connect() for _ in range(task["users"] or IDLE)]
        origin_ns = time.perf_counter_ns() + 50_000_000
        if task["users"]:
            gaps_s = np.full(task["users"], task["response_s"] / task["users"])
            self.stop_ns = origin_ns + int((task["response_s"] + task["seconds"]) * 1e9)
            spin_s = 0.0
        else:
            gaps_s, spin_s = schedule(task), SPIN_S
            self._idle, opened = opened, []
        for number, at_s in enumerate(np.cumsum(gaps_s)):
            due_ns = origin_ns + int(at_s * 1e9)
            left_s = (due_ns - time.perf_counter_ns()) / 1e9 - spin_s
            if left_s > 0:
                wake = loop.create_future()
                loop.call_later(left_s, wake.set_result, None)
                await wake
            while spin_s and time.perf_counter_ns() < due_ns:
                await asyncio.sleep(0)
            connection = opened[number] if opened else None
            if connection is None:
                connection = self._idle.pop() if self._idle else await self._connect()
            connection.send(self._next(due_ns))
        self.all_sent = True
        self._look()
        await self._over.wait()


def request_body(task: dict[str, Any]) -> dict[str, Any]:
    """A chat request with a prompt of about the length that the others send."""
    return {
        "model": task["model"],
        "messages": [{"role": "user", "content": "word " * task["prompt_tokens"]}],
        "max_tokens": task["tokens"],
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def schedule(task: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Gaps between arrivals in s, which fill the task's seconds."""
    count = int(task["rate_per_s"] * task["seconds"])
    if task["arrivals"] == "constant":
        return np.full(count, 1 / task["rate_per_s"])
    gaps_s = np.random.default_rng(1).exponential(1 / task["rate_per_s"], count)
    inside: np.ndarray[Any, Any] = gaps_s[np.cumsum(gaps_s) <= task["seconds"]]
    return inside


def report(done: list[Answer], task: dict[str, Any], cpu_s: float) -> dict[str, Any]:
    """The fields of :class:`benchmarks.sample.Sample`."""
    rows = []
    for answer in done:
        raw = b"".join(answer.parts)
        texts = [match.start() for match in TEXT.finditer(raw)]
        if not raw.startswith(b"HTTP/1.1 200") or not texts:
            continue
        totals = list(accumulate(map(len, answer.parts)))
        first_ns = answer.stamps[bisect_left(totals, texts[0] + 1)]
        ends = answer.sent_ns, first_ns, answer.stamps[-1]
        rows.append((answer.request_id, answer.due_ns, *ends, len(texts)))
    names = ("request_id", "due_ns", "sent_ns", "first_ns", "end_ns", "tokens")
    told: dict[str, Any] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    told["failed"] = len(done) - len(rows)
    told["events_per_cpu_s"] = sum(told["tokens"]) / cpu_s
    return told


def main() -> None:
    """Run one task."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))

    async def run() -> tuple[Load, float]:
        load = Load(task)
        gc.disable()
        before_s = time.process_time()
        await load.run()
        return load, time.process_time() - before_s

    load, cpu_s = uvloop.run(run())
    Path(task["out"]).write_text(json.dumps(report(load.done, task, cpu_s)), encoding="utf-8")


if __name__ == "__main__":
    main()
