"""How the command speaks: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

WIDE = 200  # columns where nobody's terminal says how wide it is

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def progress(message: str) -> None:
    """One line of progress."""
    errors.print(message, markup=False)


def emit(result: Any) -> None:
    """A result as JSON."""
    print(json.dumps(result, indent=2, default=str))


def table(head: list[str], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
    """A result as a table; missing values are blank."""
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        grid.add_column(name, overflow="fold")  # a narrow terminal cuts no number
    for row in rows:
        grid.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(grid, markup=False)


def say(path: Path) -> str:
    """A path as a user would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("../..") else relative
