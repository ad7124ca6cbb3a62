"""Keys come from the environment, and are found in every form in which a server may say them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight import keys
from heavyweight.errors import BadInput
from heavyweight.paths import scrub
from heavyweight.text import plain

KEY = 'sk-/p+l"a=n t é0042'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", KEY)


@pytest.mark.parametrize(
    ("name", "secret"),
    [("HF_TOKEN", True), ("HUGGING_FACE_HUB_TOKEN", True), ("OPENAI_API_KEY", True),
     ("AWS_SECRET_ACCESS_KEY", True), ("AWS_ACCESS_KEY_ID", True), ("PGPASSWORD", True),
     ("GITHUB_TOKEN", True), ("HOME", False), ("PWD", False), ("OLDPWD", False), ("PATH", False),
     ("TOKENIZERS_PARALLELISM", False), ("KEYBOARD", False), ("SSH_AUTH_SOCK", False)],
)  # fmt: skip
def test_a_variable_says_by_its_name_that_it_is_secret(name: str, secret: bool) -> None:
    assert keys.is_secret(name) == secret


@pytest.mark.parametrize(
    "said",
    [f"Bearer {KEY}", json.dumps({"headers": KEY}), quote(KEY), quote(KEY, safe=""),
     *(base64.b64encode(b"x" * n + KEY.encode() + b"y").decode() for n in range(4)),
     base64.urlsafe_b64encode(b"me:" + KEY.encode()).decode(), f"x{KEY}y{KEY}"],
)  # fmt: skip
def test_a_key_is_hidden_in_every_form(said: str) -> None:
    shown = scrub(said)
    assert keys.SECRET in shown
    assert KEY[:8] not in shown
    assert "plan" not in shown
    assert quote(KEY)[:10] not in shown
    assert len(shown) < len(said)


@given(st.binary(max_size=8), st.text(st.characters(codec="ascii"), min_size=12), st.binary())
def test_no_half_of_a_key_is_left_in_base64(before: bytes, value: str, after: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_TOKEN", value.replace("\0", "x") + "!")
        value = value.replace("\0", "x") + "!"
        coded = base64.b64encode(before + value.encode() + after).decode()
        assert keys.SECRET in keys.hidden(coded)


def test_short_and_common_values_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "EMPTY")
    monkeypatch.setenv("SERIAL_KEY", "123456789")
    assert keys.hidden("EMPTY 123456789") == "EMPTY 123456789"


def test_a_header_names_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdef")
    for written in ("Bearer $A_TOKEN", "Bearer ${A_TOKEN}"):
        keys.refuse_literal("Authorization", written)
        assert keys.expanded("Authorization", written) == "Bearer abcdef"
    keys.refuse_literal("X-Tenant", "blue, $5")  # no variable, and no key
    assert keys.expanded("X-Tenant", "blue") == "blue"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("authorization", "Bearer abcdef", "typed"), ("X-API-KEY", "abcdef", "typed"),
     ("Cookie", "abcdef", "typed"), ("x-goog-auth", "abcdef", "typed"),
     ("X", "$HOME", "ends in KEY"), ("X", "$NOT_THERE_KEY", "is not set"),
     ("X", "$TWO_LINES_KEY", "no header can")],
)  # fmt: skip
def test_other_keys_are_refused_and_not_repeated(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWO_LINES_KEY", "abcdef\r\nX: y")
    with pytest.raises(BadInput, match=told) as refused:
        keys.refuse_literal(name, value)
    assert "abcdef" not in str(refused.value)


def test_what_a_terminal_would_obey_is_shown_as_a_mark() -> None:
    said = "\x1b]0;title\x07\x1b[2Jred\u202e\x9b1m\r\nkept\ttoo é \ud800"
    assert plain(said) == "\ufffd]0;title\ufffd\ufffd[2Jred\ufffd\ufffd1m\ufffd\nkept\ttoo é ?"
