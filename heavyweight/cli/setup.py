"""What a study needs before its first session: servers installed, artefacts made."""

from __future__ import annotations

from collections.abc import Callable

from heavyweight import models, servers
from heavyweight.job import Job


def set_up(job: Job, progress: Callable[[str], None]) -> None:
    """Install the servers of a study's arms and make their artefacts; what is there is kept.

    For a profile that needs a GPU the doctor looks first; nothing begins if something is missing.

    Raises:
        InstallFailed, NotInstalled: with the remedy.
    """
    study = job.study
    model = study.model(str(job.extra.get("model") or job.profile.model))
    if job.profile.needs_gpu:
        from heavyweight.doctor.gpu import refuse_unready  # not above: few runs need it

        refuse_unready(job.root, study, job.profile, model)
    arms = [study.arm(name) for name in job.profile.arms]
    kinds = {arm.server for arm in arms if arm.installable}
    for kind in sorted(kinds):
        servers.install(kind, progress)
    wanted = sorted({arm.artefact for arm in arms} - {"none"})
    if wanted:
        models.prepare(model, wanted, progress)
