"""Finding a GPU or a model by a name as a user types it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar

from heavyweight.errors import BadInput

T = TypeVar("T")


def pick(kind: str, name: str, table: Mapping[str, T], file: str) -> T:
    """The entry of that name; case, blanks and hyphens do not count: ``rtx4090`` is RTX 4090.

    Args:
        kind: what is looked for, in a message.
        name: as typed.
        table: entries by their names.
        file: where they are described.

    Raises:
        BadInput: no such entry; the remedy names the nearest.
    """
    known = {_plain(one): one for one in table}
    if _plain(name) in known:
        return table[known[_plain(name)]]
    near = [one for one in known if one.startswith(_plain(name))]
    near = near or difflib.get_close_matches(_plain(name), list(known), n=1)
    raise BadInput(
        f"unknown {kind} {name!r}",
        f"one of {', '.join(table)}",
        (f"did you mean {' or '.join(repr(known[one]) for one in near)}?" if near else "choose one")
        + f" ({kind}s are described in {file})",
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
