"""Any bytes, damaged streams and every lawful manner of writing: the parsers of the four APIs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heavyweight.load.apis import APIS, Api, api_for
from heavyweight.load.stream import Stream
from heavyweight.records import REQUEST_SCHEMA
from tests.load import wires
from tests.load.wires import DONE, PROMPT_TOKENS

apis = st.sampled_from(wires.APIS)
fuzz = settings(max_examples=150)


def check(api: Api, body: bytes) -> Stream:
    """What holds of any body."""
    stream = api.parse(body)
    ends, sizes = stream.chunk_ends, stream.chunk_bytes
    assert len(ends) == len(sizes)
    assert ends == sorted(set(ends))
    assert all(0 < end <= len(body) for end in ends)
    assert all(0 < size <= 3 * len(body) for size in sizes)
    assert api.parse(body) == stream
    error = stream.error
    values = {
        "response_id": stream.response_id,
        "chunk_ns": ends,
        "chunk_bytes": sizes,
        "prompt_tokens": stream.prompt_tokens,
        "completion_tokens": stream.completion_tokens,
        "finish_reason": stream.finish_reason,
        "error": None if error is None else str(error[0]),
        "error_detail": None if error is None else error[1],
    }
    for name, value in values.items():
        pa.array([value], REQUEST_SCHEMA.field(name).type).validate(full=True)
    if error is None:  # a success says what a success must say
        assert stream.ended
        assert stream.prompt_tokens
        assert ends
        assert stream.completion_tokens is not None
        assert stream.completion_tokens >= len(ends)
    assert isinstance(api.looks_complete(body), bool)
    return stream


DEEP = [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"1e999999", b"-", b'"', b"NaN", b"\x00"]
ODD = [
    b'{"choices": [null, 3, {"delta": null}, {"delta": {"content": 5}}, {"text": []}]}',
    b'{"choices": [{"delta": {"content": "\\ud800"}, "text": "\\udc00"}], "id": "\\udfff"}',
    b'{"choices": [], "usage": {"prompt_tokens": true, "completion_tokens": 1e99}}',
    b'{"choices": [{"finish_reason": "\\ud800"}, {"finish_reason": {}}], "usage": []}',
    b'{"message": 5, "response": {}, "thinking": "\\ud800", "done": true, "eval_count": NaN}',
    b'{"done": true, "done_reason": 7, "eval_count": 99999999999, "prompt_eval_count": -1}',
    b'{"error": {"a": "\\ud800"}}',
]


@pytest.mark.parametrize("api", wires.APIS)
@pytest.mark.parametrize("text", DEEP + ODD)
def test_json_of_every_kind(api: str, text: bytes) -> None:
    ndjson = api.startswith("ollama")
    body = text + b"\n" if ndjson else b"data: " + text + b"\n\n"
    check(api_for(api), body)
    check(api_for(api), wires.GOOD[api] + body)
    check(api_for(api), body + wires.GOOD[api])


@fuzz
@given(apis, st.binary(max_size=300))
@example("chat", b"\xef\xbb\xbf")
@example("ollama-chat", b"\xef\xbb\xbf{}")
def test_any_bytes(api: str, body: bytes) -> None:
    check(api_for(api), body)


@fuzz
@given(
    apis,
    st.lists(
        st.sampled_from(
            [
                b"data:", b"event: error", b": ", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf",
                b"[DONE]", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\ud83d", b"null",
                b"true", b"0", b"-1", b"1e9", b"\xc3\xa9", b"\xff",
                *(f'"{name}":'.encode() for name in (
                    "choices", "delta", "content", "text", "usage", "prompt_tokens", "error",
                    "completion_tokens", "message", "response", "thinking", "done", "eval_count",
                    "prompt_eval_count",
                )),
            ]
        ),
        max_size=60,
    ).map(b"".join),
)  # fmt: skip
def test_words_of_the_formats_in_any_order(api: str, body: bytes) -> None:
    check(api_for(api), body)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A good stream with a few damages: cut off, doubled, exchanged, inserted, flipped."""
    body = whole
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        kind = draw(st.sampled_from(("cut", "drop", "double", "exchange", "insert", "flip")))
        if kind == "cut":
            body = body[:last]
        elif kind == "drop":
            body = body[:first] + body[last:]
        elif kind == "double":
            body = body[:last] + body[first:last] + body[last:]
        elif kind == "exchange":
            body = body[last:] + body[first:last] + body[:first]
        elif kind == "insert":
            body = body[:first] + draw(st.binary(min_size=1, max_size=8)) + body[first:]
        elif body:
            place = min(first, len(body) - 1)
            flipped = body[place] ^ draw(st.integers(1, 255))
            body = body[:place] + bytes([flipped]) + body[place + 1 :]
    return body


@fuzz
@given(apis.flatmap(lambda api: st.tuples(st.just(api), damaged(wires.GOOD[api]))))
def test_damaged_streams(case: tuple[str, bytes]) -> None:
    name, body = case
    check(api_for(name), body)


@fuzz
@given(st.sampled_from(wires.APIS), st.data())
def test_whole_events_dropped_doubled_and_exchanged(api: str, data: st.DataObject) -> None:
    events = wires.events(api)
    drawn = data.draw(st.lists(st.sampled_from(range(len(events))), max_size=2 * len(events)))
    stream = check(api_for(api), b"".join(events[place] for place in drawn))
    if stream.error is None:
        # Nothing stands behind the end, the count came, and no more text than was counted.
        assert drawn[-1] == len(events) - 1
        assert len(stream.chunk_ends) <= len(wires.TEXTS)


@fuzz
@given(apis.flatmap(lambda api: st.tuples(st.just(api), damaged(wires.GOOD[api]))), st.data())
def test_nothing_is_booked_before_its_bytes_came(
    case: tuple[str, bytes], data: st.DataObject
) -> None:
    api, body = api_for(case[0]), case[1]
    behind_lines = [match.end() for match in re.finditer(rb"\n", body)]
    if not behind_lines:
        return
    there = data.draw(st.sampled_from(behind_lines))
    whole, part = api.parse(body), api.parse(body[:there])
    assert part.chunk_ends == [end for end in whole.chunk_ends if end <= there]
    assert part.chunk_bytes == whole.chunk_bytes[: len(part.chunk_ends)]


texts = st.lists(
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=6), min_size=1, max_size=6
)
Writer = Callable[[bytes], list[bytes]]


def _as_json(draw: st.DrawFn, payload: dict[str, object]) -> str:
    """JSON in one of the ways in which servers write it."""
    escaped = draw(st.booleans())
    text = json.dumps(
        payload,
        ensure_ascii=escaped,
        separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
        indent=draw(st.sampled_from([None, 0, 2])),
    )
    try:
        text.encode()
    except UnicodeEncodeError:  # half a pair: it can only be written escaped
        text = json.dumps(payload)
    return text


@st.composite
def written(draw: st.DrawFn, api: str, said: list[str]) -> bytes:
    """A good stream in one of its lawful manners."""
    line_end = draw(st.sampled_from([b"\n", b"\r\n"] + [b"\r"] * (not api.startswith("ollama"))))
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    if api.startswith("ollama"):
        for payload in wires.payloads(api, said):
            blank = line_end * draw(st.integers(0, 1))
            body += blank + _as_json(draw, payload).replace("\n", " ").encode() + line_end
        return body if draw(st.booleans()) else body.rstrip()
    extra = st.sampled_from([b"", b":", b": keep-alive", b"id: 7", b"retry: 10", b"event: message"])
    for payload in wires.payloads(api, said):
        for _ in range(draw(st.integers(0, 2))):
            body += draw(extra) + line_end
        field = draw(st.sampled_from([b"data:", b"data: "]))
        for part in _as_json(draw, payload).split("\n"):  # several lines of data are one event
            body += field + part.encode() + line_end
        body += draw(extra).join([b"", line_end]) + line_end
    return body + DONE.replace(b"\n", line_end)


@fuzz
@given(
    st.tuples(apis, texts).flatmap(
        lambda case: st.tuples(st.just(case[0]), st.just(case[1]), written(*case))
    )
)
def test_every_lawful_manner_says_the_same(case: tuple[str, list[str], bytes]) -> None:
    name, said, body = case
    api = api_for(name)
    stream = check(api, body)
    assert stream.error is None
    assert stream.chunk_bytes == [len(text.encode("utf-8", "surrogatepass")) for text in said]
    assert (stream.prompt_tokens, stream.completion_tokens) == (PROMPT_TOKENS, len(said))
    assert stream.finish_reason == "length"
    assert stream.response_id == api.parse(wires.GOOD[name]).response_id


def test_all_apis_are_fuzzed() -> None:
    assert set(APIS) == set(wires.APIS)
