"""A run as an RO-Crate: what it is, what made it, on what, from what, in which order.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profile for runs of programs, Process Run
Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5): each session is an action, its programs are the
instruments, the model is its object, its folder the result. All of it is read from the run's own
records, so the same run gives the same text.
"""

from __future__ import annotations

import json
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from heavyweight.calibrations import FOLDER, InstrumentFolder
from heavyweight.records import Machine, Record, Session, Software, imported_from
from heavyweight.sealing.sums import CRATE_FILE, kept_files
from heavyweight.store import RunFolder

LICENCE = "https://spdx.org/licenses/Apache-2.0"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
CODE = "#heavyweight"
PLAN = {"seed", "plan_sha256", "blocks", "users", "lengths", "arms", "contrasts", "limits"}
KINDS = {
    ".parquet": "application/vnd.apache.parquet", ".json": "application/json",
    ".ipynb": "application/x-ipynb+json", ".toml": "application/toml", ".log": "text/plain",
    ".gz": "application/gzip",
}  # fmt: skip


def described(run: RunFolder) -> str:
    """The text of ro-crate-metadata.json of a run, finished or not.

    Raises:
        StoreError: a record of the run cannot be read.
    """
    record = run.run
    sessions = sorted(
        (folder.record for folder in run.sessions()),
        key=lambda one: (one.starts[0].started_utc if one.starts else "~", one.session),
    )
    crate = ROCrate(gen_preview=False, version="1.1")
    root = crate.root_dataset
    root["name"] = f"heavyweight run {record.run}"
    root["description"] = _about(run)
    root["license"] = {"@id": LICENCE}
    root["datePublished"] = max(
        (one.finished_utc for one in sessions if one.finished_utc), default=record.created_utc
    )
    root["conformsTo"] = _entity(crate, PROFILE, "CreativeWork", "Process Run Crate", version="0.5")
    _entity(crate, LICENCE, "CreativeWork", "Apache License 2.0")
    for name, path in kept_files(run.path):
        if name != CRATE_FILE:
            kind = KINDS.get(path.suffix, "application/octet-stream")
            crate.add_file(path, name, properties={"encodingFormat": kind})
    code = _code(crate, CODE, record.commit, record.clean)
    plan = record.model_dump(mode="json", include=PLAN)
    root["additionalProperty"] = _values(crate, "#plan", plan)
    instrument = InstrumentFolder.of(run.path)
    if instrument.exists:
        known = instrument.record
        _action(crate, FOLDER, known, [code], None, {})
    for place, session in enumerate(sessions, 1):
        _session(crate, code, session, place)
    return json.dumps(crate.metadata.generate(), sort_keys=True, ensure_ascii=False) + "\n"


def _code(crate: ROCrate, name: str, commit: str | None, clean: bool | None) -> ContextEntity:
    return _entity(
        crate, name, "SoftwareApplication", "heavyweight",
        softwareVersion=commit or "of no commit",
        description="clean checkout" if clean else "checkout with changes, or none",
    )  # fmt: skip


def _codes(crate: ROCrate, run: ContextEntity, session: Session) -> list[ContextEntity]:
    """The code that measured a session: a run may go on with another than it was begun with."""
    seen = {(start.commit, start.clean) for start in session.starts if start.commit is not None}
    if not seen:
        return [run]  # begun before starts told it, or of no checkout
    return [
        _code(crate, f"{CODE}-{commit[:10]}{'' if clean else '-changed'}", commit, clean)
        for commit, clean in sorted(seen, key=str)
    ]


def _about(run: RunFolder) -> str:
    record = run.run
    arms = ", ".join(record.labels.get(arm, arm) for arm in record.arms)
    emulated = " EMULATED servers: evidence of nothing." if record.emulated else ""
    imported = f" {imported_from(record.imported)}" if record.imported else ""
    return (
        f"Raw timings of every request to {arms}; profile {record.profile}, experiment "
        f"{record.experiment}, {record.blocks} blocks planned.{emulated}{imported}"
    )


def _session(crate: ROCrate, code: ContextEntity, session: Session, place: int) -> None:
    programs = [_software(crate, one) for one in session.software]
    model = session.model and _entity(
        crate, f"#model-{session.model}-{session.artefact}", "CreativeWork",
        f"{session.model}, {session.artefact}",
        identifier=f"sha256:{session.artefact_sha256}" if session.artefact_sha256 else "not told",
    )  # fmt: skip
    told = {
        "place in the order of execution": place,
        "block": session.block,
        "arm": session.arm,
        "settings": session.settings,
        "starts": [
            {"command": start.command, "environment": start.environment, "cores": start.cores}
            for start in session.starts
        ],
        "identity": session.identity.model_dump(mode="json") if session.identity else None,
    }
    instruments = [*programs, *_codes(crate, code, session)]
    _action(crate, session.session, session, instruments, model, told)


def _action(
    crate: ROCrate,
    name: str,
    record: Any,
    instruments: list[ContextEntity],
    model: ContextEntity | None,
    told: dict[str, Any],
) -> None:
    """One execution of a notebook."""
    folder = crate.add_dataset(dest_path=f"{name}/")
    done = "CompletedActionStatus" if record.complete else "PotentialActionStatus"
    properties: dict[str, Any] = {
        "@type": "CreateAction",
        "name": f"execution of {name}",
        "instrument": instruments,
        "result": [folder],
        "actionStatus": f"http://schema.org/{done}",
        "object": [
            one for one in (model, record.machine and _machine(crate, record.machine)) if one
        ],
    }
    starts = getattr(record, "starts", [])
    if starts:
        properties["startTime"] = starts[0].started_utc
    if record.finished_utc:
        properties["endTime"] = record.finished_utc
    if told:
        properties["additionalProperty"] = _values(crate, f"#{name}", told)
    action = crate.add(ContextEntity(crate, f"#execution-{name}", properties=properties))
    crate.root_dataset.append_to("mentions", action)


def _software(crate: ROCrate, one: Software) -> ContextEntity:
    name = f"#{one.name}-{one.version}"
    return _entity(
        crate, name, "SoftwareApplication", one.name, softwareVersion=one.version,
        additionalProperty=_values(crate, name, dict(one.detail)),
    )  # fmt: skip


def _machine(crate: ROCrate, machine: Machine) -> ContextEntity:
    name = f"#machine-{machine.machine_id[:12]}"
    return _entity(
        crate, name, "IndividualProduct", f"{machine.cpus} cores of {machine.cpu_model}",
        identifier=machine.machine_id, additionalProperty=_values(crate, name, _fields(machine)),
    )  # fmt: skip


def _fields(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json")


def _values(crate: ROCrate, of: str, told: dict[str, Any]) -> list[ContextEntity]:
    """One property a value; what is not plain is written as JSON."""
    found = []
    for key, value in told.items():
        if value in (None, "", [], {}):
            continue
        plain = value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)
        name = f"{of}-{key.replace(' ', '-')}"
        found.append(_entity(crate, name, "PropertyValue", key, value=plain))
    return found


def _entity(crate: ROCrate, name: str, kind: str, title: str, **more: Any) -> ContextEntity:
    """An entity of the crate, made once."""
    known = crate.dereference(name)
    if known is not None:
        return known
    properties = {"@type": kind, "name": title, **{k: v for k, v in more.items() if v}}
    return crate.add(ContextEntity(crate, name, properties=properties))
