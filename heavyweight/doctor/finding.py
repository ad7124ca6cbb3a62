"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what.
        found: what there is, in words, without names of this machine.
        ok: None where the study can do without it, or cannot tell.
        remedy: what to do; empty where nothing is to be done.
    """

    name: str
    found: str
    ok: bool | None
    remedy: str = ""
