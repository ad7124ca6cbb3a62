"""What is asked of a server: the body of each API, to the byte where the study rests on it."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from heavyweight.errors import BadInput
from heavyweight.load.apis import APIS, api_for
from heavyweight.load.rows import row
from heavyweight.load.spec import Api
from heavyweight.records import ErrorClass
from heavyweight.workload import Prompt
from tests.load import wires

PROMPT = Prompt("p", ({"role": "system", "content": "a b"}, {"role": "user", "content": "été"}))
GREEDY = {"temperature": 0, "top_p": 1}
COUNTED = {"stream": True, "stream_options": {"include_usage": True}}


def test_the_names_are_those_of_a_spec() -> None:
    assert tuple(APIS) == get_args(Api) == wires.APIS
    with pytest.raises(BadInput, match="one of chat, completions"):
        api_for("responses")


def test_the_body_of_a_chat_is_the_reference_runs() -> None:
    body = api_for("chat").body("m", PROMPT, 6, {"ignore_eos": True})
    assert json.dumps(body).encode() == (
        b'{"model": "m", "messages": [{"role": "system", "content": "a b"}, '
        b'{"role": "user", "content": "\\u00e9t\\u00e9"}], "max_tokens": 6, "temperature": 0, '
        b'"top_p": 1, "stream": true, "stream_options": {"include_usage": true}, '
        b'"ignore_eos": true}'
    )


@pytest.mark.parametrize(
    ("api", "path", "asked"),
    [
        ("completions", "/v1/completions",
         {"prompt": "a b\n\nété", "max_tokens": 6, **GREEDY, **COUNTED}),
        ("ollama-chat", "/api/chat",
         {"messages": list(PROMPT.messages), "stream": True,
          "options": {"num_predict": 6, **GREEDY, "repeat_penalty": 1}}),
        ("ollama-generate", "/api/generate",
         {"system": "a b", "prompt": "été", "stream": True,
          "options": {"num_predict": 6, **GREEDY, "repeat_penalty": 1}}),
    ],
)  # fmt: skip
def test_each_api_asks_for_the_same_in_its_own_words(
    api: str, path: str, asked: dict[str, object]
) -> None:
    spoken = api_for(api)
    assert spoken.path == path
    assert json.loads(json.dumps(spoken.body("m", PROMPT, 6, {}))) == {"model": "m", **asked}


def test_further_fields_win_and_options_are_merged() -> None:
    for api in APIS:
        body = api_for(api).body("m", PROMPT, 6, {"keep_alive": "5m", "model": "n"})
        assert (body["keep_alive"], body["model"]) == ("5m", "n")
    extra = {"options": {"num_ctx": 2048, "temperature": 1}}
    options = api_for("ollama-chat").body("m", PROMPT, 6, extra)["options"]
    assert options == {
        "num_predict": 6, "temperature": 1, "top_p": 1, "repeat_penalty": 1, "num_ctx": 2048,
    }  # fmt: skip
    assert extra == {"options": {"num_ctx": 2048, "temperature": 1}}


@pytest.mark.parametrize("api", wires.APIS)
def test_the_mark_stands_once_in_each_event(api: str) -> None:
    for event in wires.events(api):
        assert event.count(api_for(api).mark) == 1
    framed = wires.chunked(api, wires.events(api))
    assert framed.count(api_for(api).mark) == len(wires.events(api))


@pytest.mark.parametrize(
    ("counted", "asked", "error"),
    [
        (4, 4, None),
        (4, 8, None),  # it stopped early
        (4, 2, None),  # it went on, and sent what it counted
        (8, 8, None),  # two tokens a chunk
        (8, 4, ErrorClass.BAD_USAGE),
        (3, 4, ErrorClass.BAD_USAGE),
    ],
)
@pytest.mark.parametrize("api", wires.APIS)
def test_a_count_beside_the_chunks_and_what_was_asked(
    api: str, counted: int, asked: int, error: ErrorClass | None
) -> None:
    name = b"eval_count" if api.startswith("ollama") else b"completion_tokens"
    good = wires.GOOD[api]
    body = good.replace(b'"%b":4' % name, b'"%b":%d' % (name, counted))
    assert (body != good) == (counted != 4)
    exchange = wires.receive(api, [wires.sized(api, body)])
    assert row(exchange, wires.START, start_id=1, output_tokens=asked)["error"] == error
