"""The command's tree; each noun is a module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heavyweight import __version__
from heavyweight.cli import (
    claims,
    cost,
    doctor,
    documents,
    exporting,
    importing,
    load,
    models,
    packing,
    physics,
    reproduce,
    servers,
    study,
    verify,
)
from heavyweight.cli.output import AsJson, console, emit, progress, say

app = typer.Typer(
    name="heavyweight",
    help="When is the heavyweight worth it? Ollama against vLLM, measured on your machine.",
    epilog="Examples: heavyweight doctor | heavyweight study plan --profile quick | "
    "heavyweight study run --profile quick | heavyweight report quick-1",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(servers.app, name="servers")
app.add_typer(models.app, name="models")
app.add_typer(study.app, name="study")
study.app.command(
    epilog="Examples: heavyweight study cost gpu-full-1 --price-per-hour 1.90 | "
    "heavyweight study cost reference --gpu A40 --json",
)(cost.cost)
study.app.command(
    epilog="Example: heavyweight study pack gpu-full-1 --out gpu-full-1.zip",
)(packing.pack)
study.app.command(
    epilog="Example: heavyweight study unpack gpu-full-1.zip && heavyweight report gpu-full-1",
)(packing.unpack)
study.app.command(epilog="Example: heavyweight study seal sweep")(verify.seal)
app.command(epilog="Examples: heavyweight verify | heavyweight verify data/reference --json")(
    verify.verify
)
app.command(
    epilog="Examples: heavyweight reproduce data/reference --plan | heavyweight reproduce "
    "data/reference --blocks 3 | heavyweight reproduce data/reference --against quick-1",
)(reproduce.reproduce)
app.command(
    epilog="Examples: heavyweight export quick-1 --to csv --out requests.csv | heavyweight export "
    "theirs --to jsonl",
)(exporting.export)
app.command(
    name="import",
    epilog="Examples: heavyweight import result.json --run theirs | heavyweight import "
    "profile_export.jsonl --as aiperf --run theirs --users 8 | heavyweight import a.json b.json "
    "--arm ollama --arm vllm --run both",
)(importing.import_files)
app.command(
    epilog="Examples: heavyweight load http://127.0.0.1:8000 --users 8 | heavyweight load "
    "http://127.0.0.1:11434 --api ollama-chat --rate 2 --seconds 60 | heavyweight load "
    'http://127.0.0.1:8000 --users 1:64 --search "ttft_p99_ms<=500"',
)(load.load)
app.command(
    epilog="Examples: heavyweight physics --gpu A40 --model llama-3.1-8b --users 1 8 50 | "
    "heavyweight physics --bandwidth-gb-s 600 --memory-gb 24 --config config.json --weights q4",
)(physics.physics)

app.command(
    epilog="Examples: heavyweight claims | heavyweight claims quick-1 --verdict refuted | "
    "heavyweight claims --id B4c | heavyweight claims none --json",
)(claims.claims)
app.command(epilog="Example: heavyweight documents --json")(documents.documents)
app.command(
    epilog="Examples: heavyweight doctor --json | heavyweight doctor --gpu --profile gpu-full"
)(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        console.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command(epilog="Example: heavyweight report quick-1 --out report.html")
def report(
    run: Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")] = "",
    out: Annotated[Path | None, typer.Option(help="The page; empty: report.html there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Execute the analysis notebooks over a run and make one self-contained page."""
    from heavyweight.cli.runs import find_run
    from heavyweight.report import report as make

    folder = find_run(run)
    page = make(folder.path, out or folder.path / "report.html", progress=progress)
    if as_json:
        emit({"run": folder.run.run, "page": say(page)})
    else:
        console.print(say(page))


@app.command(epilog="Example: heavyweight dictionary > data/README.md")
def dictionary(as_json: AsJson = False) -> None:
    """Print the data dictionary that is data/README.md; as JSON: the schemas of its records."""
    from heavyweight.dictionary import markdown
    from heavyweight.records import JSON_RECORDS

    if as_json:
        emit({record.__name__: record.model_json_schema() for record in JSON_RECORDS})
    else:
        print(markdown(), end="")


@app.command(epilog="Example: heavyweight readme")
def readme(as_json: AsJson = False) -> None:
    """Write the README's figure and numbers anew from data/reference."""
    from heavyweight.paths import study_root
    from heavyweight.readme import FIGURE, update
    from heavyweight.store import RunFolder

    root = study_root()
    run = RunFolder.open(root / "data" / "reference")
    update(root / "README.md", run)
    if as_json:
        emit({"readme": "README.md", "figure": say(run.path / FIGURE)})
    else:
        console.print(f"README.md and {say(run.path / FIGURE)}")
