"""The hours and the money of a study on a rented machine: the part of ``study plan`` on renting."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from heavyweight import models
from heavyweight.cli.output import console
from heavyweight.cli.price import Price
from heavyweight.design import Model, Profile, Study
from heavyweight.errors import BadInput

SERVER_BYTES = {"vllm": 6e9, "ollama": 2e9}  # packages of the GPU's environment; Ollama's release
SET_UP_MINUTES = 25.0  # installing, the F16 file, checksums, a start of each server: never run


@dataclass(frozen=True)
class Rental:
    """What a study takes of a machine that begins empty.

    Attributes:
        download_gb: servers and weights.
        mbit_s: at which they are fetched.
        download_minutes: what that takes.
        set_up_minutes: of installing and preparing, beside the downloads: a guess.
        measuring_minutes: of the sessions and the calibration.
        hours: all together.
        usd: what they cost; None without a price.
        usd_per_hour: the price.
        price_source: where it comes from, or why there is none.
        guessed: arms of which no session was ever measured here.
    """

    download_gb: float
    mbit_s: float
    download_minutes: float
    set_up_minutes: float
    measuring_minutes: float
    hours: float
    usd: float | None
    usd_per_hour: float | None
    price_source: str
    guessed: list[str]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def rental(
    study: Study, profile: Profile, model: Model, minutes: dict[str, float], price: Price,
    mbit_s: float,
) -> Rental:  # fmt: skip
    """Hours and money of a profile on a machine on which nothing is yet.

    Args:
        study: study.toml.
        profile: with the arms that fit.
        model: that is loaded.
        minutes: of a session of each arm, and of the calibration ("instrument").
        price: of an hour.
        mbit_s: of the machine's network.

    Raises:
        BadInput: a bandwidth that is none.
    """
    if not 0 < mbit_s < float("inf"):
        raise BadInput(f"{mbit_s:g} Mbit/s", "a number above 0", "give the machine's bandwidth")
    arms = [study.arm(name) for name in profile.arms]
    fetched = models.download_bytes(model, {arm.artefact for arm in arms} - {"none"})
    fetched += sum(SERVER_BYTES.get(kind, 0.0) for kind in {arm.server for arm in arms})
    downloading = fetched * 8 / (mbit_s * 1e6) / 60
    measuring = minutes["instrument"] + profile.blocks * sum(
        minutes.get(arm, 0.0) for arm in profile.arms
    )
    hours = (downloading + SET_UP_MINUTES + measuring) / 60
    guessed = [arm for arm in profile.arms if minutes.get(arm) == profile.session_minutes.get(arm)]
    return Rental(
        download_gb=fetched / 1e9,
        mbit_s=mbit_s,
        download_minutes=downloading,
        set_up_minutes=SET_UP_MINUTES,
        measuring_minutes=measuring,
        hours=hours,
        usd=None if price.usd_per_hour is None else hours * price.usd_per_hour,
        usd_per_hour=price.usd_per_hour,
        price_source=price.source,
        guessed=guessed,
    )


def print_rental(found: Rental) -> None:
    """The hours, what they are made of, and the money."""
    console.print(
        f"On a machine that begins empty: {found.download_gb:.0f} GB to download, "
        f"{found.download_minutes:.0f} minutes at {found.mbit_s:g} Mbit/s (--mbit-s); about "
        f"{found.set_up_minutes:.0f} minutes of set-up (a guess); "
        f"{found.measuring_minutes / 60:.1f} hours of measuring.",
        markup=False,
    )
    if found.guessed:
        console.print(
            f"Of {len(found.guessed)} arms the minutes are guesses of study.toml, never run: the "
            "first block of a run tells the true ones.",
            markup=False,
        )
    if found.usd is None:
        console.print(f"In all {found.hours:.1f} hours; {found.price_source}.", markup=False)
        return
    console.print(
        f"In all {found.hours:.1f} hours, {found.usd:.2f} USD at {found.usd_per_hour:g} USD each "
        f"({found.price_source}). Prices move: look before you reckon with it.",
        markup=False,
    )
