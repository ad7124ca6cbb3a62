"""What a session writes down besides its cells: what it is, and what a question came to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heavyweight import machine, store
from heavyweight.records import Probe, Session
from heavyweight.servers import Server
from heavyweight.setting import Setting


def described(setting: Setting, server: Server, run: str, session: str) -> Session:
    """session.json of a session that begins now.

    Args:
        setting: all that defines it.
        server: of its arm, not started.
        run: name of the run.
        session: name of its folder.
    """
    arm = setting.arm
    installed = [setting.installed] if setting.installed else []
    return Session(
        run=run,
        session=session,
        arm=arm.name,
        server=arm.server,
        experiment=setting.profile.experiment,
        block=setting.parameters.block,
        order=setting.parameters.order,
        emulated=arm.emulated,
        model=setting.model.name,
        artefact=arm.artefact,
        artefact_sha256=setting.artefact_sha256,
        slots=arm.slots,
        context_tokens=setting.study.same.context_tokens,
        settings=server.settings(),
        software=[one.software() for one in installed],
        machine=machine.describe(),
        users_planned=setting.users,
        deaths=0,
        hangs=0,
    )


def write_probe(
    folder: Path, session: Session, name: str, question: str, *, start_id: int, **seen: Any
) -> None:
    """One question put to a session's server, and what came of it, on disk at once.

    Args:
        folder: the session's.
        session: its record.
        name: of the probe.
        question: so that the answer is yes or no.
        start_id: which start of the server was asked; 0: one of the probe's own.
        seen: the other fields of :class:`heavyweight.records.Probe`: answer, why, ...
    """
    assert session.server is not None  # only an imported session does not know them
    assert session.emulated is not None
    probe = Probe(
        probe=name,
        question=question,
        run=session.run,
        session=session.session,
        arm=session.arm,
        server=session.server,
        block=session.block,
        start_id=start_id,
        emulated=session.emulated,
        finished_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        **seen,
    )
    store.write_probe(folder, probe)
