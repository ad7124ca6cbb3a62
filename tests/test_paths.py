"""Names of machines, users and folders do not get out."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import pytest

from heavyweight import paths
from heavyweight.errors import BadInput


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpubox-7")
    monkeypatch.setattr(getpass, "getuser", lambda: "mallory")
    home = tmp_path / "mallory"
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(home / "cache"))
    paths._replacements.cache_clear()
    yield home
    paths._replacements.cache_clear()


def test_private_names_are_replaced(somebody: Path) -> None:
    text = f"{somebody}/cache/x {somebody}/y gpubox-7 by mallory"
    assert paths.scrub(text) == "<cache>/x ~/y <host> by <user>"


def test_words_that_only_contain_a_name_are_left(somebody: Path) -> None:
    assert paths.scrub("mallorys gpubox-77 xmallory") == "mallorys gpubox-77 xmallory"


def test_the_study_is_found_from_below_and_missed_elsewhere(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    assert paths.study_root(root / "data" / "article") == root
    with pytest.raises(BadInput, match=r"study\.toml"):
        paths.study_root(tmp_path)


@pytest.mark.parametrize("name", ["ollama", "vllm", "coldstart", "server", "Session"])
def test_who_is_called_like_the_studys_own_words_mauls_no_record(
    somebody: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Ollama's installer makes a user of that name, and machines are named by what they serve."""
    monkeypatch.setattr(getpass, "getuser", lambda: name)
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    paths._replacements.cache_clear()
    text = '{"server": "ollama", "session": "b01-vllm", "experiment": "coldstart"}'
    assert paths.scrub(text) == text
    assert paths.scrub(f"{somebody}/x") == "~/x"
