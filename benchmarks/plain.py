"""The obvious client: aiohttp's session, lines as they come, each one's JSON read at once.

``python -m benchmarks.plain TASK.json``; what it is told is :meth:`benchmarks.cases.Case.task`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.bare import request_body, schedule


async def ask(session: aiohttp.ClientSession, task: dict[str, Any], due_ns: int) -> dict[str, Any]:
    """One request."""
    name, texts = uuid.uuid4().hex, []
    sent_ns = time.perf_counter_ns()
    async with session.post(
        f"http://127.0.0.1:{task['port']}/v1/chat/completions",
        json=request_body(task),
        headers={"X-Request-Id": name},
    ) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            now_ns = time.perf_counter_ns()
            data = line[6:].strip()
            if data == b"[DONE]":
                break
            choices = json.loads(data)["choices"]
            if choices and choices[0]["delta"].get("content"):
                texts.append(now_ns)
    return {
        "request_id": name, "due_ns": due_ns, "sent_ns": sent_ns, "first_ns": texts[0],
        "end_ns": time.perf_counter_ns(), "tokens": len(texts),
    }  # fmt: skip


async def user(
    session: aiohttp.ClientSession, task: dict[str, Any], due_ns: int, stop_ns: int
) -> list[dict[str, Any]]:
    """One user of a closed loop."""
    done: list[dict[str, Any]] = []
    await asyncio.sleep((due_ns - time.perf_counter_ns()) / 1e9)
    while not done or time.perf_counter_ns() < stop_ns:
        done.append(await ask(session, task, due_ns))
        due_ns = time.perf_counter_ns()
    return done


async def closed(session: aiohttp.ClientSession, task: dict[str, Any]) -> list[dict[str, Any]]:
    """A closed loop whose users start over one response time."""
    origin_ns, response_s = time.perf_counter_ns(), task["response_s"]
    stop_ns = origin_ns + int((response_s + task["seconds"]) * 1e9)
    dues = [origin_ns + int(n / task["users"] * response_s * 1e9) for n in range(task["users"])]
    done = await asyncio.gather(*(user(session, task, due_ns, stop_ns) for due_ns in dues))
    return [row for rows in done for row in rows]


async def opened(session: aiohttp.ClientSession, task: dict[str, Any]) -> list[dict[str, Any]]:
    """An open loop."""
    origin_ns, asked = time.perf_counter_ns(), []
    for at_s in np.cumsum(schedule(task)):
        due_ns = origin_ns + int(at_s * 1e9)
        await asyncio.sleep(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))
        asked.append(asyncio.create_task(ask(session, task, due_ns)))
    return await asyncio.gather(*asked)


async def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run the load; gives the fields of :class:`benchmarks.sample.Sample`."""
    connector = aiohttp.TCPConnector(limit=0)
    before_s = time.process_time()
    async with aiohttp.ClientSession(connector=connector) as session:
        rows = await (closed if task["users"] else opened)(session, task)
    told: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    told["events_per_cpu_s"] = sum(told["tokens"]) / (time.process_time() - before_s)
    return told


if __name__ == "__main__":
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    told = asyncio.run(run(task))
    Path(task["out"]).write_text(json.dumps(told), encoding="utf-8")
