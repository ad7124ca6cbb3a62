"""Each route's wire format, and each fault in it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from heavyweight.emulator import faults
from heavyweight.emulator.plan import Ask, plan_of, value_of
from heavyweight.emulator.wire import Act
from tests.emulator.asking import PATHS, Answer, ask, body_of, unchunk
from tests.load.serving import serving

SSE_KINDS = ("chat", "completions")
NATIVE_KINDS = ("ollama-chat", "ollama-generate")
KINDS = (*SSE_KINDS, *NATIVE_KINDS)
TEXT = " once upon a time"


def answered(kind: str, body: dict[str, Any] | None = None, **options: Any) -> Answer:
    async def once() -> Answer:
        async with serving(**{"ttft_ms": 2, "itl_ms": 1, **options}) as base_url:
            return await ask(base_url, kind, body)

    return asyncio.run(once())


def payloads(kind: str, text: bytes) -> list[dict[str, Any]]:
    """The JSON of each event or line, without the end mark of the events."""
    if kind in NATIVE_KINDS:
        return [json.loads(line) for line in text.splitlines() if line]
    lines = text.replace(b"\r\n", b"\n").split(b"\n")
    data = [line[6:] for line in lines if line.startswith(b"data: ")]
    assert data.pop() == b"[DONE]"
    return [json.loads(one) for one in data]


def words(kind: str, found: list[dict[str, Any]]) -> str:
    """The text of an answer."""
    if kind == "ollama-chat":
        return "".join(one["message"]["content"] for one in found)
    if kind == "ollama-generate":
        return "".join(one["response"] for one in found)
    choices = [choice for one in found for choice in one["choices"]]
    if kind == "completions":
        return "".join(choice["text"] for choice in choices)
    return "".join(choice["delta"]["content"] for choice in choices)


@pytest.mark.parametrize("api", ["ollama", "vllm"])
def test_completions(api: str) -> None:
    answer = answered("completions", api=api)
    assert b"Content-Type: text/event-stream" in answer.head
    *found, usage = payloads("completions", answer.text)
    assert words("completions", found) == TEXT
    assert {one["object"] for one in found} == {"text_completion"}
    assert len({one["id"] for one in found}) == 1
    assert found[0]["id"].startswith("cmpl-")
    assert found[-1]["choices"][0]["finish_reason"] == "length"
    assert (found[-1]["choices"][0]["text"] == "") == (api == "ollama")
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4
    # Ollama puts zeros into every chunk where the usage was asked for; vLLM has no template there.
    assert all(("usage" in one) == (api == "ollama") for one in found)
    assert usage["usage"]["prompt_tokens"] == (3 + 13 if api == "ollama" else 3)


@pytest.mark.parametrize("api", ["ollama", "vllm"])
@pytest.mark.parametrize("kind", NATIVE_KINDS)
def test_ollamas_own(api: str, kind: str) -> None:
    answer = answered(kind, api=api)
    assert b"Content-Type: application/x-ndjson" in answer.head
    *found, last = payloads(kind, answer.text)
    assert words(kind, found) == TEXT
    assert [one["done"] for one in (*found, last)] == [False] * 4 + [True]
    assert last["done_reason"] == "length"
    assert (last["prompt_eval_count"], last["eval_count"]) == (16, 4)
    assert last["prompt_eval_duration"] >= 2_000_000
    assert last["eval_duration"] >= 3_000_000
    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert last["total_duration"] >= parts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [True, False])
def test_counts_of_any_length(kind: str, stream: bool) -> None:
    for words_of_prompt, tokens in ((1, 1), (86, 1), (87, 900), (987, 12)):
        text = "w " * words_of_prompt
        answer = answered(kind, body_of(tokens, text, stream=stream), api="ollama", itl_ms=0)
        found = [json.loads(answer.text)] if not stream else payloads(kind, answer.text)
        prompt_tokens = words_of_prompt + 13
        if kind in NATIVE_KINDS:
            told = [found[-1]["prompt_eval_count"], found[-1]["eval_count"]]
        else:
            told = list(found[-1]["usage"].values())
            assert told.pop() == prompt_tokens + tokens
        assert told == [prompt_tokens, tokens]


def test_the_wait_for_a_slot_is_in_ollamas_durations() -> None:
    async def two() -> list[dict[str, Any]]:
        async with serving(slots=1, ttft_ms=20, itl_ms=1) as base_url:
            both = [asyncio.create_task(ask(base_url, "ollama-chat")) for _ in range(2)]
            return [payloads("ollama-chat", (await task).text)[-1] for task in both]

    waits = sorted(
        one["total_duration"] - one["prompt_eval_duration"] - one["eval_duration"]
        for one in asyncio.run(two())
    )
    assert waits[0] < 20_000_000 <= waits[1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_does_not_stream(kind: str) -> None:
    answer = answered(kind, body_of(stream=False))
    assert b"Content-Type: application/json" in answer.head
    found = json.loads(answer.text)
    if kind == "chat":
        assert found["choices"][0]["message"]["content"] == TEXT
    else:
        assert words(kind, [found]) == TEXT
    counted = found["eval_count"] if kind in NATIVE_KINDS else found["usage"]["completion_tokens"]
    assert counted == 4


def test_the_head_comes_at_once_from_vllm_and_with_the_text_from_ollama() -> None:
    async def first(api: str) -> Answer:
        async with serving(api=api, ttft_ms=200, itl_ms=1) as base_url:
            return await ask(base_url, "chat")

    reads = {api: asyncio.run(first(api)).stamps for api in ("vllm", "ollama")}
    heads = {api: stamps[0][0] for api, stamps in reads.items()}
    assert heads["ollama"] > heads["vllm"]  # the head alone is shorter
    assert reads["vllm"][1][1] - reads["vllm"][0][1] > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("manner", [*faults.LAWFUL, *faults.FRAMES])
def test_lawful_manners_say_the_same(kind: str, manner: str) -> None:
    answer = answered(kind, api="vllm", fault=manner)
    assert answer.how == ("eof" if manner == "close-delimited" else "complete")
    assert answer.status == 200
    found = payloads(kind, answer.text)
    assert words(kind, found) == TEXT
    last = found[-1]
    assert (last["eval_count"] if kind in NATIVE_KINDS else last["usage"]["completion_tokens"]) == 4


def plan(kind: str, fault: str | None, **fields: Any) -> Any:
    asked = Ask("vllm", kind, "emulated", 2, 2, 4, fault=fault, **fields)
    return plan_of(asked, value_of(asked, 1, "0" * 16), 16)


@pytest.mark.parametrize("api", ["ollama", "vllm"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [*faults.STREAM, *faults.FRAMES, "wrong-type"])
def test_every_fault_of_a_stream_changes_it(api: str, kind: str, fault: str) -> None:
    asked = Ask(api, kind, "emulated", 2, 2, 4)  # type: ignore[arg-type]
    spoilt = Ask(api, kind, "emulated", 2, 2, 4, fault=fault)  # type: ignore[arg-type]
    value = value_of(asked, 1, "0" * 16)
    assert plan_of(asked, value, 16) != plan_of(spoilt, value, 16)
    steps = plan_of(spoilt, value, 16).steps
    assert list(steps) == sorted(steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "how"),
    [
        ("reset-before-headers", "reset"),
        ("reset-in-headers", "reset"),
        ("reset-after-headers", "reset"),
        ("garbage-headers", "reset"),
        ("garbage-framing", "reset"),
        ("garbage-framing-late", "reset"),
        ("reset", "reset"),
        ("close", "eof"),
        ("stall", "silent"),
        ("stall-first", "silent"),
        ("stall-headers", "silent"),
    ],
)
def test_broken_connections(kind: str, fault: str, how: str) -> None:
    async def once() -> Answer:
        async with serving(ttft_ms=1, itl_ms=1) as base_url:
            return await ask(base_url, kind, silence_s=0.2, X_Emulate_Fault=fault)

    answer = asyncio.run(once())
    assert answer.how == how
    if fault in ("reset-before-headers", "stall-headers"):
        assert answer.raw == b""
    if fault == "stall-first":
        assert (answer.status, answer.rest) == (200, b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "status"), [(n, s) for n, (s, _) in faults.STATUS.items()])
def test_statuses(kind: str, fault: str, status: int) -> None:
    answer = answered(kind, fault=fault)
    assert answer.status == status
    assert (b"Retry-After" in answer.head) == (status == 429)
    if status != 502:
        error = json.loads(answer.rest)["error"]
        assert isinstance(error, str if kind in NATIVE_KINDS else dict)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "count"), [("zero", 0), ("fewer", 2), ("more", 8)])
def test_a_usage_that_contradicts_the_chunks(kind: str, fault: str, count: int) -> None:
    found = payloads(kind, answered(kind, fault=f"usage-{fault}").text)
    assert words(kind, found) == TEXT
    last = found[-1]
    told = last["eval_count"] if kind in NATIVE_KINDS else last["usage"]["completion_tokens"]
    assert told == count


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_inside_a_good_status(kind: str) -> None:
    answer = answered(kind, fault="error-event")
    assert answer.status == 200
    found = payloads(kind, answer.text)
    assert "error" in found[-1]
    assert words(kind, found[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_and_a_drip_do_not_end(kind: str) -> None:
    flood, drip = plan(kind, "flood"), plan(kind, "drip")
    assert len(flood.repeat) > 60_000
    assert len(drip.repeat) < 1_000
    assert (flood.drips, drip.drips) == (False, True)
    one = unchunk(drip.repeat + b"0\r\n")
    assert unchunk(flood.repeat + b"0\r\n").startswith(one * 2)


def test_a_stream_that_ends_within_its_first_write_still_drips() -> None:
    assert plan("chat", "drip", with_usage=False).repeat_tokens == 1


@pytest.mark.parametrize("kind", KINDS)
def test_bytewise_writes_are_bytes(kind: str) -> None:
    data = [part for part in plan(kind, "bytewise").data if not isinstance(part, Act)]
    assert {len(unchunk(part + b"0\r\n")) for part in data} == {1}


def test_the_routes_know_their_bad_requests() -> None:
    async def statuses() -> list[int]:
        async with serving() as base_url:
            bodies = [{"model": "emulated"}, body_of(max_tokens="many"), body_of(messages=5)]
            found = [(await ask(base_url, "chat", body)).status for body in bodies]
            unknown = await ask(base_url, "chat", X_Emulate_Fault="unheard-of")
            return [*found, unknown.status]

    assert asyncio.run(statuses()) == [400] * 4
    assert set(PATHS) == set(KINDS)
