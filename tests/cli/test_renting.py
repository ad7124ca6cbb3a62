"""The commands around a rented machine: plan with money, cost, pack, unpack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heavyweight.cli.app import app
from heavyweight.errors import SessionBusy, StudyError
from heavyweight.servers.lock import SessionLock

ROOT = Path(__file__).parents[2]
REFERENCE = json.loads((ROOT / "data" / "reference" / "run.json").read_text())
COMMAND = Path(sys.executable).parent / "heavyweight"


def plan(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["study", "plan", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, StudyError), done.output
    return str(done.exception)


@pytest.fixture(autouse=True)
def in_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_gpu_profile_is_planned_without_a_gpu() -> None:
    told = plan("--profile", "gpu-full", "--price-per-hour", "2")
    rental = told["rental"]
    assert set(told["left_out"]) == {"vllm-fp16-tp2", "ollama-f16-two-gpus"}
    assert len(told["sessions"]) == 4 * 12
    minutes = rental["download_minutes"] + rental["set_up_minutes"] + rental["measuring_minutes"]
    assert rental["hours"] == pytest.approx(minutes / 60)
    assert rental["measuring_minutes"] == pytest.approx(told["minutes"])
    assert rental["usd"] == pytest.approx(2 * rental["hours"])
    assert len(rental["guessed"]) == 12
    assert 35 < rental["download_gb"] < 45


def test_two_gpus_measure_more_and_cost_twice() -> None:
    one = plan("--profile", "gpu-full", "--gpu", "A40")["rental"]
    two = plan("--profile", "gpu-full", "--gpu", "A40", "--gpus", "2")
    assert two["left_out"] == {}
    assert two["rental"]["usd_per_hour"] == pytest.approx(2 * one["usd_per_hour"])
    assert two["rental"]["hours"] > one["hours"]
    assert "2 x A40: Runpod" in two["rental"]["price_source"]


def test_another_model_and_another_network_change_the_download() -> None:
    llama = plan("--profile", "gpu-full", "--mbit-s", "1000")["rental"]
    slow = plan("--profile", "gpu-full", "--mbit-s", "100")["rental"]
    assert slow["download_minutes"] == pytest.approx(10 * llama["download_minutes"])
    granite = plan("--profile", "gpu-full", "--model", "granite-3.3-8b")
    assert "vllm-awq" in granite["left_out"]
    assert granite["rental"]["download_gb"] < llama["download_gb"]


def test_without_a_price_it_says_how_to_give_one() -> None:
    for more in ([], ["--gpu", "H100 SXM"]):
        rental = plan("--profile", "article", *more)["rental"]
        assert rental["usd"] is None
        assert "--price-per-hour" in rental["price_source"]
    assert plan("--profile", "quick")["rental"] is None
    shown = CliRunner().invoke(app, ["study", "plan", "--profile", "article"]).output
    assert "GB to download" in shown
    assert "a guess" in shown
    assert "never run" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--price-per-hour", "-1"], "above 0"),
        (["--price-per-hour", "nan"], "above 0"),
        (["--gpu", "A4O", "--profile", "article"], "did you mean 'A40'"),
        (["--profile", "article", "--mbit-s", "0"], "0 Mbit/s"),
        (["--model", "qwen3"], "did you mean 'qwen3-8b'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(arguments: list[str], told: str) -> None:
    assert told in refused("study", "plan", *arguments)


def test_cost_of_a_run_is_told_with_its_price() -> None:
    arguments = ["study", "cost", "reference"]
    done = CliRunner().invoke(app, [*arguments, "--price-per-hour", "3.6", "--json"])
    told = json.loads(done.stdout)
    assert told["usd_per_hour"] == 3.6
    assert len(told["costs"]) == len(REFERENCE["arms"]) * len(REFERENCE["users"])
    assert all(c["cheapest"] < c["usd_per_million"] < c["dearest"] for c in told["costs"])
    shown = CliRunner().invoke(app, [*arguments, "--gpu", "A40"]).output
    assert "0.864 USD an hour (A40: Runpod" in shown
    assert "--price-per-hour" in refused(*arguments)  # its machine has no GPU and no price


def heavyweight(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_a_run_is_packed_taken_elsewhere_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "taken.zip"
    packed = heavyweight(ROOT, "study", "pack", "reference", "--out", str(archive), "--json")
    assert packed.returncode == 0, packed.stderr
    assert json.loads(packed.stdout)["unfinished"] == []
    home = tmp_path / "home"
    for name in ("study.toml", "analysis", "data/article", "data/hardware.toml",
                 "data/models.toml"):  # fmt: skip
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, home / name)
    unpacked = heavyweight(home, "study", "unpack", str(archive))
    assert unpacked.stdout.strip() == "data/runs/reference"
    again = heavyweight(home, "study", "unpack", str(archive))
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
    shown = heavyweight(home, "study", "show", "reference", "--json")
    here = heavyweight(ROOT, "study", "show", "reference", "--json")
    assert json.loads(shown.stdout) == json.loads(here.stdout)
    claims = heavyweight(home, "claims", "reference", "--json")
    assert claims.returncode == 0, claims.stderr
    assert json.loads(claims.stdout)["runs"] == [REFERENCE["run"]]


def test_nothing_is_packed_while_a_session_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path / "cache"))
    archive = str(tmp_path / "x.zip")
    with SessionLock():
        done = CliRunner().invoke(app, ["study", "pack", "reference", "--out", archive])
        assert isinstance(done.exception, SessionBusy)
    assert not Path(archive).exists()
    done = CliRunner().invoke(app, ["study", "pack", "reference", "--out", archive])
    assert done.exit_code == 0
    with SessionLock():  # what pack asked left the machine free
        pass
