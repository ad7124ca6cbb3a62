"""GPUs as they are sold: data/hardware.toml."""

from __future__ import annotations

import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from heavyweight.paths import study_root
from heavyweight.physics.names import pick
from heavyweight.toml import Strict, read_toml

MEMORY_UNIT_BYTES = 2**30  # a vendor's GB of memory; of bandwidth it is 10^9


DRIVER_NAMES = {
    "A100-PCIE-40GB": "A100 40 GB PCIe",
    "A100-SXM4-40GB": "A100 40 GB SXM",
    "A100 80GB PCIe": "A100 80 GB PCIe",
    "A100-SXM4-80GB": "A100 80 GB SXM",
    "H100 80GB HBM3": "H100 SXM",
    "Tesla T4": "T4",
    "Tesla V100-SXM2-32GB": "V100 32 GB",
    "RTX 6000 Ada Generation": "RTX 6000 Ada",
}
"""A driver's names, without the vendor's, of cards that data/hardware.toml calls otherwise."""


class Gpu(Strict):
    """One GPU: peaks and capacity. What is not known of a GPU that is in no file is None."""

    name: str
    memory_bandwidth_gb_s: float = Field(gt=0, allow_inf_nan=False)
    memory_gb: float | None = Field(None, gt=0, allow_inf_nan=False)
    fp16_tflops: float | None = Field(None, gt=0, allow_inf_nan=False)
    fp8_tflops: float | None = Field(None, gt=0, allow_inf_nan=False)
    vendor: str = ""
    released: int | None = None
    tdp_w: float | None = Field(None, gt=0)
    source: str = ""
    checked: str = ""
    price_usd_per_hour: float | None = Field(None, gt=0)
    price_source: str = ""
    price_date: datetime.date | None = None

    @property
    def memory_bytes(self) -> float | None:
        """All of its memory; a server has less."""
        return None if self.memory_gb is None else self.memory_gb * MEMORY_UNIT_BYTES

    @property
    def memory_bytes_per_s(self) -> float:
        """Peak memory bandwidth."""
        return self.memory_bandwidth_gb_s * 1e9

    @model_validator(mode="after")
    def _price_has_a_source(self) -> Self:
        if (self.price_usd_per_hour is None) != (not self.price_source):
            raise ValueError("a price and its source come together")
        return self


class Hardware(Strict):
    """hardware.toml."""

    schema_: Literal[1] = Field(alias="schema")
    memory_unit_bytes: Literal[1_073_741_824]
    gpus: list[Gpu] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole_and_once(self) -> Self:
        names = [gpu.name for gpu in self.gpus]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"GPU {twice[0]} stands twice")
        for gpu in self.gpus:
            needed = ("vendor", "memory_gb", "fp16_tflops", "released", "tdp_w", "source")
            if missing := [name for name in needed if not getattr(gpu, name)]:
                raise ValueError(f"GPU {gpu.name} has no {missing[0]}")
        return self

    @cached_property
    def by_name(self) -> dict[str, Gpu]:
        """The GPUs by their names."""
        return {gpu.name: gpu for gpu in self.gpus}

    def of_driver(self, name: str) -> Gpu | None:
        """The GPU that a driver calls so, ``NVIDIA A100-SXM4-80GB``; None: it is none of these."""
        short = name.removeprefix("NVIDIA ").removeprefix("GeForce ")
        return self.by_name.get(DRIVER_NAMES.get(short, short))

    def gpu(self, name: str) -> Gpu:
        """The GPU of that name; BadInput with the nearest name where there is none."""
        return pick("GPU", name, self.by_name, "data/hardware.toml")


def load_hardware(path: Path | None = None) -> Hardware:
    """Read and check hardware.toml.

    Args:
        path: of the file; data/hardware.toml of the study by default.

    Raises:
        BadInput: the file is missing or does not fit; the message names the place.
    """
    return read_toml(path or study_root() / "data" / "hardware.toml", Hardware)
