"""Probes of several blocks together: answers, numbers, tables and figures."""

from __future__ import annotations

import math
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from matplotlib.text import Text

from heavyweight import estimates, figures, report, tables
from heavyweight.records import Probe
from heavyweight.store import RunFolder, write_json, write_probe
from tests.experiments.probed import ROOT
from tests.synthetic import ARMS, UTC, write_run

FIRST, SECOND = (arm.name for arm in ARMS)


def probe(arm: str, block: int, name: str, answer: str, **fields) -> Probe:
    trials = fields.pop("trials", [{"yes": True}] * 3 + [{"error": "reset"}])
    return Probe(
        probe=name, question=f"{name}?", run="synthetic", session=f"b{block:02d}-{arm}", arm=arm,
        server="emulated", block=block, start_id=1, emulated=True, answer=answer,
        yes=sum(one.get("yes") is True for one in trials), trials=trials,
        why=f"seen in block {block}", finished_utc=UTC, **fields,
    )  # fmt: skip


def join_trial(slowdown: float) -> dict:
    before, meanwhile = np.full(20, 10.0), np.full(20, 10.0 * slowdown)
    gaps = [*before, 90.0, *meanwhile]
    at = (np.cumsum(gaps) - sum(before)).tolist()
    return {
        "yes": True, "alone_ms": 10.0, "slowdown": slowdown, "joiner_ttft_ms": 90.0,
        "joiner_last_ms": 200.0, "at_ms": at, "gap_ms": gaps,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """Three blocks of two arms whose probes agree, contradict each other, fail, or lack."""
    path = tmp_path_factory.mktemp("runs") / "synthetic"
    folder = write_run(
        path, users=(), blocks=3, calibrated=False,
        edit_session=lambda s: s.model_copy(update={"experiment": "mechanisms"}),
    )  # fmt: skip
    write_json(path / "run.json", folder.run.model_copy(update={"experiment": "mechanisms"}))
    made = []
    for block, steps in ((1, 1.0), (2, 2.0), (3, 4.0)):
        made += [
            probe(FIRST, block, "overlap", "yes", value=8.0, value_unit="x"),
            probe(SECOND, block, "overlap", "no" if block < 3 else "yes"),
            probe(SECOND, block, "joining", "yes", value=1.5, value_unit="x",
                  trials=[join_trial(1.5), join_trial(1.6)]),
            probe(SECOND, block, "slot-recycling", "yes", value=steps, value_unit="steps",
                  trials=[{"yes": True, "steps": int(steps), "freed_to_first_ms": 9.0}] * 2),
            probe(FIRST, block, "queue", "no", value=0.0, value_unit="share refused"),
        ]  # fmt: skip
        if block < 3:
            told = "unknown" if block == 2 else "yes"
            made.append(probe(FIRST, block, "offline", told, trials=[]))
    for one in made:
        write_probe(path / one.session, one)
    return RunFolder.open(path)


def test_each_session_is_a_row(run):
    table = estimates.probes_table(run)
    assert len(table) == 17
    first = table[(table["arm"] == FIRST) & (table["probe"] == "overlap")]
    assert list(first["block"]) == [1, 2, 3]
    assert (first["yes"] == 3).all()
    assert (first["of"] == 3).all()
    assert (first["failed"] == 1).all()
    assert table["emulated"].all()


def test_blocks_together(run):
    over = estimates.probes_over_blocks(run).set_index(["arm", "probe"])
    assert over.index.get_level_values("probe")[0] == "overlap"
    waits = over.loc[(FIRST, "overlap")]
    assert (waits["answer"], waits["yes"], waits["of"]) == ("yes", 9, 9)
    assert waits["value"] == pytest.approx(8)
    assert (waits["low"], waits["high"]) == pytest.approx((8, 8))
    mixed = over.loc[(SECOND, "overlap")]
    assert (mixed["answer"], mixed["blocks_yes"], mixed["blocks_no"]) == ("mixed", 1, 2)
    # Geometric mean of 1, 2, 4 and Student's t with two degrees of freedom, by hand.
    steps = over.loc[(SECOND, "slot-recycling")]
    assert steps["value"] == pytest.approx(2)
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert math.log(steps["high"] / steps["value"]) == pytest.approx(half, rel=1e-5)
    assert over.loc[(FIRST, "queue")]["value"] == 0
    offline = over.loc[(FIRST, "offline")]
    assert offline["answer"] == "yes"
    assert "block 2 unknown" in offline["note"]
    assert "not asked in block 3" in offline["note"]


def test_one_block_has_no_interval(tmp_path):
    folder = write_run(tmp_path / "run", users=(), blocks=1, calibrated=False)
    write_probe(folder.path / f"b01-{FIRST}", probe(FIRST, 1, "overlap", "yes", value=8.0))
    (row,) = estimates.probes_over_blocks(folder).itertuples()
    assert row.value == 8
    assert math.isnan(row.low)


def test_a_run_without_probes_has_empty_tables(tmp_path):
    folder = write_run(tmp_path / "run", users=(1,), blocks=1, calibrated=False)
    over = estimates.probes_over_blocks(folder)
    assert over.empty
    assert "no probe" in tables.probes(over).iloc[0, 0]
    assert "no probe" in tables.probe_numbers(over).iloc[0, 0]
    provenance = figures.Provenance.of(folder)
    figures.mechanisms(over, provenance)
    figures.joining(estimates.joining_table(folder), provenance)
    figures.recycling(estimates.recycling_table(folder), provenance)


def test_tables_say_it_in_words(run):
    found = estimates.probes_table(run)
    over = estimates.probes_over_blocks(run, found)
    shown = tables.probes(over)
    assert shown.loc["overlap?", ARMS[0].label] == "yes, 9 of 9 trials"
    assert "1 blocks yes, 2 no" in shown.loc["overlap?", ARMS[1].label]
    assert shown.loc["queue?", ARMS[1].label] == "-"
    assert "1 of 2 blocks unknown" in shown.loc["offline?", ARMS[0].label]
    assert "[" in tables.probe_numbers(over).loc["slot-recycling", "number"]
    assert shown.loc["slot-recycling?", ARMS[1].label] == "yes, 6 of 6 trials"
    assert tables.probe_sessions(found)["trials"].iloc[0] == "3 of 3, 1 failed"


def words(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_figures_show_what_was_said(run):
    provenance = figures.Provenance.of(run)
    over = estimates.probes_over_blocks(run)
    matrix = figures.mechanisms(over, provenance)
    told = words(matrix)
    assert "yes  9/9" in told
    assert "1 yes, 2 no" in told
    assert "EMULATED" in told
    assert "overlap?" in matrix.alt
    joined = estimates.joining_table(run)
    assert len(joined) == 3 * 2 * 41
    assert joined.loc[joined["at_ms"] <= 0, "steps"].to_numpy() == pytest.approx(1)
    drawn = figures.joining(joined, provenance)
    assert "10.0 ms alone" in drawn.alt
    freed = figures.recycling(estimates.recycling_table(run), provenance)
    assert "2 trials 4" in freed.alt
    for figure in (matrix, drawn, freed):
        assert len(figure.png()) > 5_000


@pytest.mark.notebook
@pytest.mark.timeout(240)
def test_the_analysis_over_a_run(run, tmp_path):
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        ROOT / "analysis" / "mechanisms.ipynb", out, parameters={"run": str(run.path)},
        cwd=ROOT / "analysis", kernel_name="python3", language="python", progress_bar=False,
    )  # fmt: skip
    outputs = [o for c in nbformat.read(out, as_version=4).cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 3
    assert not [o for o in outputs if o.output_type in ("error", "stream")]


@pytest.mark.notebook
@pytest.mark.timeout(240)
def test_a_page_of_a_run_of_probes(run, tmp_path):
    page = report.report(run.path, tmp_path / "page.html")
    text = Path(page).read_text(encoding="utf-8")
    assert "overlap? " in text, "the figure's description"
    assert "A slot is freed" in text


def test_what_was_found_is_said_in_sentences(run) -> None:
    waits, joins = tables.findings(estimates.assess(run))
    labels = {arm.name: arm.label for arm in ARMS}
    assert waits == f"A second request waits for the first: {labels[FIRST]}."
    assert labels[SECOND] in joins
    assert "1.50" in joins
