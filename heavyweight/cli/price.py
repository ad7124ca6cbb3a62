"""What an hour of a machine costs: as given, or as data/hardware.toml has it for a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import typer

from heavyweight.errors import BadInput

PricePerHour = Annotated[
    float | None, typer.Option("--price-per-hour", help="USD an hour, of the whole machine.")
]
GpuName = Annotated[
    str, typer.Option("--gpu", help="Price and name of a GPU of data/hardware.toml: A40.")
]
HOW = "--price-per-hour says what your machine costs"


@dataclass(frozen=True)
class Price:
    """What an hour costs.

    Attributes:
        usd_per_hour: None where nobody knows.
        source: where it comes from, with its date; or why there is none.
    """

    usd_per_hour: float | None
    source: str


def price_of(given: float | None, gpu: str, gpus: int, here: list[str]) -> Price:
    """The price that is given, or that of the named GPUs, or that of those that are here.

    Args:
        given: USD an hour of the whole machine.
        gpu: a name of data/hardware.toml; empty: not named.
        gpus: how many of them.
        here: names of this machine's GPUs as its driver has them.

    Raises:
        BadInput: a price that is none, or an unknown GPU.
    """
    from heavyweight.physics import load_hardware

    if given is not None and not 0 < given < math.inf:
        raise BadInput(f"price {given:g} USD an hour", "a number above 0", HOW)
    known = load_hardware()
    if gpu:
        known.gpu(gpu)  # refuses an unknown name, even beside a price
    if given is not None:
        return Price(given, "as given")
    names = (one.name for one in map(known.of_driver, here) if one is not None)
    name = gpu or next(names, "")
    if not name:
        return Price(None, f"no price: {HOW}, or --gpu names a GPU of data/hardware.toml")
    found = known.gpu(name)
    if found.price_usd_per_hour is None:
        return Price(None, f"no price of {found.name} in data/hardware.toml: {HOW}")
    dated = "" if found.price_date is None else f", {found.price_date}"
    count = f"{gpus} x {found.name}" if gpus > 1 else found.name
    return Price(gpus * found.price_usd_per_hour, f"{count}: {found.price_source}{dated}")
