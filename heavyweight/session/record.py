"""A session's record as it is when the session begins."""

from __future__ import annotations

from heavyweight import machine
from heavyweight.records import Session
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
    )
