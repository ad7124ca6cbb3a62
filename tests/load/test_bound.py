"""Before a load goes to another machine its rate and its bound are told; nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heavyweight import design
from heavyweight.cli import remote
from heavyweight.cli.app import app
from heavyweight.errors import BadInput, Stopped
from heavyweight.job import prepare_job
from heavyweight.load import LoadSpec
from heavyweight.load.bound import told
from heavyweight.loadtest import running, target

Make = Callable[..., LoadSpec]
ROOT = Path(__file__).parents[2]
ELSEWHERE = "http://192.0.2.1:8000"  # an address for documentation, which belongs to nobody


def test_a_closed_loop_says_how_many_and_how_long(spec: Make) -> None:
    made = spec(
        ELSEWHERE, allow_remote=True, users=8, cap_seconds=60, output_tokens=32,
        headers={"Authorization": "Bearer $A_KEY"},
    )  # fmt: skip
    said = told(made)
    assert "another machine, 192.0.2.1: at most 8 requests at once" in said
    assert "32 asked in answer" in said
    assert "nothing is sent after 60 s" in said
    assert "headers sent: Authorization" in said
    assert "A_KEY" not in said
    assert "at most 30 loads" in told(made, 30)


def test_an_open_loop_says_its_rate_and_number(spec: Make) -> None:
    arrivals = {"process": "constant", "rate_per_s": 5, "seconds": 10, "drain_s": 7}
    said = told(spec(ELSEWHERE, allow_remote=True, users=0, arrivals=arrivals))
    assert "5 requests/s on average, 50 in all" in said
    assert "all is over 7 s later" in said


def test_the_command_says_it_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = target.Target(ELSEWHERE, "chat", "m", {}, False, None, None)
    monkeypatch.setattr(target, "find", lambda *_: found)
    begun: list[bool] = []

    def measure(*_: object) -> None:
        begun.append(True)
        raise Stopped("stopped")

    monkeypatch.setattr(running.LoadTest, "measure", measure)
    monkeypatch.setattr(running.LoadTest, "search", measure)
    out = str(tmp_path / "out")
    for more, said in (
        (["--users", "3"], "at most 3 requests at once"),
        (["--rate", "2", "--seconds", "5"], "requests/s on average"),
        (["--users", "1:64", "--search", "ttft_p99_ms<=500"], "at most 64 requests at once"),
    ):
        done = CliRunner().invoke(app, ["load", ELSEWHERE, "--allow-remote", *more, "--out", out])
        assert isinstance(done.exception, Stopped), done.output
        assert said in done.stderr
    assert len(begun) == 3


def test_a_study_says_it_and_needs_leave(tmp_path: Path) -> None:
    study = design.load_study(ROOT / "study.toml")
    root = tmp_path / "root"
    root.mkdir()
    text = (ROOT / "study.toml").read_text(encoding="utf-8")
    (root / "study.toml").write_text(text + f"# {ELSEWHERE}\n", encoding="utf-8")
    extra: dict[str, object] = {"base_url": f"{ELSEWHERE}/v1"}
    chosen = {"arms": ["openai"], "runs": root / "runs", "name": "r"}
    with pytest.raises(BadInput, match=r"192\.0\.2\.1 is another machine"):
        prepare_job(root, study, study.profile("quick"), **chosen, extra=extra)
    assert not (root / "runs").exists()
    job = prepare_job(
        root, study, study.profile("quick"), **chosen, extra=extra | {"allow_remote": True}
    )
    (line,) = remote.told(job)
    assert "openai goes to another machine, 192.0.2.1: at most 50 requests at once" in line
    assert "12 loads in 3 sessions" in line
    assert "no key is sent" in line
    for path in (root / "runs").rglob("*"):
        assert path.is_dir() or "192.0.2.1" not in path.read_text(), path.name
