"""Where the numbers of a figure come from: what is written under each."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from heavyweight.errors import StoreError
from heavyweight.kinds import SERVERS
from heavyweight.records import Cell, Machine, Session, imported_from, vector_units
from heavyweight.store import RunFolder
from heavyweight.text import count_of


@dataclass(frozen=True)
class Provenance:
    """The setting and the data of a run, in words.

    Args:
        run: name of the run.
        model: what the servers ran.
        lengths: tokens in and out; empty where no cell was measured.
        machine: hardware.
        versions: the servers, as they named themselves.
        blocks: how often it was repeated.
        commit: of the code that measured.
        emulated: true: stamped on every figure.
        imported: which other tools measured it, in words; empty: this study did.
        labels: arm: how it is called, in the order of the plan.
    """

    run: str
    model: str
    lengths: str
    machine: str
    versions: str
    blocks: str
    commit: str
    emulated: bool
    imported: str
    labels: dict[str, str]

    @classmethod
    def of(cls, folder: RunFolder) -> Provenance:
        """Read it from a run.

        Raises:
            StoreError: the run has no finished cell, and no finished session of an experiment that
                needs none.
        """
        run = folder.run
        sessions = [session.record for session in folder.sessions()]
        cells = [file.cell for session in folder.sessions() for file in session.cells()]
        if not cells and (run.users or not any(session.complete for session in sessions)):
            raise StoreError(
                f"no finished cell in {folder.path.name}",
                "a run with at least one measured cell",
                "`heavyweight study run` goes on where it stopped",
            )
        done = {cell.block for cell in cells} or {one.block for one in sessions if one.complete}
        arms = dict.fromkeys([*run.arms, *sorted(session.arm for session in sessions)])
        return cls(
            run=run.run,
            model=", ".join(sorted({one.model or "model not told" for one in sessions})),
            lengths=_lengths(cells),
            machine=_machines([one.machine for one in sessions if one.machine]),
            versions=_versions(sessions),
            blocks=f"{len(done)} of {run.blocks} blocks" if len(done) < run.blocks else
            count_of(run.blocks, "block"),
            commit=_commit(run.commit, run.clean),
            emulated=bool(run.emulated or any(session.emulated for session in sessions)),
            imported=imported_from(run.imported),
            labels={arm: run.labels.get(arm, arm) for arm in arms},
        )  # fmt: skip

    def footer(self) -> list[str]:
        """What stands under every figure."""
        told = (self.model, self.lengths, self.versions, self.machine)
        return [
            f"Setting: {'; '.join(filter(None, told))}.",
            f"Data: run {self.run}, {self.blocks}, code {self.commit}."
            + (" EMULATED servers: evidence of nothing." if self.emulated else "")
            + (f" {self.imported}" if self.imported else ""),
        ]

    def table(self) -> pd.DataFrame:
        """The same as a table, for a notebook."""
        rows = {
            "run": self.run
            + (" (EMULATED: evidence of nothing)" if self.emulated else "")
            + (f" ({self.imported.rstrip('.')})" if self.imported else ""),
            "model": self.model,
            "lengths": self.lengths,
            "servers": self.versions,
            "machine": self.machine,
            "repeated": self.blocks,
            "code": self.commit,
        }
        return pd.DataFrame({"": rows}).rename_axis(None)


def _lengths(cells: list[Cell]) -> str:
    if not cells:
        return ""
    outputs = sorted({one.output_tokens for one in cells if one.output_tokens is not None})
    prompts = sorted(
        {one.prompt_tokens_target for one in cells if one.prompt_tokens_target is not None}
    )
    read, asked = (" or ".join(map(str, sizes)) or "untold" for sizes in (prompts, outputs))
    return f"about {read} tokens in, {asked} out"


def _title(server: str) -> str:
    return SERVERS[server].title if server in SERVERS else server


def _versions(sessions: list[Session]) -> str:
    seen = {
        f"{_title(s.identity.server)} {s.identity.version or '(version not told)'}"
        for s in sessions
        if s.identity
    }
    return ", ".join(sorted(seen)) or "servers not identified"


def _machines(machines: list[Machine]) -> str:
    kinds = {machine.machine_id: machine for machine in machines}
    told = "; ".join(
        f"{m.cpus} cores of {' '.join(m.cpu_model.split())}{_vectors(m)}, "
        f"{m.memory_bytes / 2**30:.0f} GiB"
        + "".join(f", {gpu.get('name', 'GPU')}" for gpu in m.gpus)
        for _, m in sorted(kinds.items())
    )
    return told or "machine not told"


def _vectors(machine: Machine) -> str:
    """What it computes with where it has no GPU: vLLM is many times slower on AVX2."""
    units = [] if machine.gpus else vector_units(machine.cpu_flags)
    return f" with {units[0]}" if units else ""


def _commit(commit: str | None, clean: bool | None) -> str:
    if commit is None:
        return "of no commit"
    return commit[:10] + ("" if clean else " with changes")
