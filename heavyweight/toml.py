"""Reading a checked TOML file, with the place of what is wrong in it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from heavyweight.errors import BadInput

REMEDY = "restore the file from the repository, or mend the place that is named"


class Strict(BaseModel):
    """Base of what is read: unknown keys are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path, kind: type[M]) -> M:
    """Read a TOML file into a model.

    Raises:
        BadInput: the file is missing, is not TOML, or does not fit the model; the message names
            the first place that does not fit.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(
            f"no {path.name} in {path.parent.name}/", "the study's data as it came", REMEDY
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name} is not TOML: {error}", "a TOML file", REMEDY) from error
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = place(raw, first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BadInput(
            f"{path.name}, {where}: {first['msg']}{more}", f"a {kind.__name__} file", REMEDY
        ) from error


def place(raw: object, loc: tuple[int | str, ...]) -> str:
    """A place in a file as its reader would say it: ``claims B1a, rules 2, value``.

    Args:
        raw: the file's content.
        loc: pydantic's path to the place.
    """
    words: list[str] = []
    for step in loc:
        inner = None
        if isinstance(raw, list) and isinstance(step, int) and step < len(raw):
            inner = raw[step]
            name = inner.get("id", inner.get("name")) if isinstance(inner, dict) else None
            words[-1:] = [f"{words[-1] if words else 'item'} {name or step + 1}"]
        else:
            inner = raw.get(step) if isinstance(raw, dict) else None
            words.append(str(step))
        raw = inner
    return ", ".join(words) or "the whole file"
