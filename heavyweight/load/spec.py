"""What the load generator is told: one cell, in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from heavyweight.errors import BadInput
from heavyweight.load.address import server_root

STOPPED = 3  # exit code of a load that was asked to stop

# What is known of a cell before it is measured and is not a setting of the load itself.
IDENTITY = frozenset({"cell_id", "run", "session", "arm", "server", "model", "emulated"})


Api = Literal["chat", "completions", "ollama-chat", "ollama-generate"]


class Timeouts(BaseModel):
    """When a request has failed. A long queue is not a failure: the first token may take long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect_s: float = Field(default=10.0, gt=0)
    first_s: float = Field(default=600.0, gt=0, description="sent to the first event of the stream")
    gap_s: float = Field(default=120.0, gt=0, description="between two events")
    total_s: float = Field(default=900.0, gt=0, description="sent to the end")


class Arrivals(BaseModel):
    """An open loop: when requests are due. The schedule is a function of these fields and the seed.

    The window is ``warmup_s`` to ``seconds`` after the origin; it ends at the last arrival where
    ``requests`` come to an end before, or a trace does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    process: Literal["poisson", "constant", "gamma", "trace"]
    rate_per_s: float | None = Field(
        default=None, ge=1e-3, le=1e6, description="mean; a trace has its own"
    )
    cv: float = Field(
        default=2.0, ge=0.01, le=100, description="gamma: coefficient of variation of the gaps"
    )
    trace: Path | None = Field(default=None, description="file of arrival times")
    seconds: float | None = Field(default=None, gt=0, le=1e6, description="length of the schedule")
    requests: int | None = Field(default=None, ge=1, description="most requests in it")
    warmup_s: float = Field(default=0.0, ge=0, description="of it, before the window")
    drain_s: float = Field(
        default=300.0, gt=0, description="after it, for the answers; then they are abandoned"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.process == "trace":
            if self.trace is None:
                raise ValueError("arrivals of a trace need its file")
            if self.rate_per_s is not None:
                raise ValueError("a trace has a rate of its own and is not rescaled: no rate_per_s")
        else:
            if self.trace is not None:
                raise ValueError(f"arrivals are either a trace or {self.process}, not both")
            if self.rate_per_s is None:
                raise ValueError(f"{self.process} arrivals need rate_per_s")
            if self.seconds is None and self.requests is None:
                raise ValueError(f"{self.process} arrivals need seconds, requests or both")
        if self.seconds is not None and self.warmup_s >= self.seconds:
            raise ValueError(
                f"a warm-up of {self.warmup_s:g} s leaves no window in {self.seconds:g} s"
            )
        return self


class LoadSpec(BaseModel):
    """One cell: which server, how many users or when requests come, and where the rows go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cell: dict[str, Any] = Field(description=f"fields of records.Cell: {sorted(IDENTITY)}")
    base_url: str = Field(description="http://127.0.0.1:PORT, with or without /v1")
    api: Api = "chat"
    model: str = Field(description="name under which the server serves it")
    extra_body: dict[str, Any] = Field(default={}, description="further fields of each request")
    headers: dict[str, str] = Field(
        default={}, description="further headers; a key is a variable's name"
    )
    users: int = Field(ge=0, lt=4096, description="of a closed loop; 0: arrivals are given")
    arrivals: Arrivals | None = None
    capacity_fraction: float | None = Field(
        default=None, gt=0, description="open loop: its rate as a share of a known capacity"
    )
    seed: int = Field(ge=0)
    block: int = Field(ge=1)
    output_tokens: int = Field(ge=1)
    prompt_tokens: int = Field(ge=1)
    first_index: int = Field(default=0, ge=0, description="closed loop: of its first prompt")
    min_requests: int = Field(default=30, ge=1)
    min_waves: float = Field(default=4, gt=0)
    min_seconds: float = Field(default=20.0, ge=0)
    cap_seconds: float = Field(
        default=600.0, gt=0, description="closed loop: nothing new is sent after it"
    )
    timeouts: Timeouts = Timeouts()
    part: int = Field(default=0, ge=0, description="which part of the load this process makes")
    parts: int = Field(default=1, ge=1, description="processes that make the load together")
    start_at_ns: int | None = Field(
        default=None, description="origin on this machine's CLOCK_MONOTONIC; None: now"
    )
    cores: list[int] | None = Field(default=None, description="bind the client to these")
    spin: bool = Field(
        default=False, description="wait actively for the last part of a pause: own cores only"
    )
    memory_bytes: int | None = Field(
        default=None, gt=0, description="most that raw answers may take; None: half of what is free"
    )
    start_id: int = Field(default=1, ge=1)
    server_pgid: int | None = None
    out_dir: Path
    progress_path: Path | None = None
    stop_path: Path | None = None
    parent_pid: int | None = Field(
        default=None, description="the load stops when this parent is gone"
    )
    allow_remote: bool = False

    @property
    def own_users(self) -> range:
        """The users of a closed loop that this part makes."""
        return range(self.part, self.users, self.parts)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if set(self.cell) != IDENTITY:
            raise ValueError(f"cell must have exactly the fields {', '.join(sorted(IDENTITY))}")
        if (self.users > 0) == (self.arrivals is not None):
            raise ValueError("either users, for a closed loop, or arrivals, for an open one")
        if self.part >= self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: parts are counted from 0")
        if self.arrivals is None and self.users < self.parts:
            raise ValueError(f"{self.users} users cannot be split into {self.parts} parts")
        if self.cores is not None and not self.cores:
            raise ValueError("cores must name at least one core, or be left out")
        if self.spin and self.cores is None:
            raise ValueError("spin needs cores of the client's own: name them in cores")
        server_root(self.base_url, self.allow_remote)
        return self

    def known(self) -> dict[str, Any]:
        """The fields of the cell that are known before it is measured."""
        return {
            **self.cell,
            "loop": "closed" if self.arrivals is None else "open",
            "api": self.api,
            "users": self.users,
            "arrivals": self.arrivals and self.arrivals.process,
            "rate_per_s": self.arrivals and self.arrivals.rate_per_s,
            "capacity_fraction": self.capacity_fraction,
            "parts": self.parts,
            "block": self.block,
            "seed": self.seed,
            "output_tokens": self.output_tokens,
            "prompt_tokens_target": self.prompt_tokens,
            "start_id": self.start_id,
        }


def read_spec(path: Path) -> LoadSpec:
    """Read a spec file.

    Raises:
        BadInput: the file is missing or describes no cell.
    """
    try:
        return LoadSpec.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(
            f"cannot read {path.name}: {error.strerror}", "a file that describes a load"
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors()
        )
        raise BadInput(
            f"{path.name} describes no load ({problems})", "the fields of heavyweight.load.LoadSpec"
        ) from error
