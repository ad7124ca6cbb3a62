"""All that defines a session's cells: study, profile, arm, artefact, versions, cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heavyweight import design, identity, models, servers
from heavyweight.design import Load
from heavyweight.load.spec import Arrivals, LoadSpec
from heavyweight.parameters import Parameters
from heavyweight.paths import study_file, study_root

INDICES = 2**15  # of prompts, for each pair of lengths


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
        study = design.load_study(study_file(root / parameters.runs / parameters.run))
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
    def loads(self) -> list[Load]:
        """The closed loops in the order in which they run."""
        asked = self.parameters.users or ()
        planned = design.loads(self.study, self.profile, asked)
        if asked and not self.profile.lengths:
            return planned
        seed, block = self.study.seed, self.parameters.block
        return list(design.load_order(seed, block, self.arm.name, planned))

    @property
    def users(self) -> list[int]:
        """Users of the loads, each once, in the order in which they come."""
        return list(dict.fromkeys(load.users for load in self.loads))

    @property
    def artefact_sha256(self) -> str | None:
        """Checksum of what the server loads; None: not ours."""
        return self.artefact.sha256 if self.artefact else None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the programs that the study installed."""
        return {self.installed.name: self.installed.version} if self.installed else {}

    def cell_id(self, load: Load, **more: Any) -> str:
        """The id of the cell with that load; see :func:`heavyweight.identity.cell_id`.

        Args:
            load: a closed loop; of no users: an open one.
            more: what else defines an open loop.
        """
        profile = self.profile
        return identity.cell_id(
            self.arm,
            self.artefact_sha256,
            self.versions,
            users=load.users,
            block=self.parameters.block,
            seed=self.study.seed,
            model=self.model.name,
            context_tokens=self.study.same.context_tokens,
            cores=self.cores,
            prompt_tokens=load.prompt_tokens,
            output_tokens=load.output_tokens,
            window=[profile.min_seconds, profile.min_requests, profile.min_waves],
            cap_seconds=profile.cap_seconds,
            **more,
        )

    def server_config(
        self, arm: design.Arm, *, port: int, log_path: Path, default_port: bool = False
    ) -> servers.ServerConfig:
        """What one start of a server is given.

        Args:
            arm: the session's, or a copy of it that was changed.
            port: on 127.0.0.1.
            log_path: gets stdout and stderr.
            default_port: the server is not told its port.
        """
        return servers.ServerConfig(
            arm=arm,
            model=self.model,
            cores=self.cores,
            context_tokens=self.study.same.context_tokens,
            port=port,
            log_path=log_path,
            seed=self.study.seed,
            artefact=self.artefact,
            default_port=default_port,
        )

    def load_spec(
        self, load: Load, server: servers.Server, *, run: str, model: str, folder: Path,
        start_id: int, stop_path: Path, arrivals: Arrivals | None = None,
        capacity_fraction: float | None = None, **more: Any,
    ) -> LoadSpec:  # fmt: skip
        """What the load generator is to do for one cell.

        Args:
            load: a closed loop; of no users: an open one.
            server: running and ready.
            run: name of the run.
            model: that it runs.
            folder: the session's.
            start_id: which start of the session's server this is.
            stop_path: the file by which a stop is asked for.
            arrivals: of an open loop.
            capacity_fraction: of an open loop: its rate as a share of the capacity.
            more: what else defines the cell.
        """
        profile = self.profile
        if arrivals is not None:
            more["arrivals"] = arrivals.model_dump(mode="json", exclude_none=True)
        return LoadSpec(
            cell={
                "cell_id": self.cell_id(load, **more),
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
            users=load.users,
            arrivals=arrivals,
            capacity_fraction=capacity_fraction,
            seed=self.study.seed,
            block=self.parameters.block,
            output_tokens=load.output_tokens,
            prompt_tokens=load.prompt_tokens,
            first_index=load.place * INDICES,
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
