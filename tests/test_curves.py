"""Crossovers, scaling, goodput, queues and precision of runs whose truth is known."""

from __future__ import annotations

import dataclasses
import math
import shutil

import numpy as np
import pandas as pd
import pytest

from heavyweight import estimates, figures, tables
from heavyweight.estimates import Objective
from heavyweight.figures import Provenance
from tests.claims.runs import OLLAMA, VLLM, pretend
from tests.synthetic import fail

USERS = (1, 2, 4, 8, 50)
SLOW = dataclasses.replace(VLLM, itl_ms=6.0)  # behind at one user, ahead at many


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return pretend(path, (OLLAMA, SLOW), users=USERS, blocks=4, spread=0.02)


@pytest.fixture(scope="module")
def assessment(run):
    return estimates.assess(run)


def true_crossing(threshold=1.0):
    """Of the true ratios at the loads, as a crossover takes them: linear between logarithms."""
    x = np.log(USERS)
    y = np.log([SLOW.tok_s(n, 16) / OLLAMA.tok_s(n, 16) / threshold for n in USERS])
    i = int(np.flatnonzero(y < 0)[-1])
    return math.exp(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i]))


@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_the_crossover_is_the_true_one(assessment, threshold):
    row = estimates.crossover_table(assessment, "A", [threshold]).iloc[0]
    assert row["low"] <= true_crossing(threshold) <= row["high"]
    assert row["users"] == pytest.approx(true_crossing(threshold), rel=0.1)
    assert (row["below"], row["inside"], row["above"]) == (0, 4, 0)


def test_a_threshold_that_is_never_reached_lies_above_the_loads(assessment):
    row = estimates.crossover_table(assessment, "A", [1000.0]).iloc[0]
    assert (row["above"], row["users"], row["high"]) == (4, math.inf, math.inf)
    shown = tables.crossovers(assessment, {"A": estimates.crossover_table(assessment, "A", [1e3])})
    assert shown.iloc[0]["users from which on [95%]"].startswith("above 50")


def test_a_ratio_that_is_above_from_the_start_lies_below_the_loads(assessment):
    row = estimates.crossover_table(assessment, "A", [0.001]).iloc[0]
    assert (row["below"], row["users"], row["low"]) == (4, 0.0, 0.0)
    assert row["high"] <= 1


def test_latencies_are_turned(assessment):
    row = estimates.crossover_table(assessment, "A", [1.0], [("e2e_p50_ms", True)]).iloc[0]
    assert (row["numerator"], row["denominator"]) == ("ollama-q4", "vllm-bf16")
    assert row["low"] <= row["users"] <= row["high"]


def test_a_load_that_a_block_lacks_is_taken_from_its_neighbours_and_said(tmp_path):
    run = pretend(tmp_path / "run", (OLLAMA, SLOW), users=USERS, blocks=3,
                  skip=[(2, "vllm-bf16", 4)])  # fmt: skip
    row = estimates.crossover_table(estimates.assess(run), "A").iloc[0]
    assert row["blocks"] == 3
    assert "block 2 has no valid pair at 4 users" in row["note"]


def test_a_block_without_an_outer_load_is_left_out_and_said(tmp_path):
    run = pretend(tmp_path / "run", (OLLAMA, SLOW), users=USERS, blocks=3,
                  skip=[(2, "vllm-bf16", 50)])  # fmt: skip
    row = estimates.crossover_table(estimates.assess(run), "A").iloc[0]
    assert row["blocks"] == 2
    assert "block 2 lacks the lowest or highest load" in row["note"]


def test_a_single_load_has_no_crossover(tmp_path):
    run = pretend(tmp_path / "run", (OLLAMA, SLOW), users=(4,))
    row = estimates.crossover_table(estimates.assess(run), "A").iloc[0]
    assert math.isnan(row["users"])
    assert "two loads" in row["note"]


def test_one_slot_is_all_contention_and_many_slots_are_not(assessment):
    table = estimates.scaling_table(assessment)
    sigma = table[table["parameter"] == "sigma"].set_index("arm")["value"]
    assert sigma["ollama-q4"] == pytest.approx(1.0, abs=0.05)
    assert sigma["vllm-bf16"] < 0.2
    rate = table[(table["parameter"] == "rate") & (table["arm"] == "vllm-bf16")].iloc[0]
    assert rate["value"] == pytest.approx(SLOW.tok_s(1, 16), rel=0.15)


def test_four_loads_are_too_few_for_the_law(tmp_path):
    run = pretend(tmp_path / "run", (OLLAMA, SLOW), users=(1, 4, 8, 50))
    table = estimates.scaling_table(estimates.assess(run))
    assert table["value"].isna().all()
    assert table["note"].str.contains("needs 5 loads").all()
    assert "needs 5 loads" in tables.scaling(table).to_string()


def test_growth_is_that_of_the_truth(assessment):
    table = estimates.growth_table(assessment).set_index(["arm", "users"])
    for arm in (OLLAMA, SLOW):
        for users in USERS:
            row = table.loc[(arm.name, users)]
            true = arm.tok_s(users, 16) / arm.tok_s(1, 16)
            assert row["growth"] == pytest.approx(true, rel=0.05)
    assert table.loc[("ollama-q4", 1)]["growth"] == 1.0


def test_goodput_counts_what_met_the_objective(assessment):
    """One slot serves a request in 50 ms: with 4 users, nobody waits longer than 200 ms."""
    whole = estimates.goodput_table(assessment, Objective(ttft_ms=1e6, tpot_ms=1e6))
    blocks = whole[whole["scope"] == "blocks"]
    assert (blocks["met_fraction"] == 1).all()
    assert blocks["goodput_per_s"].to_numpy() == pytest.approx(blocks["requests_per_s"].to_numpy())
    none = estimates.goodput_table(assessment, Objective(ttft_ms=0.001, tpot_ms=1e6))
    assert (none["goodput_per_s"] == 0).all()
    assert (none["low"] == 0).all()


def test_a_queue_keeps_its_users_from_the_objective(assessment):
    objective = estimates.objective_at_one_user(assessment, 2.0)
    assert objective.ttft_ms == pytest.approx(40, rel=0.1)  # twice 20 ms
    table = estimates.goodput_table(assessment, objective)
    share = table[table["scope"] == "blocks"].set_index(["arm", "users"])["met_fraction"]
    assert share["ollama-q4", 1] == 1
    assert share["ollama-q4", 50] == 0


def test_a_failed_request_is_not_good(tmp_path):
    def edit(cell, rows):
        return cell, [fail(row) if n % 40 == 0 else row for n, row in enumerate(rows)]

    run = pretend(tmp_path / "run", users=(4,), requests=200, edit=edit,
                  limits={"errors_fraction": 0.5})  # fmt: skip
    table = estimates.goodput_table(estimates.assess(run), Objective(1e6, 1e6))
    shares = table[table["scope"] == "session"]["met_fraction"]
    assert ((shares > 0.9) & (shares < 1)).all()


def test_queues_obey_little(assessment):
    table = estimates.queue_table(assessment).set_index(["arm", "users"])
    assert (table["gap"].abs() < 0.05).all()
    assert table.loc[("ollama-q4", 50)]["in_flight"] == pytest.approx(50, rel=0.02)
    assert table.loc[("ollama-q4", 8)]["utilisation"] == pytest.approx(1, abs=0.05)
    assert (table["share_of_bound"] < 1.05).all()


def test_the_blocks_that_a_width_needs_fall_with_the_width(assessment):
    wide, narrow = (
        estimates.precision_table(assessment, "A", width)["blocks_needed"] for width in (0.2, 0.02)
    )
    assert (wide <= narrow).all()
    assert (wide >= 2).all()


def test_a_pilot_of_one_block_does_not_tell(tmp_path):
    run = pretend(tmp_path / "run", users=(1, 4), blocks=1)
    table = estimates.precision_table(estimates.assess(run), "A", 0.05)
    assert table["blocks_needed"].isna().all()
    assert table["note"].str.contains("needs a pilot of 2 blocks").all()
    assert (table["drift_numerator"] == "needs 3 blocks").all()


def test_methods_stand_side_by_side_and_t_is_the_ratio_tables(assessment):
    table = estimates.methods_table(assessment, "A", (50.0,))
    expected = estimates.ratio_table(assessment, "A", "e2e_p50_ms")
    assert table["t_low"].to_numpy() == pytest.approx(expected["low"].to_numpy())
    assert (table["hierarchical_low"] < table["hierarchical_high"]).all()
    assert table["bca_low"].isna().all()  # below 10 blocks


def test_one_arm_against_itself_holds_one(tmp_path):
    twin = dataclasses.replace(OLLAMA, name="ollama-q4-twin", label="twin")
    run = pretend(tmp_path / "run", (OLLAMA, twin), users=(1, 8), blocks=6,
                  contrasts={"AA": ("ollama-q4-twin", "ollama-q4")})  # fmt: skip
    table = estimates.self_test_table(estimates.assess(run))
    assert len(table) == 12
    known = table.dropna(subset="p")
    assert len(known) >= 8  # the p95 of so few requests is not estimable
    assert (known["p_holm"] >= known["p"]).all()
    assert (known["holds_one"] == ((known["low"] <= 1) & (known["high"] >= 1))).all()
    assert figures.self_test(table, Provenance.of(run)).png()[:4] == b"\x89PNG"


def test_the_figures_can_be_drawn_and_say_what_they_show(assessment, run):
    provenance = Provenance.of(run)
    objective = estimates.objective_at_one_user(assessment)
    growth = figures.growth(estimates.growth_table(assessment), provenance)
    goodput = figures.goodput(estimates.goodput_table(assessment, objective), objective, provenance)
    for figure in (growth, goodput):
        assert figure.png()[:4] == b"\x89PNG"
        assert "vLLM BF16" in figure.alt


def test_a_run_that_compares_nothing_has_tables_that_say_so(tmp_path):
    run = pretend(tmp_path / "run", (OLLAMA,), users=(1,), contrasts={}, blocks=1)
    assessment = estimates.assess(run)
    contrast = tables.first_contrast(assessment)
    assert contrast is None
    shown = [
        tables.crossovers(assessment, {}),
        tables.precision(estimates.precision_table(assessment, contrast, 0.05), 0.05),
        tables.methods(estimates.methods_table(assessment, contrast)),
        tables.self_test(estimates.self_test_table(assessment)),
        tables.growth(estimates.growth_table(assessment)),
        tables.scaling(estimates.scaling_table(assessment)),
        tables.queue(estimates.queue_table(assessment)),
        tables.goodput(estimates.goodput_table(assessment, None)),
        tables.inside(estimates.inside_table(assessment)),
    ]
    assert all(isinstance(table, pd.DataFrame) and len(table) for table in shown)


def test_open_loops_are_no_load_of_users(tmp_path):
    """A cell of an open loop has no users: it is in no curve over users, and breaks none."""

    def edit(cell, rows):
        if cell.users == 8:
            open_loop = {"loop": "open", "users": 0, "rate_per_s": 2.0, "arrivals": "poisson"}
            cell = cell.model_copy(update=open_loop)
        return cell, rows

    run = pretend(tmp_path / "run", (OLLAMA, SLOW), users=(1, 4, 8, 50), edit=edit)
    assessment = estimates.assess(run)
    assert 0 in set(assessment.cells["users"])
    row = estimates.crossover_table(assessment, "A").iloc[0]
    assert row["blocks"] == 3
    assert set(estimates.growth_table(assessment)["users"]) == {1, 4, 50}
    assert set(estimates.queue_table(assessment)["users"]) == {1, 4, 50}
    table = estimates.goodput_table(assessment, Objective(1e6, 1e6))
    assert set(table["users"]) == {1, 4, 50}
    assert estimates.scaling_table(assessment)["note"].str.contains("needs 5 loads").all()


def test_a_server_that_was_started_elsewhere_has_no_price_of_a_start(tmp_path):
    def edit_session(session):
        unknown = {"ready_ms": None, "first_token_ms": None, "first_request_ttft_ms": None}
        return session.model_copy(
            update={"starts": [s.model_copy(update=unknown) for s in session.starts]}
        )

    run = pretend(tmp_path / "run", users=(1, 4), edit_session=edit_session)
    table = estimates.inside_table(estimates.assess(run))
    assert table["requests_that_pay"].isna().all()
    assert (table["sd_within"] > 0).all()


def test_a_run_without_a_valid_cell_has_tables_without_numbers(tmp_path):
    run = pretend(tmp_path / "run", users=(1, 4), calibrated=False)
    assessment = estimates.assess(run)
    assert not assessment.cells["valid"].any()
    assert estimates.methods_table(assessment, "A").empty
    assert estimates.inside_table(assessment).empty
    assert estimates.objective_at_one_user(assessment) is None
    assert math.isnan(estimates.crossover_table(assessment, "A").iloc[0]["users"])
    assert estimates.precision_table(assessment, "A", 0.05)["ratio"].isna().all()


def test_two_cells_of_a_block_are_one_block(tmp_path):
    """The same load measured twice in a block is no second block."""
    run = pretend(tmp_path / "run", users=(4,), blocks=2)
    again = pretend(tmp_path / "again" / "run", users=(4,), blocks=2, seed=1)
    for session in again.sessions():
        for file in session.cells():
            shutil.copy(file.path, run.path / session.path.name)
    table = estimates.goodput_table(estimates.assess(run), Objective(1e6, 1e6))
    assert list(table[table["scope"] == "blocks"]["blocks"]) == [2, 2]
    assert len(table[table["scope"] == "session"]) == 8
