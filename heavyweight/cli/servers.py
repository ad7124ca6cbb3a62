"""heavyweight servers: install them, say which are here."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight import servers
from heavyweight.cli.output import AsJson, emit, progress, say, table
from heavyweight.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Install the servers and say what is installed.")
NAMES = ("ollama", "vllm")


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
