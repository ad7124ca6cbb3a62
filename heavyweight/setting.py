"""All that defines a session's cells: study, profile, arm, artefact, versions, cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heavyweight import design, identity, models, servers
from heavyweight.load.spec import LoadSpec
from heavyweight.parameters import Parameters
from heavyweight.paths import study_root

STUDY_FILE = "study.toml"


@dataclass(frozen=True)
class Setting:
    """What a session measures, resolved and checked before anything is started."""

    root: Path
    study: design.Study
    profile: design.Profile
    arm: design.Arm
    model: design.Model
    parameters: Parameters
    cores: list[int]
    artefact: models.PreparedArtefact | None
    installed: servers.Installed | None

    @classmethod
    def resolve(cls, parameters: Parameters) -> Setting:
        """Look everything up.

        Raises:
            BadInput: an unknown name, or a parameter that does not fit the arm.
            NotInstalled: the server or the model's artefact is missing.
        """
        root = study_root()
        study = design.load_study(root / STUDY_FILE)
        profile = study.profile(parameters.profile)
        arm = parameters.applied_to(study.arm(parameters.arm))
        model = study.model(parameters.model or profile.model)
        return cls(
            root=root,
            study=study,
            profile=profile,
            arm=arm,
            model=model,
            parameters=parameters,
            cores=servers.cores(study.same.cores),
            artefact=models.artefact(model, arm.artefact),
            installed=servers.installed(arm),
        )

    @property
    def users(self) -> list[int]:
        """The loads in the order in which they run."""
        return self.parameters.users or list(
            design.load_order(
                self.study.seed, self.parameters.block, self.arm.name, self.profile.users
            )
        )

    @property
    def artefact_sha256(self) -> str | None:
        """Checksum of what the server loads; None: not ours."""
        return self.artefact.sha256 if self.artefact else None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the programs that the study installed."""
        return {self.installed.name: self.installed.version} if self.installed else {}

    def cell_id(self, users: int) -> str:
        """The id of the cell with that load; see :func:`heavyweight.identity.cell_id`."""
        profile = self.profile
        return identity.cell_id(
            self.arm,
            self.artefact_sha256,
            self.versions,
            users=users,
            block=self.parameters.block,
            seed=self.study.seed,
            model=self.model.name,
            context_tokens=self.study.same.context_tokens,
            cores=self.cores,
            prompt_tokens=self.study.same.prompt_tokens,
            output_tokens=profile.output_tokens,
            window=[profile.min_seconds, profile.min_requests, profile.min_waves],
            cap_seconds=profile.cap_seconds,
        )

    def load_spec(
        self, users: int, server: servers.Server, *, run: str, model: str, folder: Path,
        start_id: int, stop_path: Path,
    ) -> LoadSpec:  # fmt: skip
        """What the load generator is to do for one cell.

        Args:
            users: the load.
            server: running and ready.
            run: name of the run.
            model: that it runs.
            folder: the session's.
            start_id: which start of the session's server this is.
            stop_path: the file by which a stop is asked for.
        """
        profile = self.profile
        return LoadSpec(
            cell={
                "cell_id": self.cell_id(users),
                "run": run,
                "session": folder.name,
                "arm": self.arm.name,
                "server": self.arm.server,
                "model": model,
                "emulated": self.arm.emulated,
            },
            base_url=server.base_url,
            api=server.api,
            model=server.served_model,
            extra_body=server.extra_body,
            users=users,
            seed=self.study.seed,
            block=self.parameters.block,
            output_tokens=profile.output_tokens,
            prompt_tokens=self.study.same.prompt_tokens,
            min_requests=profile.min_requests,
            min_waves=profile.min_waves,
            min_seconds=profile.min_seconds,
            cap_seconds=profile.cap_seconds,
            start_id=start_id,
            server_pgid=server.process.pgid if server.process else None,
            out_dir=folder,
            progress_path=folder / ".load-progress.json",
            stop_path=stop_path,
            allow_remote=self.parameters.allow_remote,
        )
