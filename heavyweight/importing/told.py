"""What a result file says, in this study's words, and how its values are checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heavyweight.errors import BadInput
from heavyweight.paths import scrub
from heavyweight.records import REQUEST_SCHEMA, TOOL_NAMES, ErrorClass, Tool

Row = dict[str, Any]
M = TypeVar("M", bound=BaseModel)

DETAIL_CHARACTERS = 500
_HOME = re.compile(
    r"(?:[A-Za-z]:)?\\Users\\[^\\/:\"']+|(?<![\w.~-])/(?:root|(?:home|Users)/[^\s/:\"']+)(?![\w.-])"
)

Seconds = Annotated[float, Field(ge=0, le=4e9, allow_inf_nan=False)]
Nanoseconds = Annotated[int, Field(ge=0, le=4_000_000_000_000_000_000)]
Milliseconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Users = Annotated[int, Field(ge=1, le=1_000_000)]
Word = Annotated[str, Field(max_length=1000)]


class Part(BaseModel):
    """A part of a result file; what is not read is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


@dataclass(frozen=True)
class Load:
    """One load of a result file.

    Args:
        rows: one a request, as in :data:`heavyweight.records.IMPORTED_SCHEMA`; times in ns on the
            tool's own clock.
        users: of a closed loop; None: an open one, or not told.
        rate_per_s: of an open loop; None: a closed one, or not told.
        arrivals: process of an open loop; None: a closed one, or not told.
        api: how requests were spoken; None: not told.
        prompt_tokens: that prompts aim at; None: not told.
        output_tokens: that all requests were asked for; None: not told, or not all the same.
        wall_clock: whether times are ns since 1970.
    """

    rows: list[Row]
    users: int | None = None
    rate_per_s: float | None = None
    arrivals: str | None = None
    api: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    wall_clock: bool = True


@dataclass(frozen=True)
class Told:
    """All that a result file says.

    Args:
        tool: that wrote it.
        loads: one or more.
        version: of the tool; None: not told.
        model: None: not told.
        beside: other files that were read with it: name and checksum.
        missing: what it does not tell: what follows from that.
        otherwise: field of a request: how it differs from the data dictionary.
    """

    tool: Tool
    loads: list[Load]
    version: str | None = None
    model: str | None = None
    beside: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    otherwise: dict[str, str] = field(default_factory=dict)


def row(**told: Any) -> Row:
    """A request of which only this is told."""
    return {**dict.fromkeys(REQUEST_SCHEMA.names), **told}


def ns(seconds: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(seconds * 1e9)


def failure(detail: object, status: int | None = None) -> Row:
    """Columns of a request that failed.

    Args:
        detail: what the tool says of it; the last line of a traceback is kept.
        status: HTTP status; None: not told.
    """
    return {
        "error": _error_class(status),
        "status": status,
        "error_detail": public(str(detail)),
    }


def _error_class(status: int | None) -> str:
    if status is None or not 300 <= status < 600:
        return ErrorClass.NOT_TOLD.value
    whole = f"http_{status}"
    return whole if whole in set(ErrorClass) else f"http_{status // 100}xx"


def public(text: str) -> str:
    """The last line of a text, without names of folders and users, cut to 500 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return scrub(_HOME.sub("~", lines[-1] if lines else ""))[:DETAIL_CHARACTERS]


def told_of(kind: type[M], tool: Tool, source: Any, name: str, remedy: str) -> M:
    """A part of a file, checked.

    Args:
        kind: of the part.
        tool: whose file it should be.
        source: JSON text as bytes, or its values.
        name: of the file.
        remedy: what to do if it does not fit.

    Raises:
        BadInput: it is no JSON, or something is missing or of another kind.
    """
    try:
        if isinstance(source, bytes):
            return kind.model_validate_json(source)
        return kind.model_validate(source)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place[:200]}: {first['msg']}" if place else first["msg"]
        raise BadInput(
            f"{name} is no result of {TOOL_NAMES[tool]} ({wrong})", "its result file, whole", remedy
        ) from error
