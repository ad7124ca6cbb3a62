"""heavyweight study pack, unpack: a run to be taken home from a rented machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, console, emit, progress, say
from heavyweight.cli.runs import find_run
from heavyweight.errors import BadInput
from heavyweight.paths import study_root
from heavyweight.servers.lock import refuse_while_measuring

Archive = Annotated[Path, typer.Argument(help="The file that `study pack` wrote.")]


def pack(
    run: Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="The archive; empty: NAME.zip in the working directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack a run into one file: raw data, plan, logs and executed notebooks, with checksums."""
    from heavyweight.packing import pack as make

    folder = find_run(run)
    refuse_while_measuring()
    path = out or Path(f"{folder.path.absolute().name}.zip")
    if not path.parent.is_dir():
        raise BadInput(f"no folder {path.parent.name}", "a folder for the archive", "make it")
    packed = make(folder, path)
    size, left = path.stat().st_size, packed.manifest.unfinished
    if as_json:
        emit({"archive": say(path), "size_bytes": size, **packed.manifest.model_dump()})
        return
    if left:
        progress(f"The run is not complete; not there: {', '.join(left)}.")
    console.print(f"{say(path)}: {len(packed.manifest.files)} files, {size / 1e6:.1f} MB",
                  markup=False)  # fmt: skip
    progress(f"Where it is read: heavyweight study unpack {path.name}")


def unpack(
    archive: Archive,
    name: Annotated[
        str, typer.Option(help="Name of the run's folder; empty: as it was packed.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Put a packed run into data/runs: checksums are checked, nothing is overwritten."""
    from heavyweight.packing import unfinished
    from heavyweight.packing import unpack as take

    folder = take(archive, study_root() / "data" / "runs", name)
    left = unfinished(folder)
    if as_json:
        emit({"run": say(folder.path), "profile": folder.run.profile, "unfinished": left})
        return
    if left:
        progress(f"The run is not complete; not there: {', '.join(left)}.")
    console.print(say(folder.path), markup=False)
    progress(f"The page is made by: heavyweight report {folder.path.name}")
