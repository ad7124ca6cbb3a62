"""The examples of CONTRIBUTING.md, put into a copy of the checkout and executed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from heavyweight.store import RunFolder
from tests.test_project import test_a_notebook_is_purpose_parameters_and_calls as check_notebook

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|toml) (.+?)\n(.*?)^```$", re.M | re.S)
pytestmark = pytest.mark.timeout(400)  # a study, an experiment and a page, from the command line
COPIED = ("heavyweight", "notebooks", "analysis", "data/article")
LINKED = ("data/hardware.toml", "data/models.toml", "data/reference", "README.md")
RUN = "import sys; from heavyweight.cli import main; sys.exit(main())"


def section(title: str) -> str:
    """A section of CONTRIBUTING.md."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def notebook_of(text: str) -> nbformat.NotebookNode:
    """A notebook from its text, in which each `# %%` begins a cell."""
    made = nbformat.v4.new_notebook()  # as a newcomer may make it, without a kernel's name
    for cell in text.split("# %%")[1:]:
        head, _, source = cell.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in source.splitlines()]
            made.cells.append(nbformat.v4.new_markdown_cell("\n".join(lines)))
        else:
            made.cells.append(nbformat.v4.new_code_cell(source.rstrip()))
            if "parameters" in head:
                made.cells[-1].metadata["tags"] = ["parameters"]
    return made


def put(checkout: Path, where: str, text: str) -> None:
    """Put a block where its first line says."""
    name, _, place = where.partition(", ")
    path = checkout / name
    if path.suffix == ".ipynb":
        nbformat.write(notebook_of(text), path)
    elif place == "at the end":
        path.write_text(f"{path.read_text()}\n{text}")
    elif place.startswith("in "):
        head = f"\n{place.removeprefix('in ')} = {{\n"
        assert path.read_text().count(head) == 1
        path.write_text(path.read_text().replace(head, head + text))
    else:
        assert not path.exists()
        path.write_text(text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a study needs."""
    made = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        (made / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "study.toml", made)
    return made


def command(checkout: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Execute a command line of `heavyweight` with the package of the copy."""
    program, *words = shlex.split(line)
    assert program == "heavyweight"
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.run(
        [sys.executable, "-c", RUN, *words],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def follow(checkout: Path, title: str) -> list[str]:
    """Put the blocks of a section into the checkout and execute its commands."""
    text = section(title)
    for where, block in BLOCK.findall(text):
        put(checkout, where, block)
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    said = []
    for line in commands.splitlines():
        done = command(checkout, line)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        said.append(done.stdout)
    return said


def test_a_server(checkout: Path) -> None:
    plan, _, shown = follow(checkout, "Add a server")
    assert "sparrow" in plan
    run = RunFolder.open(checkout / "data" / "runs" / "sparrow-1")
    (session,) = (one for one in run.sessions() if one.record.arm == "sparrow")
    assert session.record.complete
    assert session.record.emulated
    assert session.record.identity.server == session.record.server == "sparrow"
    (cell,) = session.cells()
    requests = cell.requests()
    assert len(requests) >= 30
    assert requests.column("error").null_count == len(requests)
    assert cell.cell.idle_after is True
    assert "Sparrow, 4 slots" in shown


def test_an_experiment(checkout: Path) -> None:
    follow(checkout, "Add an experiment")
    path = checkout / "data" / "runs" / "pauses-1"
    (session,) = RunFolder.open(path).sessions()
    assert session.record.complete
    assert [probe.probe for probe in session.probes()] == ["pause-100", "pause-500"]
    assert "Is the first token later" in (path / "report.html").read_text()
    check_notebook(checkout / "notebooks" / "pauses.ipynb")


def test_a_claim(checkout: Path) -> None:
    with pytest.raises(AssertionError, match="sha256") as refused:
        follow(checkout, "Add a claim")
    checksum = re.search(r"sha256\s+([0-9a-f]{64})", str(refused.value))[1]
    ledger = checkout / "data" / "article" / "claims.toml"
    ledger.write_text(ledger.read_text().replace('"?"', f'"{checksum}"'))
    judged = command(checkout, "heavyweight claims data/reference --id X1")
    assert judged.returncode == 0, judged.stderr
    assert "reproduced" in judged.stdout
