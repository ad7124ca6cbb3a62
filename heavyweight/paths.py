"""Where things lie, and how their names are kept out of what is published."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from functools import lru_cache
from pathlib import Path

import platformdirs
import psutil

from heavyweight.errors import BadInput
from heavyweight.keys import hidden
from heavyweight.kinds import EXPERIMENTS, SERVERS

STUDY_FILE = "study.toml"
ELSEWHERE = "<server>"  # in place of another machine's name


def cache_dir() -> Path:
    """The user's cache folder of the study: servers, models, locks.

    ``$HEAVYWEIGHT_CACHE`` where it is set, else the platform's cache folder. It is created.
    """
    path = Path(os.environ.get("HEAVYWEIGHT_CACHE") or platformdirs.user_cache_dir("heavyweight"))
    path = path.expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"the cache folder cannot be made: {error.strerror}",
            "a folder that can be written to",
            "set HEAVYWEIGHT_CACHE to one",
        ) from error
    return path


def study_root(start: Path | None = None) -> Path:
    """The folder of the study: the nearest one upwards that holds study.toml.

    Args:
        start: where to begin; the working directory by default.

    Raises:
        BadInput: no study.toml in any folder above.
    """
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / STUDY_FILE).is_file():
            return folder
    raise BadInput(
        f"no {STUDY_FILE} in the working directory or above it",
        "to be run inside a checkout of the study",
        "change to the folder of the checkout",
    )


def study_file(run: Path) -> Path:
    """The study.toml that a run's sessions read: the run's own copy, else that of the checkout.

    A copy from which the name of another machine was taken out does not say where to go.

    Args:
        run: the run's folder; it need not be there yet.
    """
    copy = run / STUDY_FILE
    if copy.is_file() and ELSEWHERE not in copy.read_text(encoding="utf-8"):
        return copy
    return study_root() / STUDY_FILE


@lru_cache(maxsize=8)
def _replacements(cache: str, root: str | None) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns of private names, longest paths first, and what stands in their place."""
    paths = [(cache, "<cache>"), (str(Path.home()), "~")]
    if root:
        paths.append((root, "<study>"))
    rules = [
        (re.compile(re.escape(path) + r"(?=$|[^\w.-])"), name)
        for path, name in sorted(paths, key=lambda p: -len(p[0]))
        if len(path) > 1
    ]
    addresses = {
        one.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in (socket.AF_INET, socket.AF_INET6)
    } - {"127.0.0.1", "::1"}
    rules += [
        (re.compile(rf"(?<![\w.:]){re.escape(address)}(?![\w:]|\.\d)"), "<address>")
        for address in sorted(addresses)
    ]
    words = [(socket.gethostname(), "<host>")]
    with contextlib.suppress(KeyError, OSError):  # a container's user need not be in passwd
        words.append((getpass.getuser(), "<user>"))
    # Short or generic words ("root", "user") would maul the text and identify nobody.
    generic = {"root", "user", "users", "localhost", "ubuntu", "admin", "runner", "jovyan"}
    rules += [
        # In JSON the end of a line before a word is a letter: \n.
        (re.compile(rf"(?:(?<![\w.-])|(?<=\\[nrt])){re.escape(word)}(?![\w-])"), name)
        for word, name in words
        if len(word) > 2 and word.lower() not in generic | _own_words()
    ]
    return tuple(rules)


def _own_words() -> set[str]:
    """What the study's records say by themselves: a machine or user may well be called ollama."""
    from heavyweight.records import JSON_RECORDS  # not above: the command starts sooner without it

    fields = {name for record in JSON_RECORDS for name in record.model_fields}
    return {"heavyweight", "study", *SERVERS, *EXPERIMENTS, *fields}


def scrub(text: str) -> str:
    """The text without keys, and without the names of this machine, its users and its folders.

    Keys are replaced as :mod:`heavyweight.keys` says; home folder, study, cache, user and host
    names by ``~``, ``<study>``, ``<cache>``, ``<user>`` and ``<host>``.
    """
    try:
        root: str | None = str(study_root())
    except BadInput:
        root = None
    text = hidden(text)  # first: a key may hold a name
    for pattern, name in _replacements(str(cache_dir()), root):
        text = pattern.sub(name, text)
    return text
