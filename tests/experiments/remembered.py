"""A synthetic run of the experiment memory whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heavyweight.records import Probe, Session
from heavyweight.store import RunFolder, SessionFolder, write_probe
from tests.claims.runs import F16, OLLAMA, PARALLEL, pretend
from tests.synthetic import UTC, SyntheticArm

MB = 1_000_000
KV16K = SyntheticArm("vllm-bf16-kv16k", "vLLM BF16, KV cache of 16,384 tokens", slots=8)
ARMS = (OLLAMA, PARALLEL, F16, KV16K)
CONTRASTS = {"C": ("vllm-bf16-kv16k", "ollama-f16-parallel")}
KV_BYTES_PER_TOKEN = 2 * 30 * 3 * 64 * 2  # of SmolLM2-135M at 16 bits
ARTEFACTS = {"ollama-q4": "gguf-q4", "ollama-q4-parallel": "gguf-q4",
             "ollama-f16-parallel": "gguf-f16", "vllm-bf16-kv16k": "checkpoint"}  # fmt: skip
WEIGHTS = {"gguf-q4": 98 * MB, "gguf-f16": 271 * MB, "checkpoint": 269 * MB}
RESERVED = {"ollama-q4": 2048}
PEAK = {"ollama-q4": 400 * MB, "ollama-q4-parallel": 750 * MB, "ollama-f16-parallel": 1000 * MB,
        "vllm-bf16-kv16k": 2000 * MB}  # fmt: skip
"""PSS at 8 users in block 2; in block b it is (b - 2) % more."""
SHARED = 1.25  # RSS / PSS
BLOCK_TOKENS = 128
UNITS: dict[str, Any] = {"run": "memory", "emulated": False, "finished_utc": UTC, "start_id": 1}


def remembered(
    path: Path,
    arms: Sequence[SyntheticArm] = ARMS,
    vram: Mapping[str, float] | None = None,
    edit_session: Callable[[Session], Session] = lambda session: session,
    **options: Any,
) -> RunFolder:
    """A run that pretends to have been measured, with its probes.

    Args:
        path: folder of the run.
        arms: the servers.
        vram: peak of each arm's memory of the GPU at 8 users, bytes; None: there is no GPU.
        edit_session: changes a session's record once more.
        **options: of ``pretend``.
    """

    def edit(session: Session) -> Session:
        artefact = ARTEFACTS.get(session.arm, "checkpoint")
        return edit_session(
            session.model_copy(update={"artefact": artefact, "experiment": "memory"})
        )

    given = {"users": (1, 8), "contrasts": CONTRASTS, "edit_session": edit} | options
    folder = pretend(path, arms, **given)
    for session in folder.sessions():
        _remember(session, vram)
    return folder


def _remember(session: SessionFolder, vram: Mapping[str, float] | None) -> None:
    record = session.record
    shared = {"session": record.session, "arm": record.arm, "server": record.server,
              "block": record.block, **UNITS}  # fmt: skip
    told = record.server == "ollama"
    tokens = RESERVED.get(record.arm, 16_384)
    parts = {
        "weights_bytes": WEIGHTS[record.artefact],
        "kv_reserved_tokens": tokens,
        "kv_reserved_bytes": tokens * KV_BYTES_PER_TOKEN if told else None,
    }
    cells = {file.cell.users: file.cell.cell_id for file in session.cells()}
    for name, users, share in (
        ("memory-ready", 0, 0.2), ("memory-loaded", 0, 0.9), ("memory-n0001", 1, 0.95),
        ("memory-n0008", 8, 1.0),
    ):  # fmt: skip
        grown = share * (1 + (record.block - 2) / 100)
        pss = PEAK.get(record.arm, 2000 * MB) * grown
        counts = {
            "reading": "peak" if users else "now", "users": users, **parts, "processes": 2,
            "threads": 8, "rss_bytes": pss * SHARED, "pss_bytes": pss, "private_bytes": pss * 0.9,
            "anonymous_bytes": pss, "file_bytes": pss * 0.25, "shmem_bytes": 0,
            "highest_rss_bytes": pss * SHARED * 1.01,
            "vram_bytes": vram and vram[record.arm] * grown,
        }  # fmt: skip
        trials = [counts]
        if users:
            counts["cell_id"] = cells.get(users)
            trials.append(counts | {"reading": "now"})
        write_probe(
            session.path,
            Probe(probe=name, question="?", answer="yes", trials=trials, value=pss, why="",
                  **shared),
        )  # fmt: skip
    write_probe(session.path, cache_probe(shared, tokens, record.slots or 1, paged=not told))


def cache_probe(shared: dict[str, Any], reserved: int, slots: int, *, paged: bool) -> Probe:
    """Streams of 100 and of 200 tokens each: blocks of 128, or a part for each slot."""
    streams = min(slots, 8)
    trials: list[dict[str, Any]] = []
    for each in (100, 200):
        assigned = -(-each // BLOCK_TOKENS) * BLOCK_TOKENS * streams if paged else reserved
        trials.append(
            {"moment": "in flight", "sequences": streams, "tokens_in_flight": each * streams,
             "assigned_tokens": assigned, "reserved_tokens": reserved, "reserved_bytes": None,
             "block_tokens": BLOCK_TOKENS if paged else None, "source": "a test",
             "wasted_tokens_per_sequence": assigned / streams - each,
             "wasted_share": 1 - each * streams / assigned}
        )  # fmt: skip
    if paged:
        trials.append(
            {"moment": "idle", "sequences": 0, "tokens_in_flight": 0, "assigned_tokens": 0,
             "reserved_tokens": reserved, "block_tokens": BLOCK_TOKENS}
        )  # fmt: skip
    return Probe(probe="kv-cache", question="?", answer="yes" if paged else "no", trials=trials,
                 why="", **shared)  # fmt: skip
