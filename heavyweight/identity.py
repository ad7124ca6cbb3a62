"""Hashes of what defines a run and a cell: what was measured once is recognised by them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from heavyweight.design import Arm, Profile, Study
from heavyweight.records import SCHEMA_VERSION


def plan_sha256(study: Study, profile: Profile, arms: list[Arm], extra: dict[str, Any]) -> str:
    """Hash of a planned run: a run goes on only with the plan that it was begun with.

    Args:
        study: seed, what is the same for all arms, models.
        profile: with the arms and blocks that were asked for.
        arms: with the URL and fields that were given for them.
        extra: parameters that every session gets.
    """
    defines = {
        "seed": study.seed,
        "same": study.same.model_dump(),
        "limits": study.limits,
        "instrument": study.calibration(profile).model_dump(),
        "profile": profile.model_dump(exclude={"about", "session_minutes"}),
        "model": study.model(str(extra.get("model") or profile.model)).model_dump(),
        "arms": [arm.model_dump(exclude={"label"}) for arm in arms],
        "extra": {key: value for key, value in extra.items() if key != "port"},
    }
    return _sha256(defines)


def _sha256(defines: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(defines, sort_keys=True, default=str).encode()).hexdigest()


def cell_id(arm: Arm, artefact_sha256: str | None, versions: dict[str, str], **load: Any) -> str:
    """Hash of all that defines a cell; not of the commit that measures it.

    Args:
        arm: with its flags and environment; its label does not count.
        artefact_sha256: checksum of what the server loads.
        versions: of the server that answers.
        load: users, block, seed, token counts, window limits.
    """
    defines = {
        "arm": arm.model_dump(exclude={"label"}),
        "artefact": artefact_sha256,
        "versions": versions,
        "load": load,
        "schema": SCHEMA_VERSION,
    }
    return _sha256(defines)


def calibration_id(**defines: Any) -> str:
    """Hash of all that defines one load of a calibration: setting, timing, load, seed."""
    return _sha256(defines | {"schema": SCHEMA_VERSION})
