"""Which names of models are the same one."""

from __future__ import annotations

import pytest

from heavyweight.load.rows import other_model


@pytest.mark.parametrize(
    ("asked", "answered", "other"),
    [
        ("smollm2-135m", "smollm2-135m", False),
        ("smollm2-135m", "smollm2-135m:latest", False),  # Ollama's tag
        ("gpt-4", "gpt-4-0613", False),  # a version
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct", False),
        ("qwen3:8b", "QWEN3:8B", False),
        ("smollm2-135m", "llama-3.1-8b", True),
        ("a/same-name-not", "a/other", True),
        ("smollm2-135m", None, False),  # it does not tell
        ("smollm2-135m", "", False),
        ("", "anything", False),
    ],
)
def test_another_model(asked: str, answered: str | None, other: bool) -> None:
    assert other_model(asked, answered) is other
