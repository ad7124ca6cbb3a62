"""Tokens and keys: taken from the environment alone, and kept out of all that is written.

A variable whose name says that it holds a secret (HF_TOKEN, OPENAI_API_KEY, PGPASSWORD) is one. A
header names it, ``Authorization: Bearer $OPENAI_API_KEY``, and only the process that sends the
header puts its value in; :func:`heavyweight.paths.scrub` takes the values of all such variables out
of every text that is kept, since a server may send them back.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from heavyweight.errors import BadInput

SECRET = "<secret>"
LEAST = 6  # characters; shorter values (EMPTY, none) are no secrets and occur in any text
_NAME = re.compile(r"(?i)\w*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(?:_ID)?")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_HEADER = re.compile(
    r"(?i)(?:proxy-)?authorization|cookie|.*(?:key|token|secret|auth(?!or)|password).*"
)


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return _NAME.fullmatch(name) is not None


def hidden(text: str) -> str:
    """The text with :data:`SECRET` in place of the values of all secret variables.

    Found are the values as they are, in base64, in JSON and in URLs.
    """
    known = frozenset(
        value
        for name, value in os.environ.items()
        if is_secret(name) and len(value) >= LEAST and not (value.isdigit() and len(value) < 16)
    )
    return _pattern(known).sub(SECRET, text) if known else text


@lru_cache(maxsize=8)
def _pattern(values: frozenset[str]) -> re.Pattern[str]:
    forms = {form for value in values for form in _forms(value) if len(form) >= LEAST}
    return re.compile("|".join(map(re.escape, sorted(forms, key=lambda form: (-len(form), form)))))


def _forms(value: str) -> Iterable[str]:
    yield from (value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1])
    data = value.encode("utf-8", "surrogateescape")
    for before in range(3):  # in base64 a text looks different at each of three places
        coded = base64.b64encode(bytes(before) + data).decode()
        whole = coded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield from (whole, whole.replace("+", "-").replace("/", "_"))


def refuse_literal(name: str, value: str) -> None:
    """Refuse a header that would carry a key from the command line, which others can read.

    Args:
        name: of the header.
        value: as it was given.

    Raises:
        BadInput: the header's name says that it carries a key, and no variable is named; or one
            that is not set, or whose name does not say that it is a secret. No value is repeated.
    """
    named = _variables(value)
    if _HEADER.fullmatch(name) and not named:
        raise BadInput(
            f"--header {name} with a value that was typed",
            "the name of a variable: keys come from the environment alone",
            f"export MY_KEY=..., then --header '{name}: $MY_KEY' in single quotes",
        )
    for variable in named:
        if not is_secret(variable):
            raise BadInput(
                f"--header {name} names the variable {variable}",
                "one whose name ends in KEY, TOKEN, SECRET or PASSWORD: its value is then kept out"
                " of all that is written",
                "choose such a name",
            )
    expanded(name, value)


def refuse_typed(where: str, values: Mapping[str, Any], flags: Sequence[str] = ()) -> None:
    """Refuse a key that was typed where all is written down with the run.

    Args:
        where: of them, for the message.
        values: by name; those within tables and lists are looked at, too.
        flags: of a command line, ``--name value`` or ``--name=value``.

    Raises:
        BadInput: a name says that its value is a secret. No value is repeated.
    """
    told = {}
    for flag, after in zip(flags, [*flags[1:], ""], strict=False):
        if flag.startswith("-"):
            name, _, value = flag.partition("=")
            told[name] = value or after
    for name, value in _named({**values, **told}):
        if is_secret(name.lstrip("-").replace("-", "_")) and len(value) >= LEAST:
            raise BadInput(
                f"{where}: a value typed for {name}",
                "no key: these settings are written down with the run",
                "leave it out; `heavyweight load --header` takes a key from the environment",
            )


def _named(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """All texts of a table with the name that is nearest to each."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(item, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item, name)


def _variables(value: str) -> list[str]:
    return [first or second for first, second in _VARIABLE.findall(value)]


def expanded(name: str, value: str) -> str:
    """A header's value with the variables that it names; called where it is sent.

    Args:
        name: of the header.
        value: as it was given.

    Raises:
        BadInput: a variable is not set, or holds what no header can.
    """
    for variable in _variables(value):
        found = os.environ.get(variable, "")
        if not found or not sendable(found):
            raise BadInput(
                f"--header {name}: the variable {variable} "
                + ("holds what no header can" if found else "is not set"),
                "a key in one line of plain letters",
                f"export {variable}=... where the load is made",
            )
    return _VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], value)


def sendable(value: str) -> bool:
    """Whether a header can hold it: Latin-1, without line ends."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return value.isprintable()
