"""What .ci/audit.py makes of the answers of pip-audit, which is not asked here."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["1.1", "2.0"]}
SAFE = {"name": "safe", "version": "1.0", "vulns": []}
HOLED = {"name": "holed", "version": "1.0", "vulns": [HOLE, {"id": "X-2", "fix_versions": []}]}
UNASKED = {"name": "unasked", "skip_reason": "not found on PyPI"}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def answers(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Give the output of pip-audit, one text a list; returns the commands that were called."""

    def give(*outputs: str, said: str = "") -> list[list[str]]:
        called: list[list[str]] = []
        left = iter(outputs)

        def run(command: list[str], **_: object) -> SimpleNamespace:
            called.append(command)
            return SimpleNamespace(stdout=next(left), stderr=said, returncode=1)

        monkeypatch.setattr(audit, "subprocess", SimpleNamespace(run=run))
        return called

    return give


def told(*packages: dict) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_nothing_known_is_0(audit, answers, capsys) -> None:
    called = answers(told(SAFE), told(SAFE, SAFE))
    assert audit.main(["a.lock", "folder/b.txt"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.lock: 1 of 1 packages looked up, 0 known",
        "b.txt: 2 of 2 packages looked up, 0 known",
    ]
    assert [command[:3] for command in called] == [[sys.executable, "-m", "pip_audit"]] * 2
    assert all("--require-hashes" in command for command in called)


def test_what_is_known_is_named_and_is_1_whatever_else_there_is(audit, answers, capsys) -> None:
    answers(told(SAFE, HOLED), told(SAFE, UNASKED))
    assert audit.main(["a.lock", "b.lock"]) == 1
    out, err = capsys.readouterr()
    assert "a.lock: 2 of 2 packages looked up, 2 known" in out
    assert "holed 1.0: PYSEC-2026-1, mended in 1.1, 2.0" in out
    assert "holed 1.0: X-2, mended in no version" in out
    assert "1 packages of b.lock (unasked, ...)" in err


@pytest.mark.parametrize(
    ("output", "said", "found"),
    [
        ("", "Traceback\nConnectionError: no route", "all (ConnectionError: no route)"),
        ("", "", "all (it said nothing)"),
        ("{}", "", "all (it said nothing)"),
        (told(SAFE, UNASKED), "", "unasked"),
    ],
    ids=["no network", "silence", "another answer", "one is not known"],
)
def test_where_nobody_answers_it_is_2_and_said(audit, answers, capsys, output, said, found) -> None:
    answers(output, said=said)
    assert audit.main(["a.lock"]) == 2
    assert found in capsys.readouterr().err


def test_make_audit_looks_at_every_list_of_locked_packages() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\naudit:")[2].partition("\n\n")[0]
    of_servers, of_peers = "heavyweight/servers/vllm-*.txt", "benchmarks/*.txt"
    for lock in ("requirements.lock", ".ci/audit.lock", of_servers, of_peers):
        assert lock in recipe
