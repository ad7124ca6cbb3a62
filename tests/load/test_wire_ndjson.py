"""Ollama's own API: what a stream says, and the class of each damage."""

from __future__ import annotations

import json

import pytest

from heavyweight.load.ndjson import lines, looks_complete, parse
from heavyweight.records import ErrorClass as E
from tests.load import wires
from tests.load.wires import BYTES, PROMPT_TOKENS, TEXTS, events, line

APIS = ("ollama-chat", "ollama-generate")
TEXT = {"message": {"role": "assistant", "content": "hi"}, "done": False}
LAST = {
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "length",
    "prompt_eval_count": 7,
    "eval_count": 2,
}
GOOD = line(TEXT) + line(TEXT) + line(LAST)
ERROR = line({"error": "an error was encountered while running the model"})


def last(**changes: object) -> bytes:
    """The last object with changes; None leaves a field out."""
    changed = {**LAST, **changes}
    return line({name: value for name, value in changed.items() if value is not None})


@pytest.mark.parametrize("api", APIS)
def test_what_a_good_stream_says(api: str) -> None:
    stream = parse(wires.GOOD[api])
    assert stream.error is None
    assert stream.chunk_bytes == BYTES
    behind = [sum(map(len, events(api)[: n + 1])) for n in range(len(TEXTS))]
    assert stream.chunk_ends == behind
    assert (stream.prompt_tokens, stream.completion_tokens) == (PROMPT_TOKENS, len(TEXTS))
    assert stream.finish_reason == "length"
    assert stream.response_id is None


@pytest.mark.parametrize("api", APIS)
def test_a_stream_cut_anywhere_is_never_a_success(api: str) -> None:
    good = wires.GOOD[api]
    for length in range(len(good)):
        whole = length == len(good) - 1  # all but the last line end, which may be missing
        found = parse(good[:length]).error
        assert (found is None) == whole
        assert found is None or found[0] is E.CUT
        assert looks_complete(good[:length]) <= (b'"eval_count"' in good[:length])


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (line(TEXT) + ERROR, E.ERROR_EVENT),
        (line(TEXT) + ERROR.rstrip(), E.ERROR_EVENT),
        (line(TEXT) + b"{\n" + ERROR, E.ERROR_EVENT),
        (GOOD + ERROR, E.ERROR_EVENT),
        (line(TEXT) + b"{\n" + line(LAST), E.MALFORMED),
        (line(TEXT) + b"17\n" + line(LAST), E.MALFORMED),
        (line(TEXT) + b"\xff\xfe{\x00}\x00\n" + line(LAST), E.MALFORMED),
        (GOOD.replace(b'"done":false', b'"done":"no"', 1), E.MALFORMED),
        (GOOD.replace(b'"done":false', b'"d":false', 1), E.MALFORMED),
        (b"data: " + GOOD, E.MALFORMED),
        (line(TEXT) + b"\xff\xfe not JSON", E.MALFORMED),
        (GOOD + line(TEXT), E.MALFORMED),
        (GOOD + line(LAST), E.MALFORMED),
        (line(LAST), E.EMPTY),
        (b"", E.CUT),
        (line(TEXT), E.CUT),
        (GOOD[:-5], E.CUT),
        (line(TEXT) + last(prompt_eval_count=None), E.NO_USAGE),  # the prompt was cached
        (line(TEXT) + last(prompt_eval_count=0), E.NO_USAGE),
        (line(TEXT) + last(eval_count=None), E.NO_USAGE),
        (line(TEXT) + last(eval_count="2"), E.NO_USAGE),
        (line(TEXT) + last(eval_count=0), E.BAD_USAGE),
        (line(TEXT) + line(TEXT) + last(eval_count=1), E.BAD_USAGE),
    ],
)
def test_each_damage_has_its_class(stream: bytes, error: E) -> None:
    found = parse(stream).error
    assert found is not None
    assert found[0] is error
    assert found[1]


@pytest.mark.parametrize(
    "stream",
    [
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"\n", b"\n\n \n"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.rstrip(),
        b"".join(json.dumps(json.loads(text)).encode() + b"\n" for _, text in lines(GOOD)),
    ],
)
def test_lawful_manners_change_nothing(stream: bytes) -> None:
    found = parse(stream)
    assert found.error is None
    assert found.chunk_bytes == [2, 2]
    assert looks_complete(stream)


@pytest.mark.parametrize("place", ["message", "top"])
def test_what_a_model_thinks_is_text(place: str) -> None:
    thought = {"thinking": "hm ", "content": ""}
    first = {"message": thought} if place == "message" else {"thinking": "hm ", "response": ""}
    stream = parse(line({**first, "done": False}) + line(TEXT) + line(LAST))
    assert stream.error is None
    assert stream.chunk_bytes == [3, 2]


def test_the_last_token_may_have_no_text_and_a_chunk_several_tokens() -> None:
    assert parse(line(TEXT) + line(TEXT) + last(eval_count=3)).error is None
    assert parse(line(TEXT) + last(eval_count=8)).error is None


@pytest.mark.parametrize(
    "stream",
    [line(TEXT), line(TEXT) + ERROR, line(LAST), line(TEXT) + last(eval_count=None), b""],
)
def test_the_cheap_test_passes_no_common_failure(stream: bytes) -> None:
    assert not looks_complete(stream)
