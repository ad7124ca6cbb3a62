"""What result files say -> a run folder, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from heavyweight.errors import BadInput, StoreError
from heavyweight.importing.reading import Found
from heavyweight.importing.told import Load, Row
from heavyweight.records import (
    IMPORTED_SCHEMA,
    SCHEMA_VERSION,
    TOOL_NAMES,
    Cell,
    Imported,
    Run,
    Session,
    Software,
)
from heavyweight.sealing import seal
from heavyweight.store import SESSION_FILE, RunFolder, write_cell, write_json

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
PROFILE = "imported"
CONTRAST = "imported"
MISSING = {
    "user, prompt_id": "whether prompts were the same, and counted the same, cannot be told",
    "chunk_bytes, handed_ns, headers_ns, finish_reason": "null",
    "server, machine, telemetry": "whether the machine was quiet, and the server as stated, cannot "
    "be told",
    "instrument": "how far the tool's times are from the server's own is not known",
}
OTHERWISE = {"window": "the whole load, ramp and drain included"}


@dataclass(frozen=True)
class Source:
    """A result file, and what who imports it says of it.

    Args:
        found: what was read.
        arm: that it is called by.
        users: of a closed loop; None: as the file says.
        rate_per_s: of an open loop; None: as the file says.
        prompt_tokens: that prompts aim at; None: as the file says.
        output_tokens: that each request was asked for; None: as the file says.
    """

    found: Found
    arm: str
    users: int | None = None
    rate_per_s: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None

    def loads(self) -> list[Load]:
        """The loads of the file with all that is known of them.

        Raises:
            BadInput: a load is not known, or is said otherwise than the file has it.
        """
        return [self._load(one) for one in self.found.told.loads]

    def said(self) -> dict[str, str]:
        """Options that were given, by name."""
        names = ("users", "rate_per_s", "prompt_tokens", "output_tokens")
        return {n: f"{value:g}" for n in names if (value := getattr(self, n)) is not None}

    def _load(self, load: Load) -> Load:
        for name in ("users", "rate_per_s", "prompt_tokens", "output_tokens"):
            said, told = getattr(self, name), getattr(load, name)
            if said is None:
                continue
            if told is not None and told != said:
                raise BadInput(
                    f"{self.found.name} tells {name.replace('_', ' ')} {told:g}, not {said:g}",
                    "what the file tells", "leave the option out",
                )  # fmt: skip
            load = replace(load, **{name: said})
        if (load.users is None) == (load.rate_per_s is None):
            raise BadInput(
                f"{self.found.name} does not tell how many users or requests/s there were"
                if load.users is None
                else f"{self.found.name} would have both users and a rate",
                "one of them", "say it: --users or --rate",
            )  # fmt: skip
        if self.output_tokens is not None:
            rows = [{**row, "output_tokens_asked": self.output_tokens} for row in load.rows]
            load = replace(load, rows=rows)
        return load


@dataclass
class _Blocks:
    """Which loads of which arm were seen in which block."""

    seen: dict[tuple[str, int], set[tuple[int | None, float | None]]] = field(default_factory=dict)

    def of(self, arm: str, loads: Sequence[Load]) -> int:
        """The first block of an arm that has none of these loads yet."""
        keys, block = {(one.users, one.rate_per_s) for one in loads}, 1
        while self.seen.setdefault((arm, block), set()) & keys:
            block += 1
        self.seen[arm, block] |= keys
        return block


def write_run(
    runs: Path,
    name: str,
    sources: Sequence[Source],
    limits: Mapping[str, float],
    commit: tuple[str | None, bool | None] = (None, None),
) -> RunFolder:
    """Write a run of result files; nothing is written if one of them cannot be used.

    Args:
        runs: folder of the runs; made if it is not there.
        name: of the run's folder.
        sources: the files, in order: those of one arm and load are its blocks.
        limits: of the validity checks.
        commit: of this checkout, and whether it has no changes.

    Raises:
        BadInput: a name cannot be one of a folder, or a file's load is not known.
        StoreError: there is a run of that name, or it cannot be written.
    """
    for what in (name, *(one.arm for one in sources)):
        if not NAME.fullmatch(what):
            raise BadInput(
                f"{what[:100]!r} is no name", "letters, digits, dot, dash and underscore",
                "choose another with --run or --arm",
            )  # fmt: skip
    target = runs / name
    if target.exists():
        raise StoreError(f"there is a run {name} already", "a name that is free",
                         "nothing is overwritten: choose another with --run")  # fmt: skip
    blocks = _Blocks()
    planned = []
    for place, source in enumerate(sources, 1):
        loads = source.loads()
        block = blocks.of(source.arm, loads)
        session = f"b{block:02d}-{source.arm}" + (f"-{place}" if len(sources) > 1 else "")
        planned.append((source, loads, block, session))
    arms = list(dict.fromkeys(source.arm for source in sources))
    run = Run(
        run=name, profile=PROFILE, seed=None, emulated=None, users=[],
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit[0], clean=commit[1], arms=arms,
        blocks=max(block for _, _, block, _ in planned),
        contrasts={CONTRAST: (arms[1], arms[0])} if len(arms) == 2 else {},
        limits=dict(limits), labels={arm: f"{arm}, IMPORTED" for arm in arms},
        imported=[_imported(source) for source in sources],
    )  # fmt: skip
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=runs, prefix=".import-") as place_:
            folder = RunFolder.create(Path(place_) / name, run)
            for source, loads, block, session in planned:
                _write_session(folder, source, loads, block, session)
            seal(folder)
            os.rename(folder.path, target)
    except OSError as error:
        raise StoreError(
            f"cannot write the run {name}: {error.strerror or error}", "a writable data/runs",
            "free some space, or choose another name with --run",
        ) from error  # fmt: skip
    return RunFolder.open(target)


def _imported(source: Source) -> Imported:
    found, told = source.found, source.found.told
    missing = {**MISSING, **told.missing}
    if source.output_tokens is not None:
        missing.pop("output_tokens_asked", None)
    return Imported(
        tool=told.tool, version=told.version, file=found.name, sha256=found.sha256,
        beside=told.beside, said=source.said(), missing=missing,
        otherwise={**OTHERWISE, **told.otherwise},
    )  # fmt: skip


def _write_session(
    folder: RunFolder, source: Source, loads: Sequence[Load], block: int, name: str
) -> None:
    path, told = folder.path / name, source.found.told
    path.mkdir()
    for place, load in enumerate(loads, 1):
        cell, table = _cell(folder.run.run, source, load, block, name, place)
        write_cell(path, cell, table)
    session = Session(
        run=folder.run.run, session=name, arm=source.arm, server=None, block=block, emulated=None,
        model=told.model, artefact=None, artefact_sha256=None, slots=None, context_tokens=None,
        software=[Software(name=TOOL_NAMES[told.tool], version=told.version or "not told")],
        machine=None, users_planned=[one.users for one in loads if one.users is not None],
        complete=True, imported=_imported(source),
    )  # fmt: skip
    write_json(path / SESSION_FILE, session)


def _cell(
    run: str, source: Source, load: Load, block: int, session: str, place: int
) -> tuple[Cell, pa.Table]:
    """A load as a cell: its origin is when its first request was sent."""
    found = source.found
    origin_ns = min(row["sent_ns"] for row in load.rows if row["sent_ns"] is not None)
    rows = [_moved(row, origin_ns) for row in load.rows]
    ends = [row["done_ns"] for row in rows if row["done_ns"] is not None]
    ends += [at for row in rows for at in row["chunk_ns"] or [] if at is not None]
    defines = {"run": run, "sha256": found.sha256, "place": place, "session": session,
               "said": source.said(), "schema": SCHEMA_VERSION}  # fmt: skip
    try:
        table = pa.Table.from_pylist(rows, schema=IMPORTED_SCHEMA)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise BadInput(
            f"{found.name} has a number that is too large", "times and tokens", "copy it again"
        ) from error
    cell = Cell(
        cell_id=hashlib.sha256(json.dumps(defines, sort_keys=True).encode()).hexdigest(),
        run=run, session=session, arm=source.arm, server=None, model=found.told.model, block=block,
        loop="open" if load.users is None else "closed", api=load.api, users=load.users or 0,
        arrivals=load.arrivals, rate_per_s=load.rate_per_s, output_tokens=load.output_tokens,
        prompt_tokens_target=load.prompt_tokens, seed=None, start_id=None, emulated=None,
        origin_monotonic_ns=None, origin_utc=_utc(origin_ns) if load.wall_clock else None,
        window_start_ns=0, window_end_ns=max(ends, default=0), ended="complete", idle_after=None,
        machine_load=None, client={}, imported=found.told.tool,
    )  # fmt: skip
    return cell, table


def _moved(row: Row, origin_ns: int) -> Row:
    """A row with its times from the cell's origin on."""
    moved = dict(row)
    for name in ("due_ns", "sent_ns", "done_ns"):
        if moved[name] is not None:
            moved[name] -= origin_ns
    if moved["chunk_ns"] is not None:
        moved["chunk_ns"] = [None if at is None else at - origin_ns for at in moved["chunk_ns"]]
    return moved


def _utc(origin_ns: int) -> str:
    return datetime.fromtimestamp(origin_ns / 1e9, UTC).isoformat(timespec="milliseconds")
