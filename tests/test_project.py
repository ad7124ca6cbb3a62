"""The project holds what it promises: contracts, generated files, environments, notebooks."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from matplotlib.image import imread

from benchmarks.peers import AIPERF, GUIDELLM
from heavyweight import readme
from heavyweight.design import load_study
from heavyweight.dictionary import markdown
from heavyweight.kinds import EXPERIMENTS, SERVERS
from heavyweight.servers import adapter
from heavyweight.store import RunFolder

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, LINTERS = SETTINGS["project"], SETTINGS["tool"]
README = (ROOT / "README.md").read_text()
CONDA_NAMES = {"dask": "dask-core", "matplotlib": "matplotlib-base", "ml-dtypes": "ml_dtypes"}


def test_the_two_halves_import_nothing_from_each_other() -> None:
    linted = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_module_belongs_to_a_half_or_to_both() -> None:
    sides = {m for c in LINTERS["importlinter"]["contracts"] for m in c["source_modules"]}
    both = {"store", "records", "calibrations", "recordings", "loadtest", "errors", "paths",
            "dictionary", "cli", "packing", "sealing", "kinds", "keys", "text",
            "importing"}  # fmt: skip
    for path in sorted((ROOT / "heavyweight").iterdir()):
        name = path.stem
        if name.startswith("_") or name == "templates":
            continue
        assert f"heavyweight.{name}" in sides or name in both, f"{name} is under no contract"


def test_the_data_dictionary_is_current() -> None:
    assert (ROOT / "data" / "README.md").read_text() == markdown()


def test_no_module_is_above_300_lines() -> None:
    for path in (ROOT / "heavyweight").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path.name


def test_no_code_is_dead(tmp_path: Path) -> None:
    for path in ROOT.glob("*/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        (tmp_path / f"{path.parent.name}_{path.stem}.py").write_text(code)
    found = subprocess.run(
        [BIN / "vulture", *LINTERS["vulture"]["paths"], tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_name_that_is_excused_from_being_dead_is_there() -> None:
    words = {
        word
        for path in LINTERS["vulture"]["paths"]
        for file in (ROOT / path).rglob("*.py")
        for word in re.findall(r"\w+", file.read_text())
    }
    assert set(LINTERS["vulture"]["ignore_names"]) <= words


def test_the_citation_and_the_licence_are_those_of_the_project() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    assert cited["authors"] == [{"name": "The heavyweight developers"}]
    assert {"message", "title", "type"} <= set(cited)
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence


def test_the_changelog_names_the_version_that_is_coming() -> None:
    assert f"Towards {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_conda_environment_has_the_same_packages_and_ranges() -> None:
    wanted = {}
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]:
        name, ranges = re.fullmatch(r"([\w-]+)([^;]*).*", requirement).groups()
        wanted[CONDA_NAMES.get(name, name)] = ranges.strip()
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = {name: ranges for name, _, ranges in (entry.partition(" ") for entry in listed)}
    extra = {"python", "ollama", "pip"}
    assert {name: ranges for name, ranges in found.items() if name not in extra} == wanted
    assert found["ollama"] == "=0.24.0"


def test_the_lock_names_every_dependency_with_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"^{re.escape(name)}==\S+.*\\\n    --hash=sha256:", lock, re.M), name
    assert "://" not in lock


def test_every_locked_package_is_installed_by_its_checksum() -> None:
    """Of the study, of pip-audit, of both environments of vLLM, of the peers of `make bench`."""
    locks = [ROOT / "requirements.lock", ROOT / ".ci" / "audit.lock"]
    locks += [*(ROOT / "heavyweight" / "servers").glob("vllm-*.txt"), GUIDELLM.pins, AIPERF.pins]
    for path in locks:
        entries = re.findall(r"^([\w.\[\]-]+) ?==[^\n]*((?:\n[ #][^\n]*)*)", path.read_text(), re.M)
        assert len(entries) > 20, path.name
        assert not [name for name, more in entries if "--hash=sha256:" not in more], path.name
    made = (ROOT / "Makefile").read_text()
    assert made.count("--require-hashes") == 3  # uv, pip, and the environment of pip-audit
    assert "--require-hashes" in (ROOT / "benchmarks" / "peers.py").read_text()
    assert "--ip 127.0.0.1" in made  # of JupyterLab


def test_the_list_of_licences_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "licences.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = (ROOT / "LICENSES.md").read_text()
    models = load_study(ROOT / "study.toml").models.values()
    loaded = [one.title for one in models if one.source != "none"]
    for name in ("Ollama", "vLLM", *loaded):
        assert f"| {name} |" in listed, f"{name} has a licence, too"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*.ipynb")), ids=lambda p: p.name)
def test_a_notebook_is_purpose_parameters_and_calls(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].cell_type == "markdown"
    assert [cell for cell in code if "parameters" in cell.metadata.get("tags", [])] == [code[0]]
    lines = [line for line in code[0].source.splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"\w+: [\w\[\] |]+ = .+", line), f"not typed: {line}"
    assert "# " in code[0].source
    for cell in code:
        assert not re.search(r"^\s*(def|class) ", cell.source, re.M)
        assert len(cell.source.splitlines()) <= 15
        if path.parent.name == "notebooks":
            assert not cell.outputs


def test_the_readmes_numbers_are_those_of_the_reference_run() -> None:
    run = RunFolder.open(ROOT / "data" / "reference")
    assert not run.run.emulated
    assert readme.block(run, "data/reference") in README


def test_the_readmes_figure_is_drawn_from_the_reference_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn anew from a copy of the run, as `heavyweight readme` does, it is the same picture."""
    kept = ROOT / "data" / "reference"
    copy = tmp_path / "data" / "reference"
    shutil.copytree(kept, copy, ignore=shutil.ignore_patterns("report*", "headline.png"))
    (tmp_path / "README.md").write_text(README)
    monkeypatch.setattr(readme, "block", lambda *_: "the test above looks at it")
    readme.update(tmp_path / "README.md", RunFolder.open(copy))
    drawn, shown = (imread(folder / "headline.png") for folder in (copy, kept))
    assert drawn.shape == shown.shape
    # Edges of letters and lines differ by up to 0.15 from machine to machine, what moved by more.
    apart = float(abs(drawn - shown).max())
    assert apart < 0.25, "`heavyweight readme` draws it anew"
    assert shown[..., :3].std() > 0.05, "something is drawn on it"


REFERENCES = sorted((ROOT / "data").glob("reference*"))


@pytest.mark.parametrize("folder", REFERENCES, ids=lambda path: path.name)
def test_a_reference_run_holds_no_name_of_a_machine_or_user(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".log", ".gz", ".toml", ".ipynb"):
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            assert not re.search(r"/(root|home|Users)/\w", text), path.name
            assert not re.search(r"_ip=(?!127\.|0\.0\.0\.0|<address>)", text), path.name


def test_the_reference_runs_are_small() -> None:
    """What is committed of them: a page that somebody had made is not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "data"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    named = listed.stdout.split("\0") if listed.returncode == 0 else []
    committed = [ROOT / name for name in named if name.startswith("data/reference")]
    files = committed or [path for folder in REFERENCES for path in folder.rglob("*")]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 20e6


TO_BE_MEASURED: set[str] = set()  # their analyses are committed without outputs


def test_every_other_experiment_has_a_reference_run_of_real_servers() -> None:
    runs = {folder.name: RunFolder.open(folder).run for folder in REFERENCES}
    names = {"session": "reference"} | {
        name: f"reference-{name}" for name in EXPERIMENTS if name != "session"
    }
    there = {name for name, folder in names.items() if folder in runs}
    assert there == set(names) - TO_BE_MEASURED
    for name in there:
        run = runs[names[name]]
        assert run.experiment == name
        assert not run.emulated


def test_the_adapter_of_each_kind_of_server_is_there_and_knows_its_name() -> None:
    assert {adapter(name).kind for name in SERVERS} == set(SERVERS)


def test_the_readmes_profiles_are_those_of_the_study() -> None:
    study = load_study(ROOT / "study.toml")
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| (.+) \| (\d+) \| .+ \|$", README, re.M)
    assert {name for name, _, _ in rows} == set(study.profiles)
    for name, users, blocks in rows:
        profile = study.profile(name)
        shown = ", ".join(map(str, profile.users)) or "none"
        assert users in (shown, f"{min(profile.users, default=0)} to {max([0, *profile.users])}")
        assert int(blocks) == profile.blocks, name
