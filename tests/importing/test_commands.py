"""heavyweight import and export as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heavyweight.cli.app import app
from heavyweight.errors import StudyError
from tests.importing.test_importing import FILES

ROOT = Path(__file__).parents[2]
VLLM = str(FILES["vllm-closed"])


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of its own, so that no run of the user's is touched."""
    shutil.copy(ROOT / "study.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


@pytest.mark.parametrize("name", ["vllm-closed", "guidellm-two", "aiperf-closed"])
def test_a_file_is_imported_shown_and_exported(study: Path, name: str) -> None:
    ran("import", FILES[name], "--run", "theirs")
    assert (study / "data" / "runs" / "theirs" / "run.json").is_file()
    shown = ran("study", "show", "theirs")
    assert "IMPORTED from" in shown
    assert "supports no verdict" in shown
    assert "cannot be told" in shown
    told = json.loads(ran("study", "show", "theirs", "--json"))
    assert told["imported"][0]["file"] == FILES[name].name
    assert str(FILES[name].parent) not in json.dumps(told)
    assert ran("export", "theirs", "--to", "csv").split() == ["theirs.csv", "theirs-cells.csv"]
    assert len((study / "theirs-cells.csv").read_text().splitlines()) == 1 + len(
        list((study / "data" / "runs" / "theirs").glob("*/*.parquet"))
    )


def test_of_open_loops_alone_no_empty_table_is_shown(study: Path) -> None:
    ran("import", FILES["vllm-open"], "--run", "theirs")
    shown = ran("study", "show", "theirs")
    assert "As imported, cell by cell" in shown
    assert "Throughput, tok/s" not in shown


def test_an_imported_run_lacks_nothing_that_could_still_be_measured(study: Path) -> None:
    ran("import", FILES["vllm-closed"], "--run", "theirs")
    told = json.loads(ran("study", "pack", "theirs", "--json"))
    assert told["unfinished"] == []


def test_an_imported_run_is_never_the_newest_measured_one(study: Path) -> None:
    ran("import", FILES["vllm-closed"], "--run", "theirs")
    done = CliRunner().invoke(app, ["study", "show"])
    assert "no run was measured here yet" in str(done.exception)
    [listed] = json.loads(ran("study", "list", "--json"))
    assert listed["imported"].startswith("IMPORTED from")


def test_several_files_with_an_arm_each(study: Path) -> None:
    told = json.loads(
        ran("import", FILES["aiperf-closed"], FILES["vllm-closed"], "--run", "both", "--arm", "a",
            "--arm", "b", "--json")
    )  # fmt: skip
    assert [one["tool"] for one in told["imported"]] == ["aiperf", "vllm-bench"]
    assert "b, IMPORTED / a, IMPORTED" in ran("study", "show", "both")
    assert "cannot be told" in ran("study", "check", "both")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "no-such-file.json", "--run", "x"), "no file no-such-file.json"),
        (("import", "study.toml", "--run", "x", "--as", "aiperf"), "is no result of AIPerf"),
        (("import", "study.toml", "--run", "x", "--as", "wrk"), "no tool 'wrk'"),
        (("import", VLLM, VLLM, VLLM, "--run", "x", "--arm", "a", "--arm", "b"), "2 arms"),
        (("import", VLLM, "--run", "x", "--users", "5"), "leave the option out"),
        (("import", VLLM, "--run", "x", "--rate", "5"), "both users and a rate"),
        (("export", "no-such-run"), "no run folder"),
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_is_written(
    study: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, StudyError), done.output
    assert told in str(done.exception)
    assert [path.name for path in study.rglob("*")] == ["study.toml"]
