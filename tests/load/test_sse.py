"""Server-sent events: the grammar, what a stream says, and the class of each damage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from heavyweight.load.sse import Event, events, looks_complete, parse_chat, parse_completions
from heavyweight.records import ErrorClass as E
from tests.load import wires
from tests.load.wires import BYTES, DONE, PROMPT_TOKENS, TEXTS, sse

PARSE = {"chat": parse_chat, "completions": parse_completions}

TEXT = {"id": "x", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
LAST = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
GOOD = sse(TEXT) + sse(TEXT) + sse(LAST) + sse(USAGE) + DONE
# As vLLM writes it when its engine died.
DIED = sse({"error": {"message": "died", "type": "InternalServerError", "code": 500}})


def used(prompt_tokens: Any, completion_tokens: Any) -> bytes:
    """An event that counts."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return sse({"choices": [], "usage": counts})


def test_an_event_ends_behind_its_blank_line() -> None:
    assert list(events(b"data: a\n\ndata: b\r\n\r\n:c\n\ndata: d")) == [
        Event(9, b"a"),
        Event(20, b"b"),
    ]
    assert list(events(b"event: error\ndata: a\ndata: b\n\n")) == [Event(30, b"a\nb", b"error")]
    assert list(events(b"\xef\xbb\xbfdata:a\r\rdata\r\r")) == [Event(11, b"a"), Event(17, b"")]


@pytest.mark.parametrize("api", PARSE)
def test_what_a_good_stream_says(api: str) -> None:
    stream = PARSE[api](wires.GOOD[api])
    assert stream.error is None
    assert stream.chunk_bytes == BYTES
    assert (stream.prompt_tokens, stream.completion_tokens) == (PROMPT_TOKENS, len(TEXTS))
    assert stream.finish_reason == "length"
    assert stream.response_id in ("chatcmpl-1", "cmpl-1")
    for end, text in zip(stream.chunk_ends, TEXTS, strict=True):
        assert json.dumps(text, ensure_ascii=False).encode() in wires.GOOD[api][:end][-120:]


@pytest.mark.parametrize(("api", "other"), [("chat", "completions"), ("completions", "chat")])
def test_the_stream_of_another_route_has_no_text(api: str, other: str) -> None:
    found = PARSE[api](wires.GOOD[other]).error
    assert found is not None
    assert found[0] is E.EMPTY


def test_a_stream_cut_anywhere_is_never_a_success() -> None:
    for length in range(len(GOOD)):
        assert parse_chat(GOOD[:length]).error is not None
        assert looks_complete(GOOD[:length]) <= (b"[DONE]" in GOOD[:length])


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (sse(TEXT) + DIED + DONE, E.ERROR_EVENT),
        (sse(TEXT) + b"event: error\ndata: {}\n\n" + DONE, E.ERROR_EVENT),
        (sse(TEXT) + b"event: error\ndata: no JSON\n\n" + DONE, E.ERROR_EVENT),
        (sse(TEXT) + b"data: {\n\n" + DIED, E.ERROR_EVENT),
        (DIED + b"data: {\n\n", E.ERROR_EVENT),
        (GOOD + DIED, E.ERROR_EVENT),
        (GOOD.replace(b'"choices"', b'"choice"', 1), E.MALFORMED),
        (sse(TEXT) + b"data: 17\n\n" + sse(USAGE) + DONE, E.MALFORMED),
        (sse(TEXT) + b"data: \xff\n\n" + sse(USAGE) + DONE, E.MALFORMED),
        (sse(TEXT) + b"data: \xff\xfe{\x00}\x00\n\n" + sse(USAGE) + DONE, E.MALFORMED),
        (GOOD + sse(TEXT), E.MALFORMED),
        (GOOD + GOOD, E.MALFORMED),
        (sse(LAST) + sse(USAGE) + DONE, E.EMPTY),
        (DONE, E.EMPTY),
        (b"", E.CUT),
        (GOOD.replace(DONE, b""), E.CUT),
        (sse(TEXT) + sse(LAST) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, "2") + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, -2) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, True) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, 2.0) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, 2**31) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(None, 2) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(0, 2) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, 2) + used(7, None) + DONE, E.NO_USAGE),
        (sse(TEXT) + used(7, 0) + DONE, E.BAD_USAGE),
        (sse(TEXT) + sse(TEXT) + used(7, 1) + DONE, E.BAD_USAGE),
    ],
)
def test_each_damage_has_its_class(stream: bytes, error: E) -> None:
    found = parse_chat(stream).error
    assert found is not None
    assert found[0] is error
    assert found[1] or error is E.CUT


@pytest.mark.parametrize(
    "extra",
    [
        b": keep-alive\n\n",
        b"data:\n\n",
        b"event: ping\ndata: {}\n\n",
        b"id: 1\nretry: 5\n\n",
        b"\n",
    ],
)
def test_keep_alives_change_nothing(extra: bytes) -> None:
    stream = parse_chat(extra + (GOOD + extra).replace(b"\n\n", b"\n\n" + extra))
    assert stream.error is None
    assert stream.chunk_bytes == [2, 2]


def test_an_end_mark_may_come_twice() -> None:
    assert parse_chat(GOOD + DONE).error is None


def test_reasoning_is_text_and_a_running_count_ends_at_its_last_value() -> None:
    thinking = {"choices": [{"delta": {"reasoning": "hm", "content": ""}}]}
    early = {**TEXT, "usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    stream = parse_chat(sse(thinking) + sse(early) + sse(USAGE) + DONE)
    assert stream.error is None
    assert stream.chunk_bytes == [2, 2]
    assert stream.completion_tokens == 2


def test_one_event_is_one_chunk_whatever_its_choices_are() -> None:
    two = {"choices": [*TEXT["choices"], {"index": 1, "delta": {"content": "été"}}, None, {}]}
    other = {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}
    stream = parse_chat(sse(two) + sse(TEXT) + sse(other) + sse(USAGE) + DONE)
    assert stream.error is None
    assert stream.chunk_bytes == [2 + 5, 2]
    assert stream.finish_reason == "stop"


def test_text_that_is_not_unicode_is_counted_and_never_stored() -> None:
    odd = b'data: {"id": "\\udfff", "choices": [{"delta": {"content": "\\ud83d"}}]}\n\n'
    stream = parse_chat(odd + sse(USAGE) + DONE)
    assert stream.error is None
    assert stream.chunk_bytes == [3]
    assert stream.response_id == "?"


@pytest.mark.parametrize("api", PARSE)
def test_the_cheap_test_knows_a_good_stream(api: str) -> None:
    good = wires.GOOD[api]
    assert looks_complete(good)
    # Servers that put spaces into their JSON are known too.
    spaced = b"".join(
        b"data: " + json.dumps(json.loads(e.data)).encode() + b"\n\n"
        for e in events(good)
        if e.data != b"[DONE]"
    )
    assert looks_complete(spaced + DONE)


@pytest.mark.parametrize(
    "stream",
    [
        GOOD.replace(DONE, b""),
        sse(TEXT) + DIED + DONE,
        sse(LAST) + sse(USAGE) + DONE,
        sse(TEXT) + DONE,
        b"",
    ],
)
def test_the_cheap_test_passes_no_common_failure(stream: bytes) -> None:
    assert not looks_complete(stream)
