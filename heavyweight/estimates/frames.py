"""Tables with their columns and types even where nothing is in them; one row a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from heavyweight.errors import StoreError
from heavyweight.records import ServerStart, Session
from heavyweight.store import RunFolder, SessionFolder

LOAD = ["users", "output_tokens", "prompt_tokens"]
"""What makes two cells the same load."""

WARM = "warm"
"""Condition of the experiment coldstart: an ordinary restart, with all caches filled."""

INTEGERS = ("block", *LOAD, "start_id", "starts", "deaths", "hangs", "slots", "requests", "errors")
SESSION_COLUMNS = (
    "session", "block", "arm", "server", "model", "version", "configuration", "family", "gpus",
    "kernel", "machine_id", "emulated", "slots", "experiment", "complete", "starts", "deaths",
    "hangs", "ready_ms", "first_token_ms", "first_request_ttft_ms", "artefact",
    "weights_loaded_bytes", "open_ports",
)  # fmt: skip


def readable(
    run: RunFolder, problems: list[str] | None = None
) -> Iterator[tuple[SessionFolder, Session]]:
    """The sessions whose record can be read, each with it.

    Args:
        run: its folder.
        problems: is told of the others, in words; None: whoever assesses the run tells of them.
    """
    for folder in run.sessions():
        try:
            yield folder, folder.record
        except StoreError as error:
            if problems is not None:
                problems.append(str(error))


def sessions_table(run: RunFolder) -> pd.DataFrame:
    """One row a session whose record can be read."""
    rows = []
    for _, session in readable(run):
        starts, machine = _restarts(session), session.machine
        start = starts[0] if starts else None
        identity = session.identity
        rows.append(
            {
                **{name: getattr(session, name) for name in SESSION_COLUMNS[:5]},
                "version": identity.version if identity else None,
                "configuration": _configuration(session),
                "family": _configuration(session, but_slots=True),
                "gpus": ", ".join(gpu.get("name", "GPU") for gpu in machine.gpus)
                if machine
                else None,
                "kernel": machine.kernel if machine else None,
                "machine_id": session.machine_id,
                "emulated": session.emulated,
                "slots": session.slots,
                "experiment": session.experiment,
                "complete": session.complete,
                "starts": len(starts),
                "deaths": session.deaths,
                "hangs": session.hangs,
                "open_ports": ", ".join(
                    map(str, sorted({port for one in starts for port in one.open_ports}))
                ),
                **{
                    name: np.nan if start is None else getattr(start, name)
                    for name in ("ready_ms", "first_token_ms", "first_request_ttft_ms")
                },
                "artefact": session.artefact,
                "weights_loaded_bytes": float(
                    identity.detail.get("weights_loaded_bytes", "nan") if identity else "nan"
                ),
            }
        )
    return typed(rows, SESSION_COLUMNS)


def _restarts(session: Session) -> list[ServerStart]:
    """Starts that count as the session's own: an ordinary restart, and those that it took more.

    The experiment coldstart starts its server under several conditions; the ordinary restart is
    the one with all caches warm, and no other start was needed for it.
    """
    if session.experiment != "coldstart":
        return session.starts
    return [start for start in session.starts if start.cold and start.cold.condition == WARM][:1]


def _configuration(session: Session, *, but_slots: bool = False) -> str:
    """What must be the same in all sessions of an arm: model, artefact, version, settings.

    But for its slots, it is the same for all arms that differ in nothing else.
    """
    version = session.identity.version if session.identity else None
    settings, slots = dict(session.settings), [session.slots]
    if but_slots:
        settings.pop("slots", None)
        slots = []
    parts = (session.server, session.model, session.artefact_sha256, version, *slots)
    return repr((*parts, sorted(settings.items()), session.context_tokens))


def typed(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a DataFrame that has its columns and types even without rows."""
    table = pd.DataFrame(rows, columns=list(columns))
    integers = {name: "Int64" for name in (*INTEGERS, "n", "needs", "failures") if name in table}
    floats = {
        name: float
        for name in table
        if name.endswith(("_ms", "_s", "_fraction", "_bytes"))
        or name in ("n_eff", "percentile", "value", "limit")
    }
    return table.astype(integers | floats)
