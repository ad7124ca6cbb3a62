"""The analysis notebooks over a run, and the page that is made of them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from heavyweight import estimates, report, tables
from heavyweight.article import latency_beside, load_article, throughput_beside
from heavyweight.errors import StoreError, StudyError
from heavyweight.figures import Provenance
from heavyweight.kinds import EXPERIMENTS
from heavyweight.paths import study_root
from heavyweight.store import RunFolder, write_json
from tests import pages
from tests.synthetic import ARMS, fail, write_run

ROOT = study_root(Path(__file__).parent)
NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))
STUDY = report.NOTEBOOKS["session"]


@pytest.fixture(scope="module")
def assessment(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "synthetic", users=(1, 4, 8, 50))
    return estimates.assess(run)


# ------------------------------------------------------------------ notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_purpose_parameters_and_calls(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, second, *_ = notebook.cells
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert second.metadata.tags == ["parameters"]
    for line in second.source.splitlines():
        assert re.fullmatch(r"#.*|\w+: [\w |]+ = .+", line), "each parameter is typed"
    assert "#" in second.source
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 15
            assert not re.search(r"^\s*(def|class|for|while|if) ", cell.source, re.M)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_is_taken_for_a_magic_command(path):
    """IPython reads a lone line that begins with ``run`` as its command %run."""
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            lines = TransformerManager().transform_cell(cell.source).splitlines()
            assert not (len(lines) == 1 and lines[0].startswith("run"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_tells_nothing_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp|work)/", text)
    assert "papermill" not in nbformat.reads(text, as_version=4).metadata
    assert '"execution":' not in text


def test_every_analysis_is_on_the_page_of_an_experiment():
    named = {name for names in report.NOTEBOOKS.values() for name in names}
    assert named == {path.stem for path in NOTEBOOKS}
    assert set(report.NOTEBOOKS) == set(EXPERIMENTS)


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5823, "0.582"), (7.999, "8.00"), (56.04, "56.0"), (99.96, "100"), (1234.5, "1,234"),
     (float("nan"), "-"), (float("inf"), "infinite")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert tables.number(value) == text


def test_the_articles_throughput_table_has_ours_beside_it(assessment):
    table = throughput_beside(load_article(), assessment)
    assert list(table.index) == [1, 4, 8, 50]
    assert list(table["ratio", "published"]) == ["1.1", "1.75", "2.3", "5.9"]
    assert table.loc[8, ("Ollama (tok/s)", "published")] == "82 per request"
    ours = estimates.throughput_table(assessment).set_index(["arm", "users"])
    batch = ours.loc[(ARMS[1].name, 50)]
    assert table.loc[50, ("vLLM (tok/s)", ARMS[1].label)] == tables.interval(
        batch.tok_s, batch.low, batch.high
    )


def test_the_articles_latency_table_has_ours_beside_it(assessment):
    found = [estimates.latency_table(assessment, quantity) for quantity in ("ttft", "e2e")]
    table = latency_beside(load_article(), assessment, found)
    first, _, last = table.index
    assert table.loc[first, ("Ollama (ms)", "published")] == "3,200"
    assert "needs 368" in table.loc[last, ("Ollama (ms)", ARMS[0].label)]
    ratio = float(table.loc[first, ("Ollama / vLLM", "measured")].split()[0])
    assert ratio > 50, "the emulated server with one slot makes users wait"


def test_loads_that_were_not_measured_are_dashes(tmp_path):
    assessment = estimates.assess(write_run(tmp_path / "run", users=(1,), blocks=1))
    table = throughput_beside(load_article(), assessment)
    assert table.loc[50, ("ratio", "measured")] == "-"
    assert table.loc[1, ("ratio", "measured")] != "-"
    assert "no interval" in tables.answers(assessment)[1][0]


def test_a_load_without_a_ratio_is_told_among_the_answers(tmp_path):
    def fail_at_8(cell, rows):
        return cell, [fail(row) for row in rows] if cell.users == 8 else rows

    run = write_run(tmp_path / "run", users=(1, 8), blocks=2, edit=fail_at_8)
    one, eight = tables.answers(estimates.assess(run))[1]
    assert one.startswith("1 user: ")
    assert "times" in one
    assert eight == "8 users: no ratio (in no block were both measured and passed their checks)"


def test_percentiles_beyond_the_sample_say_what_they_need(assessment):
    table = tables.latency(estimates.latency_table(assessment, "e2e"))
    assert table["p95 (ms)"].iloc[0] == "not estimable: needs 72"
    assert table["p99 (ms)"].iloc[0] == "not estimable: needs 368"
    sessions = tables.sessions(estimates.latency_table(assessment, "e2e"))
    assert len(sessions) == 3 * len(table)
    assert "[" in sessions["p50 (ms)"].iloc[0]


def test_invalid_cells_are_told(tmp_path):
    def half_fail(cell, rows):
        bad = cell.users == 4 and cell.block == 1
        return cell, [fail(row) if i % 2 else row for i, row in enumerate(rows)] if bad else rows

    assessment = estimates.assess(write_run(tmp_path / "run", users=(1, 4), edit=half_fail))
    assert "2 of 12 measured cells failed" in tables.invalid(assessment)
    assert tables.cells(assessment).loc[4, ARMS[0].label] == "2 of 3 VALID"
    failed = tables.failed_checks(assessment)
    assert "errors" in set(failed["check"])
    assert failed["remedy"].str.len().min() > 0
    told = tables.failures(assessment)
    errors = int(assessment.cells["errors"].sum())
    assert told == f"{errors} requests failed (reset: {errors}), in 2 of 12 cells."


def test_servers_that_died_and_sessions_that_did_not_end_are_told(tmp_path):
    run = write_run(tmp_path / "run", users=(1,), blocks=2)
    first, second, *_ = run.sessions()
    write_json(first.path / "session.json", first.record.model_copy(update={"deaths": 2}))
    hung = second.record.model_copy(update={"complete": False, "hangs": 1})
    write_json(second.path / "session.json", hung)
    told = tables.failures(estimates.assess(RunFolder.open(run.path)))
    assert told == (
        "a server died 2 times, in 1 of 4 sessions; a server hung 1 time, in 1 of 4 sessions; "
        "1 session did not come to an end."
    )


def test_sessions_by_hand_with_two_lengths_of_text_are_kept_apart(tmp_path):
    """A later session asked for 32 tokens instead of 16: nothing is averaged over both."""
    run = write_run(tmp_path / "run", users=(1, 8), blocks=2)
    later = write_run(tmp_path / "later" / "run", users=(1,), blocks=1, output_tokens=32)
    for session in later.sessions():
        for file in session.cells():
            shutil.copy(file.path, run.path / session.path.name)
    assessment = estimates.assess(run)
    table = tables.throughput(estimates.throughput_table(assessment))
    assert list(table["tokens"]) == ["64 in, 16 out", "64 in, 32 out", "64 in, 16 out"]
    assert throughput_beside(load_article(), assessment).loc[1, ("ratio", "measured")] != "-"
    assert len(tables.answers(assessment)[1]) == 2
    ratios = tables.ratios(assessment, {"A": estimates.ratio_table(assessment, "A")})
    assert list(ratios["tokens"]) == ["64 in, 16 out", "64 in, 16 out", "64 in, 32 out"]
    latency = tables.latency(estimates.latency_table(assessment, "ttft"))
    assert set(latency["tokens"]) == {"64 in, 16 out", "64 in, 32 out"}


def test_a_run_without_contrast_has_no_answer(tmp_path):
    run = write_run(tmp_path / "run", users=(1,), blocks=1)
    write_json(run.path / "run.json", run.run.model_copy(update={"contrasts": {}}))
    assessment = estimates.assess(RunFolder.open(run.path))
    assert tables.answers(assessment) == ("", [])
    assert "no contrast" in throughput_beside(load_article(), assessment).iloc[0, 0]
    assert tables.ratios(assessment, {}).empty


def test_a_whole_run_has_nothing_to_tell(assessment):
    assert tables.invalid(assessment) == ""
    assert tables.failures(assessment) == ""
    assert tables.failed_checks(assessment).iloc[0, 0] == "none"


# ------------------------------------------------------------------ page


class Page(HTMLParser):
    """What a page holds: tags with attributes, ids, and unclosed tags."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "col"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return pages.made(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def html(made):
    return made.page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_the_page_is_whole(made, page, html):
    assert made.page.name == "report.html"
    assert len(made.said) == len(STUDY) + 1
    assert page.open == []
    assert len(page.all("figure")) == 16
    assert len(page.all("table")) >= 15
    assert "Traceback (most" not in html
    assert "EMULATED." in html


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_the_page_asks_nothing_of_the_network(page, html):
    assert page.all("script", "iframe", "object", "embed", "video", "audio") == []
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            address = attributes.get(name) or ""
            assert address == "" or address.startswith(("data:", "#")), (tag, address)
    style = " ".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in style
    assert "@import" not in style
    assert any("default-src 'none'" in (m.get("content") or "") for m in page.all("meta"))


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_figures_are_described_and_code_is_folded(page, html):
    for image in page.all("img"):
        assert len(image["alt"] or "") > 40
        assert image["width"]
    assert "tables.throughput(throughput)" in re.sub(r"<[^>]+>", "", html)
    before = re.split(r"<div class=\"[^\"]*highlight", html)[:-1]
    assert all(text.rstrip().endswith("<summary>Code</summary>") for text in before)


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_contents_lead_somewhere(page):
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.all("a")]
    assert len(links) > 10
    for link in links:
        assert link.removeprefix("#") in ids or link.startswith("data:text/csv;")


@pytest.fixture(scope="module")
def real():
    return estimates.assess(RunFolder.open(ROOT / "data" / "reference"))


def test_who_should_use_what_is_said_of_real_servers_only(made, real):
    assert tables.advice(estimates.assess(made.run)) == ""  # emulated: nothing follows from it
    assert tables.advice(real) == (
        "For more tokens a second on this machine: vLLM BF16 at 2, 4, 8, 16, 32 and 50 users; "
        "Ollama Q4, 1 slot at 1 user."
    )


def test_a_load_without_a_valid_block_is_not_said_to_be_open(real):
    failed = real.cells["users"] == 50
    cells = real.cells.assign(valid=real.cells["valid"] & ~failed)
    assert tables.advice(replace(real, cells=cells)).endswith(
        "Ollama Q4, 1 slot at 1 user; no ratio at 50 users."
    )


def test_a_real_page_goes_from_the_advice_to_the_scoreboard_to_the_analyses(real):
    """Made of the committed notebooks, as they were executed over the reference run."""
    names = [name for name in STUDY if name != "audit"]
    notebooks = [nbformat.read(ROOT / "analysis" / f"{name}.ipynb", as_version=4) for name in names]
    html = report.page(notebooks, Provenance.of(real.folder), real, "68 claims")
    advice = tables.advice(real)
    assert advice
    titles = [re.match(r"# (.+)", notebook.cells[0].source)[1] for notebook in notebooks]
    assert titles[0] == "Verdicts"
    marks = [f'<p class="advice"><strong>{advice}', '<p class="verdicts">', "<nav"]
    marks += [f'<h1 id="{titles[0]}">', '<div class="board">']
    marks += [f'<h1 id="{title.replace(" ", "-")}">' for title in titles[1:]]
    places = [html.find(mark) for mark in marks]
    assert -1 not in places, dict(zip(marks, places, strict=True))
    assert places == sorted(places)


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_the_answer_stands_at_the_top(html, made):
    question, lines = tables.answers(estimates.assess(made.run))
    assert len(lines) == 4
    top = html.split("<nav")[0]
    assert question in top
    assert all(line in top for line in lines)


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_executed_notebooks_lie_with_the_run(made):
    for name in STUDY:
        notebook = nbformat.read(made.run.path / "report" / f"{name}.ipynb", as_version=4)
        assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
        assert "papermill" not in notebook.metadata
        outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
        assert not [o for o in outputs if o.output_type in ("error", "stream")]


def test_a_missing_run_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no run folder"):
        report.report(tmp_path / "nowhere", tmp_path / "report.html")


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make the folder below"):
        report.made(tmp_path / "file" / "below")


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_a_notebook_that_fails_says_so(tmp_path, monkeypatch):
    """The study is broken by half: the message names the notebook and what it said."""
    study = tmp_path / "study"
    (study / "analysis").mkdir(parents=True)
    (study / "study.toml").touch()
    broken = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("# Which.\nrun: str = ''", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("raise ValueError(f'nothing in {run}')"),
        ]
    )
    nbformat.write(broken, study / "analysis" / "throughput.ipynb")
    run = write_run(study / "data" / "runs" / "one", users=(1,), blocks=1)
    monkeypatch.chdir(study)
    monkeypatch.setitem(report.NOTEBOOKS, "session", ("throughput",))
    with pytest.raises(StudyError, match=r"analysis/throughput\.ipynb failed: nothing in data/run"):
        report.report(run.path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
