"""Lengths of prompts and answers: what is planned, and where a ratio moves, by known truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from heavyweight import figures, tables
from heavyweight.cli.tables import print_checks, print_summary
from heavyweight.errors import BadInput
from heavyweight.estimates import (
    assess,
    length_times_table,
    lengths_table,
    moves_table,
    ratio_table,
    speeds_table,
    summary,
)
from heavyweight.estimates.lengths import RATIOS
from heavyweight.store import CellFile
from tests.synthetic import SyntheticArm, write_run

LENGTHS = [(64, 16), (64, 128), (512, 16), (1500, 16), (1500, 128)]
SLOW = SyntheticArm("slow", "one slot", 1, ttft_ms=12.8, itl_ms=2.0, prompt_ms=0.2)
FAST = SyntheticArm("fast", "four slots", 4, ttft_ms=40.0, itl_ms=4.0, prompt_ms=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lengths"
    return write_run(
        path, arms=(SLOW, FAST), users=(4,), blocks=3, lengths=LENGTHS, experiment="lengths"
    )


@pytest.fixture(scope="module")
def run(folder):
    return assess(folder)


def truth(prompt: int, answer: int) -> float:
    return FAST.tok_s(4, answer, prompt) / SLOW.tok_s(4, answer, prompt)


def test_each_pair_of_lengths_is_planned_and_has_its_ratio(run):
    assert len(run.cells) == 2 * 3 * len(LENGTHS)
    assert run.cells["valid"].all()
    assert run.missing.empty
    table = lengths_table(run, "A")
    assert set(table["quantity"]) == set(RATIOS)
    speeds = table[table["quantity"] == "throughput_tok_s"]
    assert {(r.prompt_tokens, r.output_tokens) for r in speeds.itertuples()} == set(LENGTHS)
    for row in speeds.itertuples():
        expected = truth(row.prompt_tokens, row.output_tokens)
        assert row.low < expected < row.high
        assert row.ratio == pytest.approx(expected, rel=0.08)
        assert row.blocks == 3
    # Where all answers of a cell are as long, tokens and requests have the same ratio, but for the
    # requests at the window's edges.
    rates = table[table["quantity"] == "requests_per_s"]
    assert list(rates["ratio"]) == pytest.approx(list(speeds["ratio"]), rel=0.05)
    assert ratio_table(run, "A")["ratio"].tolist() == speeds["ratio"].tolist()


def test_a_cell_of_one_length_that_is_not_there_is_missing(tmp_path):
    folder = write_run(tmp_path / "run", arms=(SLOW, FAST), users=(4,), blocks=2, lengths=LENGTHS)
    for path in (folder.path / "b02-fast").glob("n*.parquet"):
        cell = CellFile(path).cell
        if (cell.prompt_tokens_target, cell.output_tokens) in [(512, 16), (64, 128)]:
            path.unlink()
    run = assess(folder)
    gone = run.missing[["block", "arm", "users", "prompt_tokens", "output_tokens"]]
    assert set(gone.itertuples(index=False, name=None)) == {
        (2, "fast", 4, 512, 16),
        (2, "fast", 4, 64, 128),
    }
    assert not summary(run)["work_ok"]
    rows = moves_table(run, "A")
    assert set(rows["blocks"]) == {1}
    assert rows["note"].str.contains("block 2 lacks 512 in 16 out, 64 in 128 out").all()
    assert rows["moves"].isna().all(), "one block has no interval"
    fast = speeds_table(run).set_index(["arm", "rate"]).loc[("fast", "prompt_tokens")]
    assert "block 2 lacks 512 in 16 out, 64 in 128 out" in fast["note"]


def test_the_slopes_are_those_of_a_fit_by_hand(run):
    table = moves_table(run, "A").set_index(["quantity", "term"])
    speeds = run.cells.set_index(["arm", "block", "prompt_tokens", "output_tokens"])
    speeds = speeds["throughput_tok_s"].sort_index()
    design = np.array([[1, math.log(p), math.log(n)] for p, n in LENGTHS])
    slopes = []
    for block in (1, 2, 3):
        y = [math.log(speeds["fast", block, p, n] / speeds["slow", block, p, n])
             for p, n in LENGTHS]  # fmt: skip
        slopes.append(np.linalg.solve(design.T @ design, design.T @ np.array(y)))
    for place, term in ((1, "prompt_tokens"), (2, "output_tokens")):
        mine = np.array([slope[place] for slope in slopes])
        row = table.loc[("throughput_tok_s", term)]
        assert row["factor"] == pytest.approx(2 ** mine.mean())
        half = 4.302653 * mine.std(ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom, published
        assert row["low"] == pytest.approx(2 ** (mine.mean() - half), rel=1e-6)
        assert row["high"] == pytest.approx(2 ** (mine.mean() + half), rel=1e-6)
        assert row["moves"] == (abs(mine.mean()) > half)
        assert (row["pairs"], row["blocks"]) == (5, 3)


def test_a_ratio_that_does_not_move_is_not_said_to(tmp_path):
    twin = replace(SLOW, name="twin")
    run = assess(
        write_run(tmp_path / "run", arms=(SLOW, twin), users=(4,), blocks=6, lengths=LENGTHS)
    )
    table = moves_table(run, "A", ("throughput_tok_s",))
    assert not table["moves"].any()
    assert list(table["factor"]) == pytest.approx([1, 1], abs=0.01)


def test_a_ratio_that_moves_is_said_to(run):
    """The faster server reads at twice the speed and by four: it gains with the prompt."""
    table = moves_table(run, "A", ("throughput_tok_s", "ttft_p50_ms")).set_index(
        ["quantity", "term"]
    )
    speed = table.loc[("throughput_tok_s", "prompt_tokens")]
    assert speed["moves"]
    assert speed["factor"] > 1
    assert table.loc[("ttft_p50_ms", "prompt_tokens"), "factor"] < 1.2


def test_rates_of_reading_and_writing_are_the_truth(run):
    table = speeds_table(run).set_index(["arm", "rate"])
    assert table.loc[("slow", "prompt_tokens"), "tok_s"] == pytest.approx(5000, rel=0.06)
    assert table.loc[("slow", "output_tokens"), "tok_s"] == pytest.approx(500, rel=0.06)
    assert table.loc[("fast", "prompt_tokens"), "tok_s"] == pytest.approx(4 * 10_000, rel=0.08)
    assert table.loc[("fast", "output_tokens"), "tok_s"] == pytest.approx(4 * 250, rel=0.06)
    for row in table.itertuples():
        assert row.low < row.tok_s < row.high
        assert row.residual < 0.05


def test_times_by_lengths_are_the_truth(run):
    table = length_times_table(run).set_index(["arm", "quantity", "prompt_tokens", "output_tokens"])
    for prompt, answer in LENGTHS:
        first = table.loc[("fast", "ttft_p50_ms", prompt, answer), "value"]
        assert first == pytest.approx(FAST.first_ms(prompt), rel=0.06)
        gap = table.loc[("fast", "tpot_p50_ms", prompt, answer), "value"]
        assert gap == pytest.approx(FAST.itl_ms, rel=0.06)


def test_one_length_has_no_slope(tmp_path):
    run = assess(write_run(tmp_path / "run", users=(1, 4), blocks=2))
    table = moves_table(run, "A")
    assert table["factor"].isna().all()
    assert table["note"].str.contains("needs three pairs of lengths").all()
    assert speeds_table(run)["tok_s"].isna().all()
    with pytest.raises(BadInput, match="one of A"):
        moves_table(run, "Z")
    with pytest.raises(BadInput, match="throughput_tok_s"):
        moves_table(run, "A", ("arm",))


def test_a_run_that_has_only_begun(tmp_path):
    run = assess(write_run(tmp_path / "run", users=(4,), lengths=LENGTHS, blocks=0))
    assert moves_table(run, "A").empty
    assert speeds_table(run).empty
    assert len(lengths_table(run, "A")) == len(RATIOS)


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_map_has_each_ratio_with_its_interval(folder, run):
    provenance = figures.Provenance.of(folder)
    table = lengths_table(run, "A")
    figure = figures.lengths_map(table, provenance, ("throughput_tok_s", "ttft_p50_ms"))
    said = words(figure)
    assert "EMULATED" in said
    for row in table[table["quantity"] == "throughput_tok_s"].itertuples():
        sure = "*" if row.low > 1 or row.high < 1 else ""
        ends = f"{tables.number(row.low)} to {tables.number(row.high)}"
        assert f"{tables.number(row.ratio)}{sure}\n{ends}" in said
    speed, first = (axes.images[0] for axes in figure.axes)
    assert speed.norm.vmin == -speed.norm.vmax, "white is a ratio of 1"
    # Ahead is the same colour in both: more tokens a second, less time.
    assert speed.get_array()[0, 0] > 0
    assert (first.get_array()[0, 0] > 0) == (
        table.query("quantity == 'ttft_p50_ms'")["ratio"].iloc[0] < 1
    )
    assert figure._repr_mimebundle_()


def test_times_by_lengths_are_drawn_with_their_intervals(folder, run):
    table = length_times_table(run)
    figure = figures.length_times(table, figures.Provenance.of(folder))
    first = figure.axes[0]
    mine = table[(table["arm"] == "fast") & (table["quantity"] == "ttft_p50_ms")]
    mine = mine[mine["output_tokens"] == 16].sort_values("prompt_tokens")
    lines = [list(line.get_ydata()) for line in first.get_lines()]
    assert any(line == pytest.approx(list(mine["value"])) for line in lines)
    assert "16, 128 out" in words(figure), "two labels that would lie on each other are one"
    assert figure._repr_mimebundle_()


def test_where_no_cell_is_valid_the_figures_say_so(tmp_path):
    folder = write_run(
        tmp_path / "bad", users=(4,), lengths=LENGTHS[:3], blocks=1, calibrated=False
    )
    run, provenance = assess(folder), figures.Provenance.of(folder)
    for figure in (
        figures.lengths_map(lengths_table(run, "A"), provenance),
        figures.length_times(length_times_table(run), provenance),
    ):
        assert "no VALID cell" in words(figure)
        assert figure._repr_mimebundle_()
    assert set(tables.moves(moves_table(run, "A"))["an answer twice as long"]) == {"-"}


def test_the_tables_for_a_reader(run):
    shown = tables.lengths(lengths_table(run, "A"))
    assert list(shown.index) == [64, 64, 512, 1500, 1500]
    assert list(shown["tokens out"]) == [16, 128, 16, 16, 128]
    assert shown.columns[-1] == "median time per output token"
    moved = tables.moves(moves_table(run, "A"))
    assert "not told" not in moved.loc["tokens a second", "a prompt twice as long"]
    assert list(tables.speeds(speeds_table(run)).index) == ["one slot", "four slots"]
    assert len(tables.length_times(length_times_table(run)).columns) == 1 + 2 * 3
    assert tables.cells(run).loc[4, "one slot"] == "15 of 15 VALID"
    _, lines = tables.answers(run)
    assert len(lines) == len(LENGTHS)
    assert lines[0].startswith("4 users, 64 in, 16 out: ")


def test_what_was_found_is_said_in_sentences(run):
    ends, *moved = tables.findings(run)
    table = lengths_table(run, "A")
    ratios = table.loc[table["quantity"] == "throughput_tok_s", "ratio"]
    first, last = ends.index(tables.number(ratios.min())), ends.rindex(tables.number(ratios.max()))
    assert first < last
    assert "four slots / one slot, at 4 users: from" in ends
    factors = moves_table(run, "A", ["throughput_tok_s"])
    assert len(moved) == 2
    for said, row in zip(moved, factors.itertuples(), strict=True):
        assert tables.interval(row.factor, row.low, row.high) in said


def test_the_command_line_tells_lengths_apart(run, capsys):
    print_summary(run)
    print_checks(run)
    said = capsys.readouterr()
    said = said.out + said.err
    assert "4, 1500 in, 128 out" in said
    assert "The work is whole and equal." in said
