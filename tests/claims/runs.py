"""Runs with known truth that pretend to be measured, in temporary folders of tests only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heavyweight.records import Session
from heavyweight.store import RunFolder, write_json
from tests.synthetic import MACHINE, SyntheticArm, write_run

OLLAMA = SyntheticArm("ollama-q4", "Ollama Q4, 1 slot", slots=1)
PARALLEL = SyntheticArm("ollama-q4-parallel", "Ollama Q4, 8 slots", slots=8, crowding=0.3)
F16 = SyntheticArm("ollama-f16-parallel", "Ollama F16, 8 slots", slots=8, crowding=0.2)
VLLM = SyntheticArm("vllm-bf16", "vLLM BF16", slots=64, itl_ms=3.0, crowding=0.05)
VERSIONS = {"ollama": "0.24.0", "vllm": "0.21.0"}
TWO, FOUR = (OLLAMA, VLLM), (OLLAMA, PARALLEL, F16, VLLM)


def pretend(
    path: Path,
    arms: Sequence[SyntheticArm] = TWO,
    *,
    gpu: str = "",
    model: str = "smollm2-135m",
    contrasts: dict[str, tuple[str, str]] | None = None,
    limits: dict[str, float] | None = None,
    edit_session: Callable[[Session], Session] | None = None,
    **options: Any,
) -> RunFolder:
    """A run whose record says that it was measured.

    Args:
        path: folder of the run.
        arms: the servers.
        gpu: of the machine; empty: it has none.
        model: that the sessions ran.
        contrasts: of the run; by default those of profile full, as far as the arms are there.
        limits: of the validity checks, where they are others than the study's.
        edit_session: changes a session's record once more.
        **options: of ``write_run``.
    """
    machine = MACHINE.model_copy(update={"gpus": [{"name": gpu}] if gpu else []})

    def measured(session: Session) -> Session:
        kind = "vllm" if session.arm.startswith("vllm") else "ollama"
        found = session.model_copy(
            update={
                "emulated": False, "model": model, "machine": machine, "server": kind,
                "identity": session.identity and session.identity.model_copy(
                    update={"server": kind, "version": VERSIONS[kind]}
                ),
            }
        )  # fmt: skip
        return edit_session(found) if edit_session else found

    folder = write_run(path, arms=arms, edit_session=measured, **options)
    names = {arm.name for arm in arms}
    whole = {
        name: pair
        for name, pair in {
            "A": ("vllm-bf16", "ollama-q4"),
            "B": ("vllm-bf16", "ollama-q4-parallel"),
            "C": ("vllm-bf16", "ollama-f16-parallel"),
        }.items()
        if set(pair) <= names
    }
    run = folder.run.model_copy(
        update={
            "emulated": False,
            "contrasts": whole if contrasts is None else contrasts,
            "limits": folder.run.limits | (limits or {}),
        }
    )
    write_json(path / "run.json", run)
    return RunFolder.open(path)
