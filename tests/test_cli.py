"""The command: one clear message for bad input, exit code 2, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heavyweight import estimates, tables
from heavyweight.cli.app import app
from heavyweight.records import Session
from tests.command import ROOT, heavyweight
from tests.synthetic import write_run

COMMAND = Path(sys.executable).parent / "heavyweight"
VLLM = "tests/data/imports/vllm-closed.json"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("study", "plan", "--profile", "quik"), "did you mean 'quick'"),
        (("study", "run", "--profile", "quik"), "did you mean 'quick'"),
        (("study", "run", "--arm", "vlm-bf16"), "did you mean 'vllm-bf16'"),
        (("study", "run", "--arm", "ollama-q4", "--base-url", "http://127.0.0.1:1"), "openai"),
        (("study", "run", "--arm", "openai"), "--base-url"),
        (("study", "run", "--blocks", "0"), "--blocks"),
        (("study", "run", "--profile", "emulated", "--run", "../../x"), "run = '../../x'"),
        (("study", "run", "--profile", "emulated", "--run", "/tmp/x"), "run = '/tmp/x'"),
        (("study", "run", "--arm", "openai", "--base-url", "http://192.0.2.1"), "--allow-remote"),
        (("study", "run", "--arm", "openai", "--base-url", "http://127.0.0.1@192.0.2.1"), "a user"),
        (("study", "show", "no-such-run"), "no run folder"),
        (("study", "check", "no-such-run"), "no run folder"),
        (("report", "no-such-run"), "no run folder"),
        (("servers", "install", "olama"), "one of ollama, vllm"),
        (("models", "prepare", "smollm"), "unknown model"),
        (("sudy",), "sudy"),
        (("claims", "no-such-run"), "no run folder"),
        (("claims", "none", "--verdict", "maybe"), "one of reproduced, refuted, inconclusive"),
        (("claims", "none", "--kind", "gossip"), "one of arithmetic"),
        (("claims", "none", "--id", "Z9"), "no claim 'Z9'"),
        (("claims", "none", "--id", "B3a", "--verdict", "reproduced"), "claim B3a is refuted"),
        (("study", "plan", "--pilot", "reference"), "--width"),
        (("study", "plan", "--width", "much"), "width 'much'"),
        (("study", "plan", "--width", "0%"), "width '0%'"),
        (("study", "plan", "--width", "120%"), "above 0 and below 100%"),
        (("study", "plan", "--profile", "article", "--width", "5%"), "--blocks 2"),
        (("study", "plan", "--gpu", "A41"), "unknown GPU 'A41'"),
        (("study", "run", "--profile", "gpu-full"), "needs a GPU and there is none here"),
        (("study", "run", "--profile", "smoke", "--arm", "vllm-fp16-tp2"), "needs 2 GPUs"),
        (("study", "cost", "reference", "--price-per-hour", "0"), "above 0"),
        (("study", "pack", "no-such-run"), "no run folder"),
        (("study", "unpack", "no-such-file.zip"), "no file no-such-file.zip"),
        (("study", "unpack", "study.toml"), "is cut off or no archive"),
        (("doctor", "--profile", "gpu-full"), "without --gpu"),
        (("import", "study.toml", "--run", "x"), "--as guidellm, vllm-bench, aiperf"),
        (("import", VLLM, "--run", "../x"), "is no name"),
        (("export", "reference", "--to", "xlsx"), "one of csv, jsonl"),
        (("export", "reference", "--out", "study.toml"), "--force"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(arguments: tuple[str, ...], told: str) -> None:
    before = set((ROOT / "data").rglob("*"))
    done = heavyweight(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert set((ROOT / "data").rglob("*")) == before


def test_outside_a_checkout(tmp_path: Path) -> None:
    """In a process of its own, as a user calls it."""
    done = subprocess.run(
        [COMMAND, "study", "plan"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert not done.stdout
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert "study.toml" in done.stderr


def test_a_run_that_was_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 1,')
    done = heavyweight("study", "show", str(tmp_path))
    assert done.returncode == 2
    assert "cut off" in done.stderr


def test_results_are_on_standard_output_as_json() -> None:
    plan = json.loads(heavyweight("study", "plan", "--profile", "full", "--json").stdout)
    assert len(plan["sessions"]) == 24
    assert plan["minutes"] > 60
    needed = json.loads(
        heavyweight("study", "plan", "--width", "5%", "--pilot", "reference", "--json").stdout
    )["width"]
    assert needed["pilot"]
    assert needed["half_width"] == 0.05
    assert needed["blocks_cautious"] >= needed["blocks"] >= 2
    judged = json.loads(heavyweight("claims", "none", "--json").stdout)
    assert len(judged["claims"]) == judged["counts"]["all"]["claims"]
    assert judged["runs"] == []
    findings = json.loads(heavyweight("doctor", "--json").stdout)
    assert {"name", "found", "ok", "remedy"} <= set(findings[0])


@pytest.mark.parametrize(
    "command",
    ["doctor", "report", "dictionary", "readme", "servers install", "servers list", "servers stop",
     "models prepare", "study plan", "study run", "study list", "study show", "study check",
     "study cost", "study pack", "study unpack", "import", "export",
     "claims", "documents", "physics"],
)  # fmt: skip
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output
    assert "--json" in done.output


def test_one_claim_is_told_with_its_rule_and_all_its_parts() -> None:
    told = heavyweight("claims", "none", "--id", "B3b").stdout
    assert "656" in told
    assert "256" in told
    assert "rules: version 1 of 2026-11-23" in told
    assert "verdict: refuted" in told


def test_readings_of_documents_are_told_even_where_nothing_is_installed() -> None:
    done = CliRunner().invoke(app, ["documents"])
    assert done.exit_code == 0
    assert "not installed here" in done.output


@pytest.mark.parametrize(("ports", "code"), [([], 0), ([46923, 29500], 1)])
def test_a_server_that_others_may_reach_does_not_pass(
    tmp_path: Path, ports: list[int], code: int
) -> None:
    def opened(session: Session) -> Session:
        return session.model_copy(update={"starts": [one.model_copy(update={"open_ports": ports})
                                                     for one in session.starts]})  # fmt: skip

    run = write_run(tmp_path / "run", users=(1,), blocks=1, edit_session=opened)
    done = CliRunner().invoke(app, ["study", "check", str(run.path)])
    assert done.exit_code == code, done.output
    assert ("29500, 46923" in done.output) == bool(ports)
    told = tables.failures(estimates.assess(run))
    assert told == (
        "a server listened where other machines may reach it (port 29500, 46923), in 2 of 2"
        " sessions." if ports else ""
    )  # fmt: skip
