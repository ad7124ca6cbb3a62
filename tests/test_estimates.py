"""Tables over blocks: known truth, INVALID and missing cells, runs that are not whole."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from heavyweight.errors import BadInput
from heavyweight.estimates import (
    Assessment,
    assess,
    latency_table,
    ratio_table,
    summary,
    throughput_table,
)
from heavyweight.validity import CHECK_NAMES
from tests.synthetic import ARMS, fail, write_run

SLOTS, BATCH = ARMS


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Assessment:
    return assess(write_run(tmp_path_factory.mktemp("runs") / "whole"))


def made(tmp_path, **changes) -> Assessment:
    """A small run with changes, assessed."""
    options = {"users": (1, 4), "blocks": 3} | changes
    return assess(write_run(tmp_path / "run", **options))


def failing(*cells):
    """An edit that makes the first requests of the cells (block, arm, users) fail."""

    def edit(cell, rows):
        if (cell.block, cell.arm, cell.users) in cells:
            rows = [fail(row) if i < 5 else row for i, row in enumerate(rows)]
        return cell, rows

    return edit


def test_a_sound_run_is_valid_and_complete(whole):
    assert len(whole.cells) == 2 * 4 * 3
    assert whole.cells["valid"].all()
    assert whole.missing.empty
    assert whole.problems == ()
    assert len(whole.checks) == len(CHECK_NAMES) * len(whole.cells)
    assert whole.cells["block"].is_monotonic_increasing


def test_throughput_is_the_truth(whole):
    rows = throughput_table(whole)
    assert list(rows["arm"].unique()) == [SLOTS.name, BATCH.name]
    for row in rows.itertuples():
        arm = SLOTS if row.arm == SLOTS.name else BATCH
        truth = arm.tok_s(row.users, row.output_tokens)
        assert row.tok_s == pytest.approx(truth, rel=0.06)
        assert row.low < truth < row.high
        assert (row.blocks, row.note) == (3, "")


def test_the_ratio_is_the_truth(whole):
    for row in ratio_table(whole, "A").itertuples():
        truth = BATCH.tok_s(row.users, 16) / SLOTS.tok_s(row.users, 16)
        assert row.low < truth < row.high
        assert row.ratio == pytest.approx(truth, rel=0.1)
        assert (row.numerator, row.denominator) == (BATCH.name, SLOTS.name)


def test_a_ratio_of_latencies_by_hand(whole):
    table = ratio_table(whole, "A", "ttft_p50_ms").set_index("users")
    cells = whole.cells[whole.cells["users"] == 50].pivot_table(
        index="block", columns="arm", values="ttft_p50_ms"
    )
    logs = np.log(cells[BATCH.name] / cells[SLOTS.name])
    assert table.loc[50, "ratio"] == pytest.approx(math.exp(logs.mean()))
    half = 4.302653 * logs.std() / math.sqrt(3)  # t of 2 degrees of freedom, published
    assert table.loc[50, "high"] == pytest.approx(math.exp(logs.mean() + half), rel=1e-6)


def test_latencies_of_sessions_and_over_blocks(whole):
    rows = latency_table(whole, "ttft", [50, 95])
    blocks = rows[rows["scope"] == "blocks"]
    sessions = rows[rows["scope"] == "session"]
    assert len(blocks) == 2 * 4 * 2
    assert len(sessions) == 3 * len(blocks)
    alone = blocks[(blocks["arm"] == SLOTS.name) & (blocks["users"] == 1)].set_index("percentile")
    assert alone.loc[50, "estimate_ms"] == pytest.approx(SLOTS.ttft_ms, rel=0.06)
    assert math.isnan(alone.loc[95, "estimate_ms"])
    assert alone.loc[95, "needs"] == 72
    one = sessions[(sessions["block"] == 1) & (sessions["users"] == 50)].iloc[-1]
    assert one["low_ms"] <= one["estimate_ms"] <= one["high_ms"]


def test_queueing_is_seen_in_the_time_to_the_first_token(whole):
    rows = latency_table(whole, "ttft", [50]).query("scope == 'blocks' and users == 50")
    ttft = rows.set_index("arm")["estimate_ms"]
    service_ms = SLOTS.ttft_ms + 15 * SLOTS.itl_ms
    assert ttft[SLOTS.name] == pytest.approx(49 * service_ms + SLOTS.ttft_ms, rel=0.06)
    assert ttft[BATCH.name] == pytest.approx(BATCH.ttft_ms, rel=0.06)


def test_the_tables_are_the_same_each_time(whole, tmp_path):
    again = assess(write_run(tmp_path / "whole"))
    pd.testing.assert_frame_equal(again.cells, whole.cells)
    pd.testing.assert_frame_equal(ratio_table(again, "A"), ratio_table(whole, "A"))
    pd.testing.assert_frame_equal(latency_table(again, "itl"), latency_table(whole, "itl"))


def test_invalid_cells_are_counted_and_left_out(tmp_path):
    run = made(tmp_path, edit=failing((2, BATCH.name, 4)))
    bad = run.cells[~run.cells["valid"]].iloc[0]
    assert (bad["block"], bad["arm"], bad["users"], bad["reasons"]) == (2, BATCH.name, 4, "errors")
    assert (bad["errors"], bad["work_valid"]) == (5, False)
    ratio = ratio_table(run, "A").set_index("users").loc[4]
    assert ratio["blocks"] == 2
    assert ratio["blocks_left_out"] == f"block 2 {BATCH.name} INVALID: errors"
    rows = throughput_table(run).set_index(["arm", "users"])
    assert rows.loc[(BATCH.name, 4), "blocks"] == 2
    assert "block 2 INVALID: errors" in rows.loc[(BATCH.name, 4), "note"]
    assert rows.loc[(SLOTS.name, 4), "blocks"] == 3
    result = summary(run)
    assert result["cells"] == {
        "measured": 12, "valid": 11, "invalid": 1, "untold": 0, "missing": 0,
    }  # fmt: skip
    assert not result["work_ok"]
    assert result["invalid"][0]["check"] == "errors"


def test_noise_makes_a_cell_invalid_and_leaves_its_work_sound(tmp_path):
    def noisy(cell, rows):
        load = cell.machine_load.model_copy(update={"swapped_bytes": 1})
        return cell.model_copy(update={"machine_load": load}), rows

    run = made(tmp_path, blocks=1, edit=noisy)
    assert not run.cells["valid"].any()
    assert run.cells["work_valid"].all()
    assert summary(run)["work_ok"]
    assert ratio_table(run, "A")["ratio"].isna().all()


def test_prompts_that_the_arms_count_differently(tmp_path):
    def one_more(cell, rows):
        if (cell.arm, cell.users, cell.block) == (BATCH.name, 4, 1):
            rows = [row | {"prompt_tokens": row["prompt_tokens"] + 1} for row in rows]
        return cell, rows

    run = made(tmp_path, edit=one_more)
    bad = run.cells[~run.cells["valid"]]
    assert sorted(bad["arm"]) == [BATCH.name, SLOTS.name]
    assert set(bad["reasons"]) == {"prompt tokens"}


def test_one_block_has_no_interval(tmp_path):
    run = made(tmp_path, blocks=1)
    row = ratio_table(run, "A").iloc[0]
    assert row["ratio"] > 0
    assert math.isnan(row["low"])
    assert "no interval" in row["note"]


def test_loads_that_differ_in_length_are_not_averaged(tmp_path):
    def longer(cell, rows):
        if cell.block == 3:
            cell = cell.model_copy(update={"output_tokens": 32})
        return cell, rows

    run = made(tmp_path, users=(4,), edit=longer)
    rows = ratio_table(run, "A")
    assert rows["output_tokens"].tolist() == [16, 32]
    assert rows["blocks"].tolist() == [2, 1]


def test_the_rows_of_a_cell(whole):
    cell = whole.cells.iloc[0]
    rows = whole.requests(cell["cell_id"][:12])
    assert len(rows) >= cell["requests"]
    assert isinstance(rows["chunk_ns"].iloc[0], np.ndarray)
    for unknown in ("", "zz"):
        with pytest.raises(BadInput, match="cells of whole"):
            whole.requests(unknown)


def test_bad_input_is_told(whole):
    with pytest.raises(BadInput, match="one of A"):
        ratio_table(whole, "Z")
    with pytest.raises(BadInput, match="throughput_tok_s"):
        ratio_table(whole, "A", "arm")
    with pytest.raises(BadInput, match="ttft, e2e, itl, tpot"):
        latency_table(whole, "latency")
    with pytest.raises(BadInput, match="percentile 90"):
        latency_table(whole, "ttft", [90])


def test_percentiles_of_ones_own(tmp_path):
    folder = write_run(tmp_path / "run", users=(4,), blocks=1)
    run = assess(folder, percents=(90,))
    assert "ttft_p90_ms" in run.cells
    assert latency_table(run, "ttft", [90])["needs"].iloc[0] == 36
    with pytest.raises(BadInput, match="between 0 and 100"):
        assess(folder, percents=(100,))


def test_a_summary_is_json(whole):
    result = json.loads(json.dumps(summary(whole), allow_nan=False))
    assert result["work_ok"]
    assert result["emulated"]
    assert [row["users"] for row in result["ratios"]] == [1, 4, 8, 50]
    assert len(result["throughput"]) == 8
