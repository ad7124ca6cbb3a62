"""Parameters of a session's notebook: typed, checked, and nothing unknown among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from heavyweight.design import Arm, did_you_mean
from heavyweight.errors import BadInput
from heavyweight.keys import refuse_typed
from heavyweight.kinds import Name
from heavyweight.load.address import server_root

PLAIN = (str, int, float, bool, list, tuple, dict, type(None))
IPYTHON_NAMES = {"In", "Out"}


def _from_text(value: Any) -> Any:
    """``papermill -p users "[1, 8]"`` hands over text: read it as JSON."""
    if isinstance(value, str):
        try:
            return json.loads(value) if value.strip() else None
        except json.JSONDecodeError:
            raise ValueError("not a list or table in JSON, such as [1, 8]") from None
    return value


Users = Annotated[int, Field(ge=1, strict=True)]
Rate = Annotated[float, Field(gt=0)]


class NotebookParameters(BaseModel):
    """What a notebook's parameters cell may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Parameters from a mapping; BadInput names the first thing that is wrong."""
        known = list(cls.model_fields)
        for name in values:
            if name not in known:
                raise BadInput(
                    f"unknown parameter {name!r}",
                    f"some of {', '.join(known)}",
                    did_you_mean(name, known),
                )
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadInput(
                f"parameter {where} = {first['input']!r}",
                first["msg"].removeprefix("Value error, "),
                "mend the parameter",
            ) from None

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any]) -> Self:
        """Parameters from a notebook's variables.

        papermill only warns of a parameter that the notebook does not know. Here every variable
        that holds plain data is taken for a parameter, so that a mistyped name is refused.
        """
        values = {
            name: value
            for name, value in namespace.items()
            if not name.startswith("_") and name not in IPYTHON_NAMES and isinstance(value, PLAIN)
        }
        return cls.checked(values)


class Parameters(NotebookParameters):
    """What one session measures; empty values are taken from the profile.

    Attributes:
        arm: an arm of study.toml.
        profile: a profile of study.toml: model, loads, token counts, window.
        run: name of the run's folder below ``runs``.
        block: which repetition; the session's folder is named by block and arm.
        order: the session's place in its block.
        users: loads in the order in which they run; empty: the profile's, in random order.
        model: a model of study.toml; empty: the profile's.
        port: port for the server; empty: any free one.
        base_url: for the arm ``openai``: where the server to be measured listens.
        served_model: for the arm ``openai``: name of the model there; empty: its only one.
        extra_body: for the arm ``openai``: more fields for each request's body.
        allow_remote: let the load go to another host than this one.
        runs: folder of the runs, from the study's root.
    """

    arm: str = Field(strict=True)
    profile: str = Field(default="quick", strict=True)
    run: Name = "by-hand"
    block: int = Field(default=1, ge=1, le=99, strict=True)
    order: int = Field(default=1, ge=1, strict=True)
    users: Annotated[list[Users] | None, BeforeValidator(_from_text)] = None
    model: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    base_url: str | None = None
    served_model: str | None = None
    extra_body: Annotated[dict[str, Any] | None, BeforeValidator(_from_text)] = None
    allow_remote: bool = False
    runs: str = "data/runs"

    def applied_to(self, arm: Arm) -> Arm:
        """The arm with the URL, model name and body fields given here.

        Raises:
            BadInput: a URL for an arm whose server the study starts itself, or none for ``openai``,
                or one of another machine without leave.
        """
        given = {
            key: value
            for key in ("base_url", "served_model", "extra_body")
            if (value := getattr(self, key)) is not None
        }
        if given and arm.started:
            raise BadInput(
                f"{next(iter(given))} given for arm {arm.name!r}",
                "to be used with an arm whose server is not started by the study",
                "use the arm 'openai'",
            )
        refuse_typed("extra_body", self.extra_body or {})
        changed = arm.model_copy(update=given)
        if not changed.started and not changed.base_url:
            raise BadInput(
                f"arm {arm.name!r} has no URL",
                "the address of a running server that speaks the OpenAI API",
                "say --base-url http://127.0.0.1:8000/v1, or write base_url in study.toml",
            )
        if changed.base_url:
            server_root(changed.base_url, self.allow_remote)
        return changed


class InstrumentParameters(NotebookParameters):
    """What one calibration of the client measures; empty values are taken from the profile.

    Attributes:
        profile: a profile of study.toml: loads, and how long each of them runs.
        run: name of the run's folder below ``runs``.
        users: loads of closed loops; empty: the profile's.
        rates: loads of open loops, in requests/s.
        seconds: length of each load's window; empty: the profile's.
        runs: folder of the runs, from the study's root.
    """

    profile: str = Field(default="quick", strict=True)
    run: Name = "by-hand"
    users: Annotated[list[Users] | None, BeforeValidator(_from_text)] = None
    rates: Annotated[list[Rate] | None, BeforeValidator(_from_text)] = None
    seconds: float | None = Field(default=None, gt=0)
    runs: str = "data/runs"
