"""One self-contained page of a run: the executed analysis notebooks, without the network."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import papermill
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode

from heavyweight import claims, paths, tables
from heavyweight.errors import StoreError, StudyError
from heavyweight.estimates import Assessment, assess
from heavyweight.figures import Provenance
from heavyweight.kinds import EXPERIMENTS, VERDICTS
from heavyweight.store import RunFolder, write_text
from heavyweight.together import together

REPORT = "report"  # folder of the executed analyses in a run's
NOTEBOOKS = {name: experiment.analyses for name, experiment in EXPERIMENTS.items()}
"""The analyses that are made of a run, by the experiment that it measured."""

HEADING = re.compile(r'<h([1-3]) id="([^"]+)">(.*?)</h\1>', re.DOTALL)
ANCHOR = re.compile(r'<a class="anchor-link".*?</a>', re.DOTALL)
LONG_WORDS = re.compile(r"<(t[dh])>([^<]{33,})</\1>")  # as wide as .words in page.css is at least
NOT_ON_PAGE = {"parameters", "injected-parameters", "notebook-only"}
TABLE_STYLE = re.compile(r"<style scoped>.*?</style>", re.DOTALL)

NOTHING = Markup("")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One cell of an executed notebook as the page shows it.

    Args:
        text: a markdown cell as HTML.
        code: a code cell's source, coloured; folded away.
        outputs: its outputs as HTML.
        folded: its outputs are folded away too.
    """

    text: Markup = NOTHING
    code: Markup = NOTHING
    outputs: tuple[Markup, ...] = ()
    folded: bool = False


def report(run_path: Path, out: Path, progress: Progress | None = None) -> Path:
    """Execute the analysis notebooks over a run and write one HTML page.

    The executed notebooks are kept in the run's folder, below ``report``.

    Args:
        run_path: a run folder.
        out: the page; an older one is replaced.
        progress: is told what is being done.

    Returns:
        The page's path.

    Raises:
        StoreError: no such run, or the page cannot be written.
        StudyError: a notebook failed; what it said is in the message.
    """
    folder = RunFolder.open(run_path.absolute())
    Provenance.of(folder)  # refuses a run without a cell before anything is executed
    notebooks = executed_over(folder, folder.path / REPORT, progress)
    if progress:
        progress("writing the page")
    text = page_of(folder, list(notebooks.values()))
    return write_text(made(out.parent) / out.name, text)


def executed_over(
    folder: RunFolder, into: Path, progress: Progress | None = None
) -> dict[str, NotebookNode]:
    """Execute the analyses that belong to a run over it.

    Args:
        folder: the run.
        into: folder of the executed copies; made if it is not there.
        progress: is told what is being done.

    Returns:
        Name of each analysis: the executed notebook, in the order of the page.

    Raises:
        StudyError: a notebook failed; what it said is in the message.
    """
    names = NOTEBOOKS[folder.run.experiment]
    found = {}
    # Each has a kernel of its own, and most of its time is one core's. papermill changes the
    # working directory of the process meanwhile: several at once would leave it somewhere else.
    with contextlib.chdir(Path.cwd()), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        waiting = [pool.submit(execute, name, folder.path, into) for name in names]
        for name, executed in zip(names, waiting, strict=True):
            if progress:
                progress(f"executing analysis/{name}.ipynb over run {folder.run.run}")
            found[name] = executed.result()
    return found


def page_of(folder: RunFolder, notebooks: list[NotebookNode]) -> str:
    """The page of a run, of its executed notebooks."""
    assessment = assess(folder)
    verdicts = ""  # of an experiment: they stand on the page of the study that it belongs to
    if VERDICTS in NOTEBOOKS[folder.run.experiment]:
        runs = [assessment, *map(assess, together(folder)[1:])]
        verdicts = tables.verdicts(claims.counts(claims.judge_runs(runs, claims.Evidence.of())))
    return page(notebooks, Provenance.of(folder), assessment, verdicts)


def execute(name: str, run_path: Path, into: Path | None = None) -> NotebookNode:
    """Execute an analysis notebook over a run.

    Args:
        name: of the notebook in analysis/, without its ending.
        run_path: a run folder.
        into: folder of the executed copy; None: ``report`` in the run's.
    """
    root, into = paths.study_root(), into or run_path / REPORT
    source = root / "analysis" / f"{name}.ipynb"
    executed = made(into) / f"{name}.ipynb"
    inside = run_path.is_relative_to(root)
    try:
        papermill.execute_notebook(
            source,
            executed,
            parameters={"run": (run_path.relative_to(root) if inside else run_path).as_posix()},
            cwd=source.parent,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its end is a Ctrl-C to it
        )
    except papermill.PapermillExecutionError as error:
        raise StudyError(
            f"analysis/{name}.ipynb failed: {paths.scrub(error.evalue)}",
            "an analysis over the whole run",
            f"open {into.name}/{executed.name} in the run's folder: the cell that failed is marked",
        ) from error
    finally:
        if executed.exists():
            notebook = published(nbformat.read(executed, as_version=4))
            write_text(executed, nbformat.writes(notebook) + "\n")
    return notebook


def made(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {folder.name}: {error.strerror}",
            "a writable place",
            "choose another with --out",
        ) from error
    return folder


def published(notebook: NotebookNode) -> NotebookNode:
    """The notebook without timings and without names of this machine; changed in place."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution", "scrolled"):
            cell.metadata.pop(key, None)
        cell.source = paths.scrub(cell.source)
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = paths.scrub(output.text)
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output.data[kind] = paths.scrub(data)
    return notebook


def page(
    notebooks: list[NotebookNode], provenance: Provenance, assessment: Assessment, verdicts: str
) -> str:
    """The page as HTML: it asks nothing of any host and runs no script.

    Args:
        notebooks: executed.
        provenance: of the run.
        assessment: of the run, for the answers at the top.
        verdicts: on the article's claims, in one sentence.
    """
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    parts = [part(c) for c in cells if not NOT_ON_PAGE & set(c.metadata.get("tags", []))]
    question, answers = tables.answers(assessment)
    headings = [match.groups() for p in parts for match in HEADING.finditer(p.text)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("heavyweight"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        provenance=provenance,
        advice=tables.advice(assessment),
        findings=tables.findings(assessment),
        question=question,
        answers=answers,
        verdicts=verdicts,
        invalid=tables.invalid(assessment),
        failures=tables.failures(assessment),
        headings=[(int(level), anchor, Markup(text)) for level, anchor, text in headings],
        parts=parts,
        code_style=Markup(code_style()),
    )


def part(cell: NotebookNode) -> Part:
    """One notebook cell as HTML."""
    if cell.cell_type == "markdown":
        return Part(text=Markup(ANCHOR.sub("", markdown2html(cell.source))))
    shown = tuple(filter(None, (output_html(output) for output in cell.outputs)))
    return Part(
        code=Markup(Highlight2HTML()(cell.source, "python")),
        outputs=shown,
        folded="folded" in cell.metadata.get("tags", []),
    )


def output_html(output: NotebookNode) -> Markup:
    """One output as HTML: a figure with its description, a table that can be moved, or text."""
    if output.output_type == "stream":
        return Markup("<pre>{}</pre>").format(output.text)
    data = output.get("data", {})
    if "image/png" in data:
        return figure_html(data, output.metadata["image/png"])
    if "text/html" in data:
        html = TABLE_STYLE.sub("", data["text/html"]).replace(' border="1"', "")
        table = Markup(LONG_WORDS.sub(r'<\1 class="words">\2</\1>', html))
        return Markup('<div class="table" role="region" tabindex="0" aria-label="table">{}</div>'
                      ).format(table)  # fmt: skip
    return Markup("<pre>{}</pre>").format(data["text/plain"]) if "text/plain" in data else Markup()


def figure_html(data: Mapping[str, str], image: Mapping[str, Any]) -> Markup:
    """A figure with its description, and a link by which its numbers are saved.

    The numbers lie in the page: no host is asked for them.
    """
    shown = Markup('<img src="data:image/png;base64,{}" alt="{}" width="{}" height="{}">').format(
        data["image/png"].strip(), image["alt"], image["width"], image["height"]
    )
    csv = data.get("text/csv", "")
    if not csv:
        return Markup("<figure>{}</figure>").format(shown)
    return Markup(
        '<figure>{}<figcaption><a download="{}.csv" href="data:text/csv;base64,{}">'
        "Data of this figure (CSV)</a></figcaption></figure>"
    ).format(shown, image["name"], base64.b64encode(csv.encode()).decode())


def code_style() -> str:
    """CSS of the coloured code, for light and for dark pages."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
