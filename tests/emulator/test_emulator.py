"""The emulated server keeps its word: wire formats, slots, schedule, side routes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from heavyweight.emulator import faults
from heavyweight.emulator.__main__ import main, parse
from heavyweight.emulator.server import Options
from heavyweight.emulator.wire import END_MARK, answer
from tests.load.serving import serving


def request(tokens: int = 4, **fields: Any) -> dict[str, Any]:
    return {
        "model": "emulated",
        "messages": [{"role": "user", "content": "one two three"}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **fields,
    }


async def ask(base_url: str, body: dict[str, Any]) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/v1/chat/completions", json=body) as response,
    ):
        return response.status, await response.text()


def asked(body: dict[str, Any], **options: Any) -> tuple[int, str]:
    async def both() -> tuple[int, str]:
        async with serving(ttft_ms=1, itl_ms=1, **options) as base_url:
            return await ask(base_url, body)

    return asyncio.run(both())


def chunks(text: str) -> list[dict[str, Any]]:
    """The JSON of each event but the end mark, which must be the last."""
    *events, last, nothing = text.split("\n\n")
    assert (last, nothing) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def test_ollamas_manner() -> None:
    status, text = asked(request(), api="ollama")
    assert status == 200
    *words, finish, usage = chunks(text)
    assert [c["choices"][0]["delta"]["role"] for c in words] == ["assistant"] * 4
    assert all(c["choices"][0]["finish_reason"] is None for c in words)
    assert finish["choices"][0]["delta"]["content"] == ""
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 16, "completion_tokens": 4, "total_tokens": 20}
    assert {c["id"] for c in (*words, finish, usage)} == {"chatcmpl-1"}
    assert words[0]["system_fingerprint"] == "fp_ollama"


def test_vllms_manner() -> None:
    status, text = asked(request(), api="vllm")
    assert status == 200
    role, *words, usage = chunks(text)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in words] == [None, None, None, "length"]
    assert usage["usage"]["completion_tokens"] == 4
    assert len({c["id"] for c in (role, *words, usage)}) == 1


def test_usage_comes_only_where_it_was_asked_for() -> None:
    _, text = asked(request(stream_options=None))
    assert "usage" not in text


def test_another_model_is_not_found() -> None:
    assert asked(request(model="other"))[0] == 404


@pytest.mark.parametrize(("tokens", "per_chunk", "sizes"), [(5, 2, [2, 2, 1]), (4, 4, [4])])
def test_chunks_of_several_tokens_come_at_the_last_ones_time(
    tokens: int, per_chunk: int, sizes: list[int]
) -> None:
    writes = answer(
        "ollama", "m", number=1, prompt_tokens=1, output_tokens=tokens, tokens_per_chunk=per_chunk
    )
    counted = [write for write in writes if write.tokens]
    assert [write.tokens for write in counted] == sizes
    assert counted[-1].step == tokens - 1
    assert counted[0].step == per_chunk - 1
    assert writes[-1].data == END_MARK


@pytest.mark.parametrize("slots", [1, 2])
def test_slots_are_given_first_come_first_served(tmp_path: Path, slots: int) -> None:
    log = tmp_path / "log.jsonl"

    async def six() -> list[dict[str, int]]:
        async with serving(slots=slots, ttft_ms=20, itl_ms=5, log=log) as base_url:
            tasks = []
            for _ in range(6):
                tasks.append(asyncio.create_task(ask(base_url, request())))
                await asyncio.sleep(0.003)
            states = [await state(base_url)]
            await asyncio.gather(*tasks)
            return [*states, await state(base_url)]

    busy, over = asyncio.run(six())
    assert busy["in_flight"] > busy["running"]
    assert busy["running"] == slots
    assert (over["in_flight"], over["running"], over["served"]) == (0, 0, 6)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    by_read = sorted(lines, key=lambda line: line["read_ns"])
    admitted = [line["admitted_ns"] for line in by_read]
    assert admitted == sorted(admitted)
    for number, line in enumerate(by_read):
        # Nothing is written before it is due, and no slot is given twice.
        for step, stamp in enumerate(line["write_ns"][:4]):
            assert stamp >= line["admitted_ns"] + 20_000_000 + step * 5_000_000
        if number >= slots:
            assert line["admitted_ns"] >= sorted(o["write_ns"][-1] for o in by_read)[number - slots]


async def state(base_url: str) -> dict[str, int]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{base_url}/emulator/state") as response,
    ):
        return await response.json()


@pytest.mark.parametrize(
    ("api", "routes"),
    [("ollama", ["/api/version", "/api/tags"]), ("vllm", ["/version", "/health", "/metrics"])],
)
def test_side_routes_and_loading(api: str, routes: list[str]) -> None:
    async def statuses(start_s: float) -> list[int]:
        async with (
            serving(api=api, start_s=start_s) as base_url,
            aiohttp.ClientSession() as session,
        ):
            found = []
            for route in [*routes, "/v1/models"]:
                async with session.get(base_url + route) as response:
                    found.append(response.status)
            return found

    assert asyncio.run(statuses(0)) == [200] * (len(routes) + 1)
    assert asyncio.run(statuses(60)) == [503] * (len(routes) + 1)


def test_a_client_that_leaves_frees_its_slot() -> None:
    async def leave() -> str:
        async with serving(slots=1, ttft_ms=60_000) as base_url:
            leaving = asyncio.create_task(ask(base_url, request()))
            while (await state(base_url))["running"] == 0:
                await asyncio.sleep(0.01)
            leaving.cancel()
            while (await state(base_url))["running"]:
                await asyncio.sleep(0.01)
            return "free"

    assert asyncio.run(asyncio.wait_for(leave(), 20)) == "free"


def test_a_stubborn_server_works_on_for_a_client_that_left() -> None:
    async def tokens() -> int:
        async with serving(slots=1, ttft_ms=1, itl_ms=5, stubborn=True) as base_url:
            leaving = asyncio.create_task(ask(base_url, request(tokens=40)))
            while (await state(base_url))["tokens"] < 4:
                await asyncio.sleep(0.01)
            leaving.cancel()
            while (await state(base_url))["running"]:
                await asyncio.sleep(0.01)
            return (await state(base_url))["tokens"]

    assert asyncio.run(asyncio.wait_for(tokens(), 20)) == 40


def test_a_request_that_came_before_is_answered_sooner() -> None:
    async def times() -> list[float]:
        found = []
        loop = asyncio.get_running_loop()
        async with serving(ttft_ms=400, itl_ms=0, cached_ttft_ms=1) as base_url:
            for tokens in (1, 1, 2, 1):
                began = loop.time()
                await ask(base_url, request(tokens=tokens))
                found.append(loop.time() - began)
        return found

    first, again, other, later = asyncio.run(times())
    assert min(first, other) >= 0.4
    assert max(again, later) < 0.4


def test_a_fault_hits_each_nth_request() -> None:
    async def statuses() -> list[int]:
        async with serving(ttft_ms=1, itl_ms=1, fault="status-500", fault_every=3) as base_url:
            return [(await ask(base_url, request()))[0] for _ in range(6)]

    assert asyncio.run(statuses()) == [200, 200, 500, 200, 200, 500]


def test_every_fault_of_the_stream_changes_it() -> None:
    writes = answer("vllm", "m", number=1, prompt_tokens=1, output_tokens=4)
    for name, fault in faults.STREAM.items():
        assert fault(writes) != writes, name


def test_the_command_line_has_the_options_of_the_server() -> None:
    options = vars(parse([]))
    assert [options.pop(name) for name in ("host", "port", "cores")] == ["127.0.0.1", 0, None]
    assert Options(**options) == Options()
    with pytest.raises(SystemExit) as stop:
        parse(["--slots", "0"])
    with pytest.raises(SystemExit):
        parse(["--port", "80000"])
    assert stop.value.code == 2


def test_a_port_that_is_taken_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ["emulator", "--port", str(taken.getsockname()[1])]
        monkeypatch.setattr("sys.argv", arguments)
        assert main() == 2
    assert "cannot listen" in capsys.readouterr().err
