"""Figures: intervals are drawn, the setting is written on them, imitations are stamped."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from heavyweight import estimates, figures
from heavyweight.article import load_article
from heavyweight.errors import StoreError
from heavyweight.figures.canvas import arms_in, make
from heavyweight.store import RunFolder, write_json
from heavyweight.tables import number
from tests.recorded import GPU, QUIET, VLLM, write_beside
from tests.synthetic import ARMS, MACHINE, fail, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "synthetic", users=(1, 8, 50))


@pytest.fixture(scope="module")
def assessment(folder):
    return estimates.assess(folder)


@pytest.fixture(scope="module")
def provenance(folder):
    return figures.Provenance.of(folder)


@pytest.fixture(scope="module")
def drawn(folder, assessment, provenance):
    """Every figure of the analysis, by name."""
    ratios = {"A": estimates.ratio_table(assessment, "A")}
    made = {
        "throughput": figures.throughput(
            estimates.throughput_table(assessment), assessment.cells, provenance
        ),
        "ratio": figures.ratio(ratios, assessment.run.contrasts, provenance, load_article()),
        "timeline": figures.timeline(figures.cells_at(folder, 8, 1), provenance),
        "instrument": figures.instrument(assessment.instrument, provenance),
    }
    for quantity in ("ttft", "e2e", "itl", "tpot"):
        table = estimates.latency_table(assessment, quantity)
        made[quantity] = figures.latency(table, quantity, provenance)
    return made


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def error_bars(figure):
    """Ends of the vertical intervals, (low, high), in the data's unit."""
    return [
        (segment[:, 1].min(), segment[:, 1].max())
        for axes in figure.axes
        for bars in axes.findobj(LineCollection)
        for segment in bars.get_segments()
        if len(segment) == 2 and np.ptp(segment[:, 0]) == 0
    ]


def test_every_figure_says_its_setting_source_and_stamp(drawn, provenance):
    for name, figure in drawn.items():
        said = words(figure).replace("\n", " ")
        assert "EMULATED" in [text.get_text() for text in figure.texts], name
        assert "Data: run synthetic, 3 blocks" in said, name
        assert "16 out" in said, name
        assert provenance.machine in said, name
        assert provenance.versions in said, name


@pytest.mark.parametrize(
    ("flags", "gpus", "computes"),
    [
        (["avx2", "avx512f", "avx512_bf16"], [], " with AVX-512 BF16, 8 GiB"),
        (["avx2", "avx512f"], [], " with AVX-512, 8 GiB"),
        (["avx2"], [], " with AVX2, 8 GiB"),
        ([], [], ", 8 GiB"),
        (["avx2", "amx_bf16"], [{"name": "NVIDIA A40"}], ", 8 GiB, NVIDIA A40"),
    ],
)
def test_the_setting_says_what_computes(tmp_path, flags, gpus, computes):
    machine = MACHINE.model_copy(update={"cpu_flags": flags, "gpus": gpus})
    run = write_run(
        tmp_path / "run", users=(1,), blocks=1,
        edit_session=lambda session: session.model_copy(update={"machine": machine}),
    )  # fmt: skip
    assert figures.Provenance.of(run).machine == f"2 cores of {MACHINE.cpu_model}{computes}"


@pytest.mark.parametrize("word", ["WMW", "il", "throughput"])
def test_notes_end_before_the_right_edge_however_wide_their_letters(provenance, word):
    figure, _ = make(provenance, "a title", "alt", pd.DataFrame(), notes=[f"{word} " * 60])
    footer = next(text for text in figure.texts if word in text.get_text())
    box = footer.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert 0 < box.x0 < box.x1 <= figure.bbox.width


def test_no_stamp_on_a_measured_run(assessment, provenance):
    from dataclasses import replace

    table = estimates.throughput_table(assessment)
    figure = figures.throughput(table, assessment.cells, replace(provenance, emulated=False))
    assert "EMULATED" not in [text.get_text() for text in figure.texts]


def test_intervals_of_the_throughput_are_drawn(drawn, assessment):
    table = estimates.throughput_table(assessment)
    ends = np.array(error_bars(drawn["throughput"]))
    expected = table[["low", "high"]].to_numpy(float)
    assert len(ends) == len(expected)
    assert np.sort(ends[:, 0]) == pytest.approx(np.sort(expected[:, 0]))
    assert np.sort(ends[:, 1]) == pytest.approx(np.sort(expected[:, 1]))


def test_intervals_of_the_ratio_are_drawn(drawn, assessment):
    table = estimates.ratio_table(assessment, "A")
    ends = error_bars(drawn["ratio"])
    assert sorted(low for low, _ in ends) == pytest.approx(sorted(table["low"].astype(float)))


def test_published_ratios_stand_beside_ours(drawn):
    lines = drawn["ratio"].axes[0].get_lines()
    published = next(line for line in lines if "published" in str(line.get_label()))
    assert list(published.get_ydata()) == [1.1, 1.75, 2.3, 5.9]


def test_a_client_that_was_not_measured_is_told(assessment, provenance):
    figure = figures.instrument(assessment.instrument.iloc[:0], provenance)
    assert "not measured" in words(figure)
    assert figure._repr_mimebundle_()


def test_the_client_is_drawn_on_idle_and_on_busy_cores(drawn, assessment):
    figure = drawn["instrument"]
    ttft = figure.axes[1]
    lines = [line for line in ttft.get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == 2
    errors = assessment.instrument.query("setting == 'busy'")["ttft_error_p99_ms"]
    assert list(lines[1].get_ydata()) == pytest.approx(list(errors))
    wanted = [line for line in ttft.get_lines() if line.get_marker() == "D"]
    assert [list(line.get_ydata()) for line in wanted] == [[0.6]]
    assert "50 ms to the first token" in words(figure).replace("\n", " ")


def test_arms_differ_without_colour(drawn):
    lines = drawn["throughput"].axes[0].get_lines()
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    assert len(named) == len(ARMS)
    for attribute in ("get_marker", "get_color"):
        assert len({str(getattr(line, attribute)()) for line in named}) == len(ARMS)
    assert len({line.get_linestyle() for line in named}) == len(ARMS)


def test_axes_have_units(drawn):
    for name, figure in drawn.items():
        labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
        unit = {"throughput": "tok/s", "ratio": "ratio", "timeline": "(s)"}.get(name, "millisec")
        assert unit in labels, name


def test_everything_stays_inside_the_figure(drawn):
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert (box.x0, box.y0) >= (0, 0), name
        assert box.x1 <= width, name
        assert box.y1 <= height, name


def test_legends_hide_no_data(drawn):
    for name in ("throughput", "ratio"):
        axes = drawn[name].axes[0]
        drawn[name].draw_without_rendering()
        assert axes.get_legend().get_window_extent().y0 >= axes.bbox.y1 - 1, name


def test_percentiles_that_are_not_estimable_are_crosses(drawn):
    last = drawn["e2e"].axes[-1]  # p99: 200 requests do not carry it
    crosses = [line for line in last.get_lines() if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 6


def test_a_notebook_is_given_the_same_bytes_and_a_description(drawn):
    figure = drawn["throughput"]
    (first, meta), (second, _) = figure._repr_mimebundle_(), figure._repr_mimebundle_()
    assert first == second
    assert base64.b64decode(first["image/png"]).startswith(b"\x89PNG")
    assert meta["image/png"]["alt"] == figure.alt
    assert "tok/s at 50" in first["text/plain"]


def test_a_figure_has_the_numbers_that_it_shows(drawn, assessment):
    for name, figure in drawn.items():
        table = pd.read_csv(io.StringIO(figure.csv()))
        assert len(table), name
        assert figure._repr_mimebundle_()[0]["text/csv"] == figure.csv(), name
    table = pd.read_csv(io.StringIO(drawn["ratio"].csv()))
    ends = np.array(sorted(error_bars(drawn["ratio"])))
    assert np.array(sorted(zip(table["low"], table["high"], strict=True))) == pytest.approx(
        ends, rel=1e-4
    )
    timeline = pd.read_csv(io.StringIO(drawn["timeline"].csv()))
    assert (timeline["sent_s"] <= timeline["first_text_s"]).all()
    assert (timeline["first_text_s"] <= timeline["done_s"]).all()
    assert timeline["error"].isna().all()


def test_timeline_rows_are_the_cells_requests(drawn, folder):
    shown = figures.cells_at(folder, 8, 1)
    for axes, cell in zip(drawn["timeline"].axes, shown, strict=True):
        bars = [patch for patch in axes.patches if patch.get_width() > 0]
        requests = cell.requests
        start, end = cell.cell.window_start_ns, cell.cell.window_start_ns
        end += round(axes.get_xlim()[1] * 1e9)
        seen = requests[(requests["done_ns"] > start) & (requests["sent_ns"] < end)]
        assert len(bars) == 2 * len(seen)


def test_timeline_takes_the_largest_load_that_all_arms_have(tmp_path):
    run = write_run(tmp_path / "run", users=(1, 4, 50), blocks=1, skip=[(1, ARMS[0].name, 4)])
    assert {shown.cell.users for shown in figures.cells_at(run, 8, 1)} == {1}
    assert {shown.cell.users for shown in figures.cells_at(run, 64, 1)} == {50}
    assert {shown.cell.block for shown in figures.cells_at(run, 8, 2)} == {1}  # 2 was not measured


def test_failed_requests_are_on_the_timeline(tmp_path):
    def half_fail(cell, rows):
        return cell, [fail(row) if i % 2 else row for i, row in enumerate(rows)]

    run = write_run(tmp_path / "run", users=(4,), blocks=1, edit=half_fail)
    figure = figures.timeline(figures.cells_at(run, 4, 1), figures.Provenance.of(run))
    colors = {patch.get_facecolor()[:3] for patch in figure.axes[0].patches}
    assert (0.8, 0.1, 0.1) in colors


def test_telemetry_is_drawn_below_the_requests_where_it_was_recorded(tmp_path):
    run = write_run(tmp_path / "run", users=(4,), blocks=1, requests=400)
    second, first = (session.cells()[0] for session in run.sessions())
    provenance = figures.Provenance.of(run)
    assert len(figures.timeline(figures.cells_at(run, 4, 1), provenance).axes) == 2
    write_beside(first.path, first.cell, QUIET)
    figure = figures.timeline(figures.cells_at(run, 4, 1), provenance)
    assert [axes.get_ylabel() for axes in figure.axes] == ["user", "cores", "user", "GB"]
    assert "1.50 cores" in figure.alt
    strip = figure.axes[1]
    (line,) = [line for line in strip.get_lines() if len(line.get_xdata()) > 2]
    assert np.asarray(line.get_ydata()) == pytest.approx(1.5)
    assert strip.get_xlim() == figure.axes[0].get_xlim()
    write_beside(second.path, second.cell, QUIET | GPU | VLLM)
    figure = figures.timeline(figures.cells_at(run, 4, 1), provenance)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[:6] == ["user", "cores", "user", "cores", "requests", "%"]
    assert sorted(labels[6:]) == ["GB", "GB", "W"]
    assert figure._repr_mimebundle_()


def test_a_run_with_one_block_or_failures_is_drawn(tmp_path):
    """A smoke run has no interval, and a percentile that failures reach is infinite."""

    def all_fail(cell, rows):
        return cell, [fail(row) for row in rows] if cell.users == 4 else rows

    run = write_run(tmp_path / "run", users=(1, 4), blocks=1, edit=all_fail)
    assessment, provenance = estimates.assess(run), figures.Provenance.of(run)
    figure = figures.throughput(
        estimates.throughput_table(assessment), assessment.cells, provenance
    )
    assert error_bars(figure) == []
    assert "crosses: INVALID" in words(figure).replace("\n", " ")
    for quantity in ("ttft", "e2e"):
        made = figures.latency(estimates.latency_table(assessment, quantity), quantity, provenance)
        assert made._repr_mimebundle_()
    ratios = {"A": estimates.ratio_table(assessment, "A")}
    assert figures.ratio(ratios, assessment.run.contrasts, provenance)._repr_mimebundle_()


def test_arms_that_were_not_planned_are_drawn(tmp_path):
    """A session by hand may bring an arm of its own."""
    run = write_run(tmp_path / "run", users=(1, 4), blocks=1)
    planned = run.run.model_copy(update={"arms": [ARMS[1].name], "contrasts": {}})
    write_json(run.path / "run.json", planned)
    run = RunFolder.open(run.path)
    assessment, provenance = estimates.assess(run), figures.Provenance.of(run)
    assert list(provenance.labels) == [ARMS[1].name, ARMS[0].name]
    figure = figures.throughput(
        estimates.throughput_table(assessment), assessment.cells, provenance
    )
    assert len(figure.axes[0].get_legend().get_texts()) == 2
    assert len(figures.cells_at(run, 4, 1)) == 2


def test_a_run_without_cells_is_refused(tmp_path):
    run = write_run(tmp_path / "run", users=(1,), blocks=1, skip=[(1, arm.name, 1) for arm in ARMS])
    with pytest.raises(StoreError, match="no finished cell"):
        figures.Provenance.of(RunFolder.open(run.path))


def test_a_name_with_dollar_signs_is_a_name_and_no_formula(folder, assessment, provenance):
    name = r"$\frac{x$"
    labels = dict.fromkeys(provenance.labels, name)
    named = dataclasses.replace(provenance, model=name, versions=f"{name} 1", labels=labels)
    figure = figures.throughput(estimates.throughput_table(assessment), assessment.cells, named)
    assert figure.png()
    assert name in words(figure)


def test_a_run_that_compares_no_two_servers_says_so(provenance):
    figure = figures.ratio({}, {}, provenance)
    assert "this run compares no two servers" in words(figure)
    assert figure.alt.startswith("This run compares no two servers. Setting:")
    assert figure.csv() == ""
    assert figure.png()


def test_a_contrast_without_a_closed_loop_says_so(assessment, provenance):
    none = {"A": estimates.ratio_table(assessment, "A").iloc[:0]}
    figure = figures.ratio(none, assessment.run.contrasts, provenance)
    assert "no closed loop" in words(figure)


def test_a_ratio_without_an_interval_is_in_the_description(tmp_path):
    run = write_run(tmp_path / "run", users=(1, 4), blocks=1)
    assessment, provenance = estimates.assess(run), figures.Provenance.of(run)
    table = estimates.ratio_table(assessment, "A")
    assert table["low"].isna().all()
    figure = figures.ratio({"A": table}, assessment.run.contrasts, provenance)
    told = [f"{number(r.ratio)} at {r.users}" for r in table.itertuples()]
    assert len(told) == 2
    assert ", ".join(told) in figure.alt
    assert "nan" not in figure.alt


def test_arms_stand_in_the_order_of_the_plan(provenance):
    first, second = provenance.labels
    table = pd.DataFrame({"arm": [second, first, second, "not of this run"]})
    assert arms_in(provenance, table) == [first, second]
    assert arms_in(provenance, table[:1]) == [second]
