"""JSON records: what all have in common, and the machine and programs that took part."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 2


def unit(meaning: str, unit: str = "", **kwargs: Any) -> Any:
    """A field of a JSON record with its meaning and unit."""
    return Field(description=meaning, json_schema_extra={"unit": unit}, **kwargs)


class Record(BaseModel):
    """Base of the JSON records: unknown fields are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Software(Record):
    """A program that took part."""

    name: str = unit("name")
    version: str = unit("version")
    detail: dict[str, str] = unit("build flags, checksums, commit", default_factory=dict)


class Machine(Record):
    """The machine, without any name of it or of its users."""

    machine_id: str = unit("hash of the hardware description: tells machines apart")
    cpu_model: str = unit("processor")
    cpus: int = unit("logical processors usable by this process", "cores")
    cpu_flags: list[str] = unit("instruction sets that matter (avx2, avx512f, amx_bf16, ...)")
    memory_bytes: int = unit("physical memory", "bytes")
    gpus: list[dict[str, str]] = unit(
        "name, memory_bytes, driver of each GPU", default_factory=list
    )
    kernel: str = unit("operating system and kernel release")
    governor: str | None = unit("CPU frequency governor; null: not readable", default=None)
    virtual: bool = unit("whether a hypervisor is visible", default=False)
    python: str = unit("Python version")
    packages: dict[str, str] = unit("versions of the packages that touch the data")
