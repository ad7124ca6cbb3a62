"""A run of cold starts whose truth is known, for tests of the reading half: nothing was started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from heavyweight.records import ColdStart, Run, ServerIdentity, Session
from heavyweight.store import SESSION_FILE, RunFolder, write_json
from tests.synthetic import LIMITS, MACHINE, START, UTC

OLLAMA, VLLM = "ollama-q4", "vllm-bf16"
LABELS = {OLLAMA: "Ollama Q4, 1 slot", VLLM: "vLLM BF16"}
PARTS = {
    OLLAMA: {
        "warm": {"process": 100, "other": 10, "weights": 400, "first request": 90},
        "disk cold": {"process": 300, "other": 10, "weights": 1100, "first request": 90},
    },
    VLLM: {
        "warm": {"process": 20e3, "weights": 1e3, "compile": 12e3, "engine": 6e3, "API server": 1e3,
                 "other": 10, "first request": 290},
        "disk cold": {"process": 50e3, "weights": 2e3, "compile": 12e3, "engine": 6e3,
                      "API server": 1e3, "other": 10, "first request": 290},
        "compile cold": {"process": 20e3, "weights": 1e3, "compile": 80e3, "engine": 6e3,
                         "API server": 1e3, "other": 10, "first request": 290},
        "eager": {"process": 20e3, "weights": 1e3, "engine": 7e3, "API server": 1e3, "other": 10,
                  "first request": 490},
    },
}  # fmt: skip
"""Arm: condition: part: ms."""

SPREAD = 0.02  # standard deviation of the log of a block's speed
COMPILED = {"compile cold": "cold", "eager": "eager"}
Edit = Callable[[Session], Session]


def total_ms(arm: str, condition: str) -> float:
    """Truth: from the spawn to the first token."""
    return sum(PARTS[arm][condition].values())


def write_cold_run(
    path: Path,
    *,
    blocks: int = 4,
    spread: float = SPREAD,
    emulated: bool = True,
    edit: Edit | None = None,
) -> RunFolder:
    """Write a run of cold starts and open it.

    Args:
        path: folder of the run, made here and named like it.
        blocks: repetitions.
        spread: standard deviation of the log of a block's speed, of each arm by itself.
        emulated: as it is marked.
        edit: changes a session's record before it is written.
    """
    run = Run(
        run=path.name, profile="coldstart", experiment="coldstart", seed=1, created_utc=UTC,
        commit=None, clean=None, emulated=emulated, blocks=blocks, users=[], arms=[OLLAMA, VLLM],
        contrasts={"A": (VLLM, OLLAMA)}, limits=LIMITS, labels=LABELS,
    )  # fmt: skip
    folder = RunFolder.create(path, run)
    rng = np.random.default_rng(1)
    for block in range(1, blocks + 1):
        for order, arm in enumerate((OLLAMA, VLLM), start=1):
            session = _session(arm, block, order, float(np.exp(spread * rng.standard_normal())))
            session = session.model_copy(update={"run": path.name, "emulated": emulated})
            session = edit(session) if edit else session
            (path / session.session).mkdir()
            write_json(path / session.session / SESSION_FILE, session)
    return folder


def _session(arm: str, block: int, order: int, factor: float) -> Session:
    """A finished session: its conditions in another order in each block."""
    kind = "vllm" if arm == VLLM else "ollama"
    names = list(PARTS[arm])
    names = names[block % len(names) :] + names[: block % len(names)]
    starts = []
    for start_id, name in enumerate(names, start=1):
        parts = {part: factor * ms for part, ms in PARTS[arm][name].items()}
        first_ms = sum(parts.values())
        disk = "cold" if name == "disk cold" else "warm"
        filled = "none" if kind == "ollama" else "warm"
        cold = ColdStart(
            condition=name, disk=disk, dropped="fadvise" if disk == "cold" else "",
            compiled=COMPILED.get(name, filled), phases_ms=parts, full_speed_ms=first_ms + 1000,
            speeds_tok_s=[30 / factor, *[60 / factor] * 7],
            disk_read_bytes=400_000_000 if disk == "cold" else 0,
            cache_said="loaded" if name in ("warm", "disk cold") and kind == "vllm" else "",
        )  # fmt: skip
        starts.append(
            START.model_copy(
                update={
                    "start_id": start_id, "ready_ms": first_ms - parts["first request"] - 10,
                    "first_token_ms": first_ms, "first_request_ttft_ms": parts["first request"],
                    "cold": cold,
                }
            )
        )  # fmt: skip
    return Session(
        run="", session=f"b{block:02d}-{arm}", arm=arm, server=kind, experiment="coldstart",
        block=block, order=order, emulated=True, model="smollm2-135m", artefact="none",
        artefact_sha256=None, slots=1, context_tokens=2048, machine=MACHINE, starts=starts,
        identity=ServerIdentity(server=kind, version="1", model="smollm2-135m"),
        users_planned=[], complete=True, finished_utc=UTC,
    )  # fmt: skip
