"""The JSON record of a calibration: how the client's own error was measured."""

from __future__ import annotations

from typing import Literal

from heavyweight.records.base import SCHEMA_VERSION, Machine, Record, unit

Setting = Literal["alone", "busy", "saturation"]


class Instrument(Record):
    """A calibration of the client against an emulated server that logs its own times."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    run: str = unit("run")
    created_utc: str = unit("when it was begun, ISO 8601")
    commit: str | None = unit("commit of the code; null: not a checkout")
    clean: bool | None = unit("whether the checkout had no changes")
    emulated: bool = unit("true: the server imitates; never evidence about a server", default=True)
    seed: int = unit("seed of the study, for prompts and arrivals")
    api: Literal["chat", "completions", "ollama-chat", "ollama-generate"] = unit(
        "route of the requests"
    )
    manner: str = unit("whose manner of streaming the server imitated")
    ttft_ms: float = unit("the server's time to the first token", "ms")
    itl_ms: float = unit("the server's time between two tokens of an answer", "ms")
    output_tokens: int = unit("tokens asked of every request", "tokens")
    prompt_tokens: int = unit("length that the prompts aim at", "tokens")
    seconds: float = unit("length of each load's window, at least", "s")
    users: list[int] = unit("loads of closed loops", "users")
    rates_per_s: list[float] = unit("loads of open loops, Poisson arrivals", "requests/s")
    settings: list[Setting] = unit(
        "alone: client and server on a core each; busy: both on all cores, which low-priority work"
        " keeps busy; saturation: as alone, the server writing as fast as it can"
    )
    left_out: dict[str, str] = unit("setting: why it was not measured", default_factory=dict)
    saturation_users: int = unit("streams at saturation", "users")
    saturation_output_tokens: int = unit("tokens of each of their answers", "tokens")
    client_cores: list[int] = unit("the client's processors in the settings alone and saturation")
    server_cores: list[int] = unit("the server's there")
    busy_threads: int = unit("threads of the work that keeps all cores busy")
    busy_niceness: int = unit("their priority, as that of a study's servers")
    machine: Machine = unit("the machine")
    complete: bool = unit("all loads were measured in all settings", default=False)
    finished_utc: str | None = unit("when, ISO 8601", default=None)
