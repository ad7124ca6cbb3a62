"""study.toml: models, arms and profiles, checked."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, ValidationError, model_validator

from heavyweight.design.arms import Arm, Model, Table, known
from heavyweight.errors import BadInput
from heavyweight.kinds import EXPERIMENTS, Name

T = TypeVar("T")
UNKNOWN_KEY = "extra_forbidden"  # pydantic's name


class Same(Table):
    """What is the same for every arm."""

    context_tokens: int = Field(gt=0)
    cores: Literal["all"] | list[NonNegativeInt]
    prompt_tokens: int = Field(gt=0)


class Calibration(Table):
    """How the client's own error is measured: the timing of the emulated server, and how long."""

    ttft_ms: float = Field(default=50, gt=0)
    itl_ms: float = Field(default=10, gt=0)
    output_tokens: int = Field(default=16, ge=2)
    seconds: float = Field(default=10, gt=0, description="length of each load's window")


class Open(Table):
    """Open loops at fractions of a server's capacity, and the search for its highest rate.

    The capacity is that of the closed loop with the most of the profile's users, in the same
    session.
    """

    fractions: list[float] = Field(min_length=1)
    seconds: float = Field(gt=0, description="of each rate, warm-up included")
    warmup_s: float = Field(default=5, ge=0)
    calibrate_rates: list[float] = Field(
        min_length=1, description="requests/s at which the client's own error is measured"
    )
    search: list[str] = Field(
        default=[], description="objectives of the search, such as ttft_p95_ms<=500"
    )
    search_seconds: float = Field(default=30, gt=0, description="of each probe of the search")
    search_probes: int = Field(default=8, ge=2, description="most probes of a search")

    @model_validator(mode="after")
    def _rates(self) -> Self:
        for name in ("fractions", "calibrate_rates"):
            values = getattr(self, name)
            if min(values) <= 0 or len(set(values)) != len(values):
                raise ValueError(f"{name} = {values}: each once, above 0")
        return self


class Profile(Table):
    """Which arms and loads are measured, how often and for how long."""

    name: str = ""
    about: str
    experiment: str = "session"
    model: str
    arms: list[str] = Field(min_length=1)
    contrasts: dict[str, tuple[str, str]] = Field(default={})
    users: list[int] = Field(default=[], description="of closed loops")
    output_tokens: int = Field(gt=0)
    lengths: list[tuple[int, int]] = Field(
        default=[], description="pairs of prompt and output tokens; empty: one pair, as said above"
    )
    open: Open | None = None
    blocks: int = Field(ge=1)
    min_seconds: float = Field(gt=0)
    min_requests: int = Field(ge=1)
    min_waves: int = Field(ge=1)
    cap_seconds: float = Field(gt=0)
    instrument_seconds: float | None = Field(default=None, gt=0)
    needs_gpu: bool = False
    session_minutes: dict[str, float] = Field(default={})

    @model_validator(mode="after")
    def _loads(self) -> Self:
        known("experiment", self.experiment, EXPERIMENTS)
        planned = EXPERIMENTS[self.experiment].loads
        if len(set(self.users)) != len(self.users) or min(self.users, default=1) < 1:
            raise ValueError(f"users = {self.users}: each load once, from 1 up")
        if not self.users and planned != "none":
            raise ValueError(f"experiment {self.experiment} needs users")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms = {self.arms}: each arm once")
        if (
            len(set(self.lengths)) != len(self.lengths)
            or min(map(min, self.lengths), default=1) < 1
        ):
            raise ValueError(f"lengths = {self.lengths}: each pair once, from 1 up")
        if (planned == "open") != (self.open is not None):
            raise ValueError("an experiment of open loops, and no other, needs the table open")
        return self


class Study(Table):
    """The whole of study.toml."""

    schema_: Literal[1] = Field(alias="schema")
    seed: int = Field(ge=0)
    same: Same
    limits: dict[str, NonNegativeFloat]
    instrument: Calibration = Calibration()
    models: dict[Name, Model]
    arms: dict[Name, Arm]
    profiles: dict[Name, Profile]

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Each model, arm and profile knows its own name; a profile may be like one before it."""
        named = dict(data)
        for kind in ("models", "arms", "profiles"):
            entries = data.get(kind, {})
            named[kind] = {k: {**v, "name": k} for k, v in entries.items()}
        profiles = named["profiles"]
        for name, profile in profiles.items():
            if like := profile.pop("like", None):
                known(f"profiles.{name}.like", like, profiles)
                profiles[name] = {**profiles[like], **profile}
        return named

    @model_validator(mode="after")
    def _references(self) -> Self:
        for profile in self.profiles.values():
            where = f"profiles.{profile.name}"
            known(f"{where}.model", profile.model, self.models)
            for arm in [*profile.arms, *profile.session_minutes]:
                known(f"{where}.arms", arm, self.arms)
            texts = profile.lengths or [(self.same.prompt_tokens, profile.output_tokens)]
            if (most := max(map(sum, texts))) > self.same.context_tokens:
                raise ValueError(
                    f"same.context_tokens = {self.same.context_tokens}: {where} asks for texts of "
                    f"{most} tokens"
                )
            for pair in profile.contrasts.values():
                for arm in pair:
                    known(f"{where}.contrasts", arm, dict.fromkeys(profile.arms))
        return self

    def profile(self, name: str) -> Profile:
        """The profile of that name; BadInput with the known names where there is none."""
        return _pick("profile", name, self.profiles)

    def arm(self, name: str) -> Arm:
        """The arm of that name; BadInput with the known names where there is none."""
        return _pick("arm", name, self.arms)

    def calibration(self, profile: Profile) -> Calibration:
        """How the client is calibrated for a profile, which may say how long."""
        seconds = profile.instrument_seconds or self.instrument.seconds
        return self.instrument.model_copy(update={"seconds": seconds})

    def model(self, name: str) -> Model:
        """The model of that name; BadInput with the known names where there is none."""
        return _pick("model", name, self.models)


def did_you_mean(name: str, known: list[str]) -> str:
    """A remedy: the nearest known name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(known)}"


def _pick(kind: str, name: str, table: dict[str, T]) -> T:
    if name not in table:
        names = list(table)
        raise BadInput(
            f"unknown {kind} {name!r}",
            f"one of {', '.join(names)}",
            f"{did_you_mean(name, names)} ({kind}s are described in study.toml)",
        )
    return table[name]


def load_study(path: Path) -> Study:
    """Read and check study.toml.

    Raises:
        BadInput: the file is missing, not TOML, or says something that cannot be.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return Study.model_validate(data)
    except FileNotFoundError as error:
        raise BadInput(
            f"no {path.name}", "the study's description", "run in a checkout of the study"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path.name} is not TOML: {error}", "a TOML file", "mend it") from error
    except ValidationError as error:
        # A key that nobody knows is the cause of another that is missing.
        first = min(error.errors(), key=lambda one: one["type"] != UNKNOWN_KEY)
        where = ".".join(str(part) for part in first["loc"]) or "study"
        if first["type"] == UNKNOWN_KEY:
            first["msg"] = "no key of study.toml is called so"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BadInput(
            f"{path.name}: {where}: {first['msg'].removeprefix('Value error, ')}{more}",
            "a study as the comments of study.toml describe it",
            "mend that line",
        ) from error
