"""The scoreboard: its figures, its table, and the buttons of the table in a browser."""

from __future__ import annotations

import re
import subprocess

import pytest

from heavyweight import board, claims, figures
from heavyweight.estimates import assess
from heavyweight.figures import Provenance
from heavyweight.paths import study_root
from tests.browser import CHROMIUM, FLAGS, NOWHERE
from tests.claims.runs import FOUR, pretend


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pretend(tmp_path_factory.mktemp("runs") / "four", FOUR, users=(1, 4, 8, 50), blocks=4)


@pytest.fixture(scope="module")
def verdicts(run):
    return claims.judge_runs([assess(run)], claims.Evidence.of(study_root()))


def test_the_figure_names_every_number_and_verdict(run, verdicts):
    figure = figures.scoreboard(verdicts, Provenance.of(run))
    for name in ("B1c", "B4c", "D1", "E1", "H1", "L2r", "Q2a", "Sr"):
        assert f"{name} " in figure.alt
    assert "B4b" not in figure.alt  # absolute: another setting
    assert figure.png()[:4] == b"\x89PNG"


def test_the_counts_can_be_drawn(run, verdicts):
    figure = figures.tally(claims.counts(verdicts), Provenance.of(run))
    assert "68 claims" in figure._suptitle.get_text()
    assert figure.png()[:4] == b"\x89PNG"


def test_a_run_without_numbers_has_a_figure_that_says_so(run):
    nothing = claims.judge_runs([], claims.Evidence.of(study_root()))
    figure = figures.scoreboard(nothing, Provenance.of(run))
    assert "No claim could be held" in figure.alt
    assert figure.png()[:4] == b"\x89PNG"


def test_the_board_is_filtered_by_its_parameters(verdicts):
    refuted = board.Board(verdicts, verdict="refuted")
    assert set(refuted.frame()["verdict"]) == {"refuted"}
    ratios = board.Board(verdicts, kind="ratio").frame()
    assert ratios["kind"].str.contains("ratio").all()
    assert len(board.Board(verdicts).frame()) == 68


def test_what_comes_from_files_is_escaped(verdicts):
    import dataclasses

    nasty = verdicts[0].claim.model_copy(update={"claim": "<script>alert(1)</script>"})
    html = str(board.Board([dataclasses.replace(verdicts[0], claim=nasty)]).html())
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.page
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("click", "shown"),
    [
        ([], lambda v: True),
        ([("verdict", "refuted")], lambda v: v.answer == "refuted"),
        ([("kind", "source")], lambda v: "source" in v.claim.kinds),
        (
            [("verdict", "inconclusive"), ("kind", "ratio")],
            lambda v: v.answer == "inconclusive" and "ratio" in v.claim.kinds,
        ),
        ([("verdict", "refuted"), ("verdict", "all")], lambda v: True),
    ],
)
def test_the_buttons_show_what_they_say(tmp_path, verdicts, click, shown):
    """A script of the test's clicks and counts; the board itself has none."""
    html = str(board.Board(verdicts).html())
    assert "<script" not in html
    clicks = "".join(
        f'document.querySelector(\'[name="board-{name}"][value="{value}"]\').click();'
        for name, value in click
    )
    count = (
        "document.title=[...document.querySelectorAll('tbody tr')]"
        ".filter(r=>getComputedStyle(r).display!='none').map(r=>r.cells[0].textContent).join(' ');"
    )
    page = tmp_path / "board.html"
    page.write_text(f"<!DOCTYPE html><title></title>{html}<script>{clicks}{count}</script>")
    done = subprocess.run(
        [CHROMIUM, *FLAGS.split(), NOWHERE, f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)[1]
    assert title.split() == [v.claim.id for v in verdicts if shown(v)]
