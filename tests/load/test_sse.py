"""The parser: never an exception, the same result for every lawful way to write a stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heavyweight.emulator.wire import END_MARK, answer, error_event, event
from heavyweight.load.sse import Event, events, looks_complete
from heavyweight.load.sse import parse_chat as parse
from heavyweight.records import ErrorClass

TEXT = {"id": "x", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
LAST = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
GOOD = event(TEXT) + event(TEXT) + event(LAST) + event(USAGE) + END_MARK


def body(api: str = "ollama", tokens: int = 5) -> bytes:
    """A good stream of the emulator."""
    writes = answer(api, "m", number=1, prompt_tokens=9, output_tokens=tokens)
    return b"".join(write.data for write in writes)


@given(st.binary(max_size=300))
@example(b"data: " + b"[" * 100_000 + b"\n\n")
@example(b"data: " + b"9" * 5000 + b"\n\n")
@example(b'data: {"choices": [null, 3, {"delta": null}, {"delta": {"content": 5}}]}\n\n')
@example(b'data: {"choices": [{"delta": {"content": "\\ud800"}}], "id": "\\udfff"}\n\n')
@example(b'data: {"choices": [], "usage": {"prompt_tokens": true, "completion_tokens": 1e99}}\n\n')
def test_any_bytes_give_a_stream_and_never_an_exception(data: bytes) -> None:
    stream = parse(data)
    assert len(stream.chunk_ends) == len(stream.chunk_bytes)
    assert all(0 < end <= len(data) for end in stream.chunk_ends)
    for text in (stream.response_id, stream.finish_reason, (stream.error or ("", ""))[1]):
        assert text is None or text.encode("utf-8") is not None  # can be stored


@given(st.lists(st.sampled_from([GOOD[i : i + 7] for i in range(0, len(GOOD), 7)]), max_size=40))
def test_pieces_of_a_stream_in_any_order_never_raise(pieces: list[bytes]) -> None:
    parse(b"".join(pieces))


@given(
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(
        st.sampled_from([b": keep-alive", b"id: 7", b"retry: 10", b"event:", b""]), max_size=5
    ),
    st.booleans(),
    st.sampled_from(["ollama", "vllm"]),
)
def test_line_ends_comments_and_other_fields_change_nothing(
    end: bytes, extra: list[bytes], bom: bool, api: str
) -> None:
    plain = body(api)
    padding = b"".join(line + end for line in extra)
    written = (b"\xef\xbb\xbf" if bom else b"") + padding
    written += b"".join(padding + block + end * 2 for block in plain.split(b"\n\n") if block)
    got, expected = parse(written), parse(plain)
    assert got.error is None
    assert got.chunk_bytes == expected.chunk_bytes
    assert (got.prompt_tokens, got.completion_tokens) == (9, 5)
    assert got.finish_reason == expected.finish_reason == "length"
    assert got.response_id == expected.response_id


def test_an_event_ends_behind_its_blank_line() -> None:
    assert list(events(b"data: a\n\ndata: b\r\n\r\n:c\n\ndata: d")) == [
        Event(9, b"a"),
        Event(20, b"b"),
    ]
    assert list(events(b"event: error\ndata: a\ndata: b\n\n")) == [Event(30, b"a\nb", b"error")]


@given(st.integers(0, len(GOOD)))
def test_a_stream_cut_anywhere_is_never_a_success(length: int) -> None:
    whole = parse(GOOD[:length]).error is None
    assert whole == (length == len(GOOD))


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (event(TEXT) + error_event("died") + END_MARK, ErrorClass.ERROR_EVENT),
        (event(TEXT) + b"event: error\ndata: {}\n\n" + END_MARK, ErrorClass.ERROR_EVENT),
        (event(TEXT) + b"data: {\n\n" + error_event("died"), ErrorClass.ERROR_EVENT),
        (error_event("died") + b"data: {\n\n", ErrorClass.ERROR_EVENT),
        (GOOD.replace(b'"choices"', b'"choice"', 1), ErrorClass.MALFORMED),
        (event(TEXT) + b"data: 17\n\n" + event(USAGE) + END_MARK, ErrorClass.MALFORMED),
        (event(TEXT) + b"data: \xff\n\n" + event(USAGE) + END_MARK, ErrorClass.MALFORMED),
        (event(LAST) + event(USAGE) + END_MARK, ErrorClass.EMPTY),
        (END_MARK, ErrorClass.EMPTY),
        (b"", ErrorClass.CUT),
        (event(TEXT) + event(LAST) + END_MARK, ErrorClass.NO_USAGE),
        (GOOD.replace(b'"completion_tokens":2', b'"completion_tokens":0'), ErrorClass.BAD_USAGE),
        (GOOD.replace(b'"completion_tokens":2', b'"completion_tokens":"2"'), ErrorClass.NO_USAGE),
        (GOOD.replace(b'"completion_tokens":2', b'"completion_tokens":-2'), ErrorClass.NO_USAGE),
        (GOOD.replace(END_MARK, b""), ErrorClass.CUT),
    ],
)
def test_each_damage_has_its_class(stream: bytes, error: ErrorClass) -> None:
    found = parse(stream).error
    assert found is not None
    assert found[0] is error


def test_reasoning_is_text_and_a_running_count_ends_at_its_last_value() -> None:
    thinking = {"choices": [{"delta": {"reasoning": "hm", "content": ""}}]}
    early = {**TEXT, "usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    stream = parse(event(thinking) + event(early) + event(USAGE) + END_MARK)
    assert stream.error is None
    assert stream.chunk_bytes == [2, 2]
    assert stream.completion_tokens == 2


@pytest.mark.parametrize("api", ["ollama", "vllm"])
def test_the_cheap_test_knows_a_good_stream(api: str) -> None:
    assert looks_complete(body(api))
    # Servers that put spaces into their JSON are known too.
    spaced = b"".join(
        b"data: " + json.dumps(json.loads(e.data)).encode() + b"\n\n"
        for e in events(body(api))
        if e.data != b"[DONE]"
    )
    assert looks_complete(spaced + END_MARK)


@pytest.mark.parametrize(
    "stream",
    [
        GOOD.replace(END_MARK, b""),
        event(TEXT) + error_event("died") + END_MARK,
        event(LAST) + event(USAGE) + END_MARK,
        event(TEXT) + END_MARK,
        b"",
    ],
)
def test_the_cheap_test_passes_no_common_failure(stream: bytes) -> None:
    assert not looks_complete(stream)
