"""All that is said of a run, computed anew from its raw data and held against what was said.

What was said lies in three places: the executed analyses and the page in the run's own folder, the
analyses that are committed with the outputs of a reference run, and the README.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode

from heavyweight import readme, report, sealing
from heavyweight.errors import StoreError, StudyError
from heavyweight.estimates import Assessment, assess
from heavyweight.figures import Provenance
from heavyweight.paths import study_root
from heavyweight.store import RunFolder

NOT_SEALED = "it was never sealed: nobody can tell whether its files are as they were measured"
PAGE = "report.html"
SHOWN = 70  # characters of a difference
VALIDITY = ("tables.cells(", "tables.failed_checks(")  # cells of an analysis that tell of checks
CSV = "data:text/csv;base64,"
_RUN = re.compile(r'^run: str = "([^"]+)"', re.M)


@dataclass(frozen=True)
class Held:
    """One thing that was said, held against the raw data.

    Args:
        what: that was looked at.
        good: whether it holds; None: there was nothing to hold it against.
        told: what was found.
    """

    what: str
    good: bool | None
    told: str


def verify(run_path: Path, progress: report.Progress | None = None) -> list[Held]:
    """Recompute checksums, validity, every estimate and verdict of a run from its raw data.

    Nothing is written into the run's folder.

    Args:
        run_path: the run's folder.
        progress: is told what is being done.

    Raises:
        StoreError: there is no such run, or its record cannot be read.
        StudyError: an analysis cannot be executed over it.
    """
    tell = progress or (lambda _: None)
    folder = RunFolder.open(run_path.absolute())
    tell("reading every file")
    found = [_checksums(folder), _description(folder), _limits(folder)]
    assessment = assess(folder)
    found.append(_records(assessment))
    try:
        Provenance.of(folder)
    except StoreError as error:
        if not assessment.problems:
            raise  # nothing is damaged: there is nothing yet
        return [*found, Held("analyses", False, f"cannot be computed: {error.found}")]
    with tempfile.TemporaryDirectory(prefix="heavyweight-verify-") as place:
        notebooks = report.executed_over(folder, Path(place), progress)
    found.append(_validity(folder, assessment, notebooks))
    for name, notebook in notebooks.items():
        found += _analysis(folder, name, notebook)
    found += _page(folder, list(notebooks.values()))
    return [*found, *_readme(folder)]


def _checksums(folder: RunFolder) -> Held:
    try:
        sums = sealing.Sums.read(folder.path)
    except StoreError as error:
        return Held(sealing.SUMS_FILE, False, error.found)
    if sums is None:
        return Held(sealing.SUMS_FILE, None, NOT_SEALED)
    seen = sums.compared()
    parts = [f"{len(seen.same)} files are as they were sealed"]
    for names, words in (
        (seen.changed, "changed since"), (seen.gone, "gone"), (seen.unsealed, "not sealed"),
    ):  # fmt: skip
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{words}: {', '.join(names[:3])}{more}")
    return Held(sealing.SUMS_FILE, seen.intact, "; ".join(parts))


def _description(folder: RunFolder) -> Held:
    """Whether ro-crate-metadata.json says of the run what its records say."""
    from heavyweight.sealing.crate import described

    path = folder.path / sealing.CRATE_FILE
    if not path.exists():
        return Held(sealing.CRATE_FILE, None, "there is none: the run was never sealed")
    try:
        said, now = (_entities(text) for text in (path.read_text("utf-8"), described(folder)))
    except StoreError as error:  # of a record that it would be made of
        return Held(sealing.CRATE_FILE, False, error.found)
    except (ValueError, KeyError, TypeError) as error:
        return Held(sealing.CRATE_FILE, False, f"cut off or no RO-Crate ({type(error).__name__})")
    apart = sorted(name for name in said.keys() | now.keys() if said.get(name) != now.get(name))
    told = f"{len(now)} entities, made of the records"
    return Held(sealing.CRATE_FILE, not apart, f"says otherwise of {apart[0]}" if apart else told)


def _entities(text: str) -> dict[str, Any]:
    return {entity["@id"]: entity for entity in json.loads(text)["@graph"]}


def _limits(folder: RunFolder) -> Held:
    """Whether the limits that cells were judged by are those of the study as it was planned."""
    what, path = "limits", folder.path / "study.toml"
    if not path.exists():
        return Held(what, None, "no study.toml beside the run: it was begun by hand")
    try:
        planned = tomllib.loads(path.read_text(encoding="utf-8"))["limits"]
    except (ValueError, KeyError) as error:
        return Held(what, False, f"study.toml of the run cannot be read ({error})")
    apart = sorted(
        name for name in planned.keys() | folder.run.limits.keys()
        if planned.get(name) != folder.run.limits.get(name)
    )  # fmt: skip
    told = f"{len(planned)} limits, as in the run's study.toml"
    return Held(what, not apart, f"not those of study.toml: {', '.join(apart)}" if apart else told)


def _records(assessment: Assessment) -> Held:
    rows = sum(len(assessment.requests(cell_id)) for cell_id in assessment.cells["cell_id"])
    told = f"{len(assessment.cells)} cells with {rows:,} requests were read"
    problems = assessment.problems
    return Held("records", not problems, "; ".join(problems) if problems else told)


def _validity(
    folder: RunFolder, assessment: Assessment, notebooks: dict[str, NotebookNode]
) -> Held:
    """The VALID cells and the failed checks, beside what the executed analyses say of them."""
    cells = assessment.cells
    word = "failed no check" if assessment.run.imported else "are VALID"
    told = f"{int(cells['valid'].sum())} of {len(cells)} cells {word}, recomputed"
    compared = 0
    for name, now in notebooks.items():
        for what, path in _said_before(folder, name):
            said, says = (_outputs(one, VALIDITY) for one in (_read(path), now))
            if difference := _difference(said, says):
                return Held("validity", False, f"{what} {difference}")
            compared += len(says)
    if not compared:
        return Held("validity", None, f"{told}; no executed analysis says it")
    return Held("validity", True, f"{told}, and {compared} tables of them say the same")


def _said_before(folder: RunFolder, name: str) -> list[tuple[str, Path]]:
    """The copies of an analysis that were executed over the run before, and how they are called."""
    root = study_root()
    committed = root / "analysis" / f"{name}.ipynb"
    kept = folder.path / report.REPORT / f"{name}.ipynb"
    places = [(f"{report.REPORT}/{name}.ipynb", kept)] if kept.exists() else []
    default = _RUN.search("\n".join(c.source for c in _read(committed).cells[:3]))
    if default and (root / default[1]).resolve() == folder.path.resolve():
        places.append((f"analysis/{name}.ipynb", committed))
    return places


def _analysis(folder: RunFolder, name: str, now: NotebookNode) -> Iterable[Held]:
    """An analysis as it was executed before, beside what it says now."""
    places = _said_before(folder, name)
    if not places:
        yield Held(f"analysis/{name}.ipynb", None, "was never executed over this run before")
    for what, path in places:
        said, says = _outputs(_read(path)), _outputs(now)
        told = f"{len(says)} outputs, recomputed, say the same"
        difference = _difference(said, says)
        yield Held(what, not difference, difference or told)


def _read(path: Path) -> NotebookNode:
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
        return notebook
    except (ValueError, OSError) as error:
        raise StudyError(
            f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__})",
            "an executed notebook", "make it again: `heavyweight report`",
        ) from error  # fmt: skip


def _outputs(notebook: NotebookNode, of: tuple[str, ...] = ("",)) -> list[str]:
    """What the cells that begin so say; of a figure its description and its data."""
    found = []
    for cell in (one for one in notebook.cells if one.source.startswith(of)):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", ""),
                     data.get("text/csv", "")]  # fmt: skip
            found.append("\n".join(filter(None, texts)))
    return found


def _difference(said: list[str], says: list[str]) -> str:
    """The first line in which two sets of texts differ; empty: none."""
    form = ""
    for before, now in zip_longest(said, says, fillvalue=""):
        for old, new in zip_longest(before.splitlines(), now.splitlines(), fillvalue=""):
            plain = [re.sub(r"<[^>]+>", "", text).strip() for text in (old, new)]
            if old != new and plain[0] == plain[1]:
                form = "the same words in another form"
            elif old != new:
                same = next((i for i, (a, b) in enumerate(zip(*plain, strict=False)) if a != b), 0)
                shown = [_short(text, same) for text in plain]
                return f"said {shown[0]}, and recomputed it is {shown[1]}"
    return form


def _short(text: str, same: int) -> str:
    """As much of a text as is shown of one, with where it ceases to be the same as the other."""
    begin = max(0, min(same - SHOWN // 3, len(text) - SHOWN))
    end = begin + SHOWN
    return repr("..." * bool(begin) + text[begin:end] + "..." * (len(text) > end))


def _page(folder: RunFolder, notebooks: list[NotebookNode]) -> Iterable[Held]:
    path = folder.path / PAGE
    if not path.exists():
        return [Held(PAGE, None, "there is no page: `heavyweight report` makes one")]
    said, says = (_words(text) for text in (
        path.read_text(encoding="utf-8", errors="replace"), report.page_of(folder, notebooks),
    ))  # fmt: skip
    difference = _difference([said], [says])
    told = f"{len(says.splitlines())} lines of text, recomputed, say the same"
    return [Held(PAGE, not difference, difference or told)]


def _words(html: str) -> str:
    """What a page says, line by line, with the descriptions of its figures and their data."""
    soup = BeautifulSoup(html, "html.parser")
    for image in soup.find_all("img"):
        image.replace_with(f"\n{image.get('alt', '')}\n")
    for link in soup.find_all("a", href=re.compile(f"^{CSV}")):
        link.append(f"\n{_decoded(str(link['href']))}\n")
    for element in soup.find_all(["style", "script"]):
        element.decompose()
    lines = (line.strip() for line in soup.get_text("\n").splitlines())
    return "\n".join(line for line in lines if line)


def _decoded(link: str) -> str:
    """The text of a data link; of one that is none, the link itself."""
    try:
        return base64.b64decode(link.removeprefix(CSV), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return link


def _readme(folder: RunFolder) -> Iterable[Held]:
    root = study_root()
    if folder.path.resolve() != (root / "data" / "reference").resolve():
        return []
    text = (root / "README.md").read_text(encoding="utf-8")
    said = text[text.find(readme.BEGIN) : text.find(readme.END) + len(readme.END)]
    difference = _difference([said], [readme.block(folder, "data/reference")])
    told = "its generated part, recomputed, says the same"
    return [Held("README.md", not difference, difference or told)]
