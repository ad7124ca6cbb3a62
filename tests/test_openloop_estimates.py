"""Latency by rate, goodput, knee and highest rate of runs of open loops whose truth is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from heavyweight import estimates, figures, report, store, tables
from heavyweight.estimates import Objective
from heavyweight.figures import Provenance
from heavyweight.records import Probe
from tests.open_runs import FRACTIONS, MOST_USERS, capacity_per_s, write_open_run
from tests.synthetic import ARMS, fail

SLOTS, BATCH = ARMS
SERVICE_MS = SLOTS.ttft_ms + 15 * SLOTS.itl_ms  # of one slot: 50 ms


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_open_run(tmp_path_factory.mktemp("runs") / "open", requests=400)


@pytest.fixture(scope="module")
def assessment(run):
    return estimates.assess(run)


@pytest.fixture(scope="module")
def objective(assessment):
    return estimates.objective_at_one_user(assessment, 2.0, percent=95)


def value(table, arm, fraction, quantity):
    row = table[(table["arm"] == arm) & (table["fraction"] == fraction)
                & (table["quantity"] == quantity)]  # fmt: skip
    return row.iloc[0]


def test_a_sound_run_is_valid_and_its_open_loops_are_no_load_of_users(assessment):
    assert assessment.cells["valid"].all(), assessment.cells["reasons"].unique()
    assert set(estimates.throughput_table(assessment)["users"]) == {1, MOST_USERS}
    assert set(estimates.ratio_table(assessment, "A")["users"]) == {1, MOST_USERS}
    assert assessment.missing.empty
    assert (assessment.cells["loop"] == "open").sum() == 2 * 3 * len(FRACTIONS)


def test_latencies_count_from_the_due_time_and_hold_the_queue(assessment):
    """The wait before one slot of constant service is that of Pollaczek and Khinchine (M/D/1)."""
    table = estimates.rates_table(assessment)
    for fraction in (0.3, 0.6):
        cells = estimates.openloop.cells_at_fraction(assessment, SLOTS.name, fraction)
        waits = [
            assessment.arrays(i).latencies_ms("ttft").mean() - SLOTS.ttft_ms
            for i in cells["cell_id"]
        ]
        load = fraction * capacity_per_s(SLOTS) * SERVICE_MS / 1e3
        expected_ms = SERVICE_MS * load / (2 * (1 - load))
        assert np.mean(waits) == pytest.approx(expected_ms, rel=0.35)
    for fraction in FRACTIONS:
        row = value(table, BATCH.name, fraction, "ttft_p50_ms")
        assert row["low"] <= BATCH.ttft_ms * 1.1
        assert row["value"] == pytest.approx(BATCH.ttft_ms, rel=0.1)  # nobody waits
    p95 = [value(table, SLOTS.name, f, "e2e_p95_ms")["value"] for f in FRACTIONS]
    assert p95 == sorted(p95)
    assert p95[-1] > 10 * SERVICE_MS


def test_rates_offered_and_answered(assessment):
    table = estimates.rates_table(assessment)
    for arm in ARMS:
        for fraction in (0.3, 0.6, 0.8):
            offered = value(table, arm.name, fraction, "rate_per_s")
            answered = value(table, arm.name, fraction, "requests_per_s")
            assert offered["value"] == pytest.approx(fraction * capacity_per_s(arm), rel=0.05)
            assert answered["value"] == pytest.approx(offered["value"], rel=0.15)
            assert answered["low"] < answered["value"] < answered["high"]
    over = value(table, SLOTS.name, 1.1, "requests_per_s")
    assert over["value"] < 1.05 * capacity_per_s(SLOTS)


def test_the_capacity_is_that_of_the_most_users(assessment):
    table = estimates.capacity_table(assessment).set_index("arm")
    for arm in ARMS:
        assert table.loc[arm.name]["per_s"] == pytest.approx(capacity_per_s(arm), rel=0.06)
        assert table.loc[arm.name]["users"] == MOST_USERS


def test_the_objective_is_twice_the_faster_servers_p95_at_one_user(assessment, objective):
    assert objective.ttft_ms == pytest.approx(2 * 20, rel=0.12)
    assert objective.tpot_ms == pytest.approx(2 * 2, rel=0.12)
    other = estimates.objective_at_one_user(assessment, 2.0, percent=95, tpot_factor=4.0)
    assert other.tpot_ms == pytest.approx(2 * objective.tpot_ms)
    assert other.ttft_ms == objective.ttft_ms


def test_goodput_and_the_ratio_that_the_claim_is_judged_by(assessment, objective):
    table = estimates.rates_table(assessment, objective)
    # One slot: good is who waits at most 20 ms, nearly all of a low rate and few of a high one.
    shares = [value(table, SLOTS.name, f, "met_fraction")["value"] for f in FRACTIONS]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.2
    assert shares[0] > 0.7
    assert value(table, BATCH.name, 0.8, "met_fraction")["value"] == 1
    pairing = estimates.goodput_pairing(assessment, (BATCH.name, SLOTS.name), objective)
    assert set(pairing.numerator) == set(pairing.denominator) == {1, 2, 3}
    for block, good in pairing.denominator.items():
        cells = assessment.cells
        mine = cells[(cells["arm"] == SLOTS.name) & (cells["block"] == block)]
        goods = []
        for cell_id in mine.loc[mine["loop"] == "open", "cell_id"]:
            requests = assessment.arrays(cell_id)
            goods.append(objective.met(requests).sum() / requests.window_s)
        assert good == pytest.approx(max(goods))
    ratio = estimates.goodput_ratio(pairing)
    assert ratio.low < ratio.value < ratio.high
    row = estimates.goodput_ratio_table(assessment, objective).iloc[0]
    assert (row["ratio"], row["low"], row["high"]) == (ratio.value, ratio.low, ratio.high)
    assert ratio.value == pytest.approx(
        row["numerator_per_s"] / row["denominator_per_s"], rel=0.1
    )  # fmt: skip


def test_no_good_request_at_all_is_zero_and_not_left_out(assessment):
    strict = Objective(ttft_ms=BATCH.ttft_ms * 1.5, tpot_ms=1e-3)
    pairing = estimates.goodput_pairing(assessment, (BATCH.name, SLOTS.name), strict)
    assert set(pairing.numerator.values()) == {0.0}
    assert estimates.goodput_ratio(pairing) is None
    row = estimates.goodput_ratio_table(assessment, strict).iloc[0]
    assert "no good request" in row["note"]
    some = dataclasses.replace(pairing, denominator={1: 2.0, 2: 2.0, 3: 3.0})
    zero = estimates.goodput_ratio(some)
    assert (zero.value, zero.low, zero.high) == (0, 0, 0)
    assert estimates.goodput_ratio_table(assessment, None).empty


def test_a_block_that_lacks_its_best_rate_is_left_out_and_another_lack_is_not(tmp_path):
    run = write_open_run(tmp_path / "run", skip=[(2, BATCH.name, 1.1), (3, BATCH.name, 0.3)])
    assessment = estimates.assess(run)
    easy = Objective(1e6, 1e6)
    pairing = estimates.goodput_pairing(assessment, (BATCH.name, SLOTS.name), easy)
    assert set(pairing.numerator) == {1, 3}
    assert "not measured at 1.1 of the capacity" in pairing.left_out[2]


def test_a_block_whose_work_was_not_done_is_spoiled(tmp_path):
    def edit(cell, rows):
        if (cell.block, cell.arm, cell.capacity_fraction) == (2, BATCH.name, 1.1):
            rows = [fail(row) for row in rows]
        return cell, rows

    assessment = estimates.assess(write_open_run(tmp_path / "run", edit=edit))
    pairing = estimates.goodput_pairing(
        assessment, (BATCH.name, SLOTS.name), Objective(1e6, 1e6)
    )  # fmt: skip
    assert pairing.spoiled == {2}
    row = value(estimates.rates_table(assessment), BATCH.name, 1.1, "e2e_p95_ms")
    assert row["blocks"] == 2
    assert "block 2 INVALID" in row["note"]


def test_the_knee_is_where_the_p95_is_twice_its_lowest(assessment):
    table = estimates.knee_table(assessment).set_index("arm")
    slots, batch = table.loc[SLOTS.name], table.loc[BATCH.name]
    assert slots["low"] <= slots["fraction"] <= slots["high"]
    assert 0.5 < slots["fraction"] < 1.0
    assert slots["per_s"] == pytest.approx(slots["fraction"] * capacity_per_s(SLOTS), rel=0.1)
    assert math.isinf(batch["fraction"])  # 64 slots: nobody waits at 1.1 of what 16 users reach
    assert math.isnan(batch["per_s"])
    found, _ = estimates.openloop.knee_of(assessment, SLOTS.name)
    rows = assessment.cells[assessment.cells["arm"] == SLOTS.name].set_index(
        ["block", "capacity_fraction"]
    )["e2e_p95_ms"]
    for block, knee in found.crossings.items():
        x, y = np.log(FRACTIONS), np.log([rows[block, f] / rows[block, 0.3] for f in FRACTIONS])
        assert np.interp(math.log(knee), x, y) == pytest.approx(math.log(2))


def test_a_search_over_blocks(run, assessment):
    table = estimates.search_table(run, assessment)
    assert (table["scope"] == "session").sum() == 6
    for arm in ARMS:
        row = table[(table["arm"] == arm.name) & (table["scope"] == "blocks")].iloc[0]
        assert row["per_s"] == pytest.approx(0.7 * capacity_per_s(arm), rel=0.05)
        assert row["low"] < row["per_s"] < row["high"]
        assert row["holds_per_s"] < row["per_s"] < row["fails_per_s"]
        assert row["blocks"] == 3


def test_a_search_that_one_block_did_not_bracket_has_no_number_over_blocks(tmp_path):
    run = write_open_run(tmp_path / "run", blocks=2, fractions=(0.3, 1.1))
    name = store.PROBE_FILE.format(store.HIGHEST_RATE)
    path = run.sessions()[0].path / name
    found = store.read_json(path, Probe)
    store.write_json(path, found.model_copy(update={"value": None, "value_high": None}))
    table = estimates.search_table(run, estimates.assess(run))
    row = table[(table["arm"] == found.arm) & (table["scope"] == "blocks")].iloc[0]
    assert math.isnan(row["per_s"])
    assert math.isnan(row["fails_per_s"])
    assert row["holds_per_s"] > 0
    assert "block 1 is not bracketed" in row["note"]


def test_tables_and_figures_say_what_they_show(run, assessment, objective):
    provenance = Provenance.of(run)
    rates = estimates.rates_table(assessment, objective)
    capacity = estimates.capacity_table(assessment)
    knees, found = estimates.knee_table(assessment), estimates.search_table(run, assessment)
    ratios = estimates.goodput_ratio_table(assessment, objective)
    shown = [
        tables.rates(rates), tables.capacity(capacity, knees, assessment),
        tables.searches(found), tables.goodput_ratios(ratios, assessment),
    ]  # fmt: skip
    assert all(isinstance(table, pd.DataFrame) and len(table) for table in shown)
    assert "above 1.1" in shown[1].to_string()
    drawn = [
        figures.response(rates, capacity, provenance),
        figures.goodput_by_rate(rates, capacity, objective, provenance),
        figures.highest_rate(found, provenance),
    ]
    for figure in drawn:
        assert figure.png()[:4] == b"\x89PNG"
        assert "EMULATED" in figure.alt
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert (box.x0, box.y0) >= (0, 0)
        assert (box.x1, box.y1) <= (width, height)


def test_one_block_and_a_run_without_anything_are_shown(tmp_path):
    one = write_open_run(tmp_path / "one", blocks=1, fractions=(0.3, 1.1))
    none = write_open_run(tmp_path / "none", blocks=1, fractions=(), searched=False)
    for run in (one, none):
        assessment, provenance = estimates.assess(run), Provenance.of(run)
        objective = estimates.objective_at_one_user(assessment, 2.0, percent=95)
        rates = estimates.rates_table(assessment, objective)
        capacity = estimates.capacity_table(assessment)
        knees, found = estimates.knee_table(assessment), estimates.search_table(run, assessment)
        ratios = estimates.goodput_ratio_table(assessment, objective)
        assert len(tables.rates(rates))
        assert len(tables.capacity(capacity, knees, assessment))
        assert len(tables.searches(found))
        assert len(tables.goodput_ratios(ratios, assessment))
        for figure in (
            figures.response(rates, capacity, provenance),
            figures.goodput_by_rate(rates, capacity, objective, provenance),
            figures.highest_rate(found, provenance),
        ):
            assert figure.png()[:4] == b"\x89PNG"
    assert estimates.rates_table(estimates.assess(none)).empty


@pytest.mark.notebook
def test_the_analysis_over_a_run(run):
    executed = report.execute("openloop", run.path)
    shown = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    text = str(shown)
    assert "at most" in text  # the objective
    assert "Traceback" not in text


def test_what_was_found_is_said_in_sentences(run, assessment, objective):
    ratio, waits, rates = tables.findings(assessment)
    (row,) = estimates.goodput_ratio_table(assessment, objective).itertuples()
    assert f"answers {tables.number(row.ratio)} times" in ratio
    assert str(objective) in ratio
    table = estimates.rates_table(assessment)
    at = max(share for share in FRACTIONS if share < 1)
    for r in table[(table["fraction"] == at) & (table["quantity"] == "ttft_p95_ms")].itertuples():
        assert f"{r.label} {tables.interval(r.value, r.low, r.high)} ms" in waits
    found = estimates.search_table(run, assessment)
    for r in found[found["scope"] == "blocks"].itertuples():
        assert f"{r.label} {tables.interval(r.per_s, r.low, r.high)}" in rates
