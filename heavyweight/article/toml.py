"""Where the article lies as data, and how it is read."""

from __future__ import annotations

from pathlib import Path

from heavyweight.paths import study_root
from heavyweight.toml import REMEDY, Strict, place, read_toml

__all__ = ["REMEDY", "Strict", "article_folder", "place", "read_toml"]


def article_folder() -> Path:
    """data/article of the study that the working directory lies in."""
    return study_root() / "data" / "article"
