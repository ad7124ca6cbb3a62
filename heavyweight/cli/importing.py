"""heavyweight import: another tool's result files, read as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, console, emit, progress, say
from heavyweight.errors import BadInput
from heavyweight.records import TOOL_NAMES, Tool, imported_from

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Result files.")]


def import_files(
    files: Files,
    run: Annotated[str, typer.Option("--run", help="Name of the new run.")],
    tool: Annotated[
        str, typer.Option("--as", help=f"{', '.join(TOOL_NAMES)}; empty: it is guessed.")
    ] = "",
    arm: Annotated[
        list[str] | None,
        typer.Option(help="What was measured: one for all files, or one each (repeat it)."),
    ] = None,
    users: Annotated[
        int | None, typer.Option(min=1, help="Of a closed loop, where no file tells it.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=1e-6, help="Requests/s of an open loop, likewise.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="That prompts aimed at, where no file tells it.")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option(min=1, help="Asked of each request, where no file tells it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read result files of GuideLLM, vllm bench and AIPerf into a run that supports no verdict.

    What a file does not tell is missing in the run, and what follows from that is said.
    """
    from heavyweight.design import load_study
    from heavyweight.importing import Source, read, write_run
    from heavyweight.paths import study_root
    from heavyweight.run import commit_of

    if tool not in ("", *TOOL_NAMES):
        raise BadInput(f"no tool {tool!r}", f"one of {', '.join(TOOL_NAMES)}", "mend --as")
    kind: Tool | None = next((one for one in TOOL_NAMES if one == tool), None)
    if arm and len(arm) not in (1, len(files)):
        raise BadInput(
            f"{len(arm)} arms for {len(files)} files", "one for all, or one each", "repeat --arm"
        )
    found = [read(path, kind) for path in files]
    names = [*(arm or [])] * (len(files) if arm and len(arm) == 1 else 1)
    sources = [
        Source(one, names[place] if names else one.told.tool, users, rate, prompt_tokens,
               output_tokens)
        for place, one in enumerate(found)
    ]  # fmt: skip
    root = study_root()
    limits = load_study(root / "study.toml").limits
    folder = write_run(root / "data" / "runs", run, sources, limits, commit_of(root))
    if as_json:
        emit({"run": say(folder.path), **folder.run.model_dump(mode="json", include={"imported"})})
        return
    console.print(say(folder.path), markup=False)
    progress(imported_from(folder.run.imported))
    for record in folder.run.imported:
        for what, follows in record.missing.items():
            progress(f"{record.file} does not tell {what}: {follows}")
    progress(f"What it says: heavyweight study show {run}")
