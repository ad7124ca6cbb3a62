"""JSON records: what all have in common, and the machine and programs that took part."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from heavyweight.errors import StoreError

SCHEMA_VERSION = 2
T = TypeVar("T")


def unit(meaning: str, unit: str = "", **kwargs: Any) -> Any:
    """A field of a JSON record with its meaning and unit."""
    return Field(description=meaning, json_schema_extra={"unit": unit}, **kwargs)


class Record(BaseModel):
    """Base of the JSON records: unknown fields are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def measured(value: T | None) -> T:
    """A value that all data of this study's own have; only imported data may lack it.

    Raises:
        StoreError: it is missing.
    """
    if value is None:
        raise StoreError(
            "data of another tool do not tell this", "data that this study measured", "measure it"
        )
    return value


# What a server without a GPU multiplies matrices with; the fastest first.
VECTOR_UNITS = {
    "amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2",
    "sve": "SVE", "asimd": "NEON",
}  # fmt: skip


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
    packages_sha256: str | None = unit(
        "checksum of name==version of all packages that are installed, a line each, in order;"
        " null: not recorded",
        default=None,
    )
    as_locked: bool | None = unit(
        "whether all packages of requirements.lock are there in its versions; null: not recorded,"
        " or there is no such file",
        default=None,
    )


def vector_units(flags: Collection[str]) -> list[str]:
    """Names of the vector units among a processor's flags, the fastest first."""
    return [name for flag, name in VECTOR_UNITS.items() if flag in flags]
