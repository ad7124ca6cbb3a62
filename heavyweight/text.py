"""Text: what others sent, kept and shown as text and nothing else; and counts in words."""

from __future__ import annotations

import re

# Control characters but for the end of a line and the tab, and those that turn the direction of
# writing: a terminal would obey them.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with a mark in place of what a terminal would obey, or no file could hold."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode())


def count_of(count: int, word: str) -> str:
    """A number of things: ``1 user``, ``2 users``."""
    return f"{count} {word}{'s' if count != 1 else ''}"
