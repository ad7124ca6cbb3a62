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
