"""Hashes of what defines a run and a cell: what was measured once is recognised by them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from heavyweight.design import Arm, Model, Profile, Study
from heavyweight.records import SCHEMA_VERSION

# Fields of arms and models that came after the first runs: those go on, if no such field is set.
LATER = {"kv_tokens", "gptq_repo", "revisions"}


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
        "model": _defining(study.model(str(extra.get("model") or profile.model))),
        "arms": [_defining(arm) for arm in arms],
        "extra": {key: value for key, value in extra.items() if key != "port"},
    }
    return _sha256(defines)


def _defining(table: Arm | Model) -> dict[str, Any]:
    """What of a table of study.toml defines a run: no label, and no later field that is not set."""
    fields = table.model_dump(exclude={"label"})
    return {name: value for name, value in fields.items() if name not in LATER or value is not None}


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
        "arm": _defining(arm),
        "artefact": artefact_sha256,
        "versions": versions,
        "load": load,
        "schema": SCHEMA_VERSION,
    }
    return _sha256(defines)


def calibration_id(**defines: Any) -> str:
    """Hash of all that defines one load of a calibration: setting, timing, load, seed."""
    return _sha256(defines | {"schema": SCHEMA_VERSION})
