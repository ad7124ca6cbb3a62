"""A session's parameters: typed, and nothing unknown among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from heavyweight.design import load_study
from heavyweight.errors import BadInput
from heavyweight.parameters import Parameters

STUDY = load_study(Path(__file__).parents[1] / "study.toml")


def test_papermill_hands_lists_over_as_text() -> None:
    assert Parameters.checked({"arm": "vllm-bf16", "users": "[1, 8]"}).users == [1, 8]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"arm": "a", "usres": [1]}, "did you mean 'users'"),
        ({"arm": "a", "users": "[1, 8"}, "users"),
        ({"arm": "a", "users": "one"}, "users"),
        ({"arm": "a", "users": [0]}, "users"),
        ({"arm": "a", "users": [1.5]}, "users"),
        ({"arm": 3}, "arm"),
        ({"arm": "a", "block": 0}, "block"),
        ({"arm": "a", "block": "2"}, "block"),
        ({"arm": "a", "port": 70000}, "port"),
        ({"arm": "a", "run": "../elsewhere"}, "run"),
        ({}, "arm"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(values: dict, told: str) -> None:
    with pytest.raises(BadInput, match="Remedy") as error:
        Parameters.checked(values)
    assert told in str(error.value)


def test_a_notebooks_mistyped_variable_is_refused() -> None:
    namespace = {"arm": "a", "In": [], "Out": {}, "_": 1, "print": print, "blok": 2}
    with pytest.raises(BadInput, match="did you mean 'block'"):
        Parameters.from_namespace(namespace)
    del namespace["blok"]
    assert Parameters.from_namespace(namespace).arm == "a"


def test_a_url_belongs_to_a_server_that_the_study_does_not_start() -> None:
    given = Parameters.checked({"arm": "ollama-q4", "base_url": "http://127.0.0.1:1"})
    with pytest.raises(BadInput, match="openai"):
        given.applied_to(STUDY.arm("ollama-q4"))
    assert given.applied_to(STUDY.arm("openai")).base_url == "http://127.0.0.1:1"
    with pytest.raises(BadInput, match="base-url"):
        Parameters.checked({"arm": "openai"}).applied_to(STUDY.arm("openai"))
