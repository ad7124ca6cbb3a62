"""heavyweight servers: install them, say which are here."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight import servers
from heavyweight.cli.output import AsJson, console, emit, progress, say, table
from heavyweight.design import load_study
from heavyweight.errors import BadInput, NotInstalled
from heavyweight.kinds import SERVERS
from heavyweight.paths import study_root
from heavyweight.servers.lock import SessionLock

app = typer.Typer(no_args_is_help=True, help="Install the servers and say what is installed.")
NAMES = tuple(name for name, kind in SERVERS.items() if kind.installable)


@app.command(epilog="Example: heavyweight servers install ollama")
def install(
    names: Annotated[list[str] | None, typer.Argument(help="ollama, vllm; empty: both.")] = None,
    as_json: AsJson = False,
) -> None:
    """Install servers into the user's cache folder; what is there and right is kept."""
    for name in names or ():
        if name not in NAMES:
            raise BadInput(f"unknown server {name!r}", f"one of {', '.join(NAMES)}", "mend it")
    installed = [servers.install(name, progress) for name in names or NAMES]
    if as_json:
        emit([vars(one) for one in installed])
    else:
        table(["server", "version", "where"], [[i.name, i.version, say(i.path)] for i in installed])


@app.command(name="list", epilog="Example: heavyweight servers list --json")
def list_servers(as_json: AsJson = False) -> None:
    """Which servers of the study's arms are installed."""
    rows = []
    for arm in load_study(study_root() / "study.toml").arms.values():
        if arm.server not in NAMES:
            continue
        try:
            found = servers.installed(arm)
            state, where = "installed", say(found.path) if found else ""
        except NotInstalled as missing:
            state, where = "missing", missing.remedy
        row = {"server": arm.server, "version": arm.version, "state": state, "where": where}
        if row not in rows:
            rows.append(row)
    if as_json:
        emit(rows)
    else:
        table(list(rows[0]), [row.values() for row in rows])


@app.command(epilog="Example: heavyweight servers stop")
def stop(as_json: AsJson = False) -> None:
    """Stop a server that a session left over, by its process group; nothing else is touched."""
    told: list[str] = []
    with SessionLock(told.append):  # taking the machine stops what is left over
        pass
    if as_json:
        emit({"stopped": told})
    else:
        console.print(told[0] if told else "no server is left over", markup=False)
