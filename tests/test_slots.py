"""Slots: what they give and cost, and the best of many chosen fairly, against known truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from heavyweight import figures, tables
from heavyweight.errors import BadInput
from heavyweight.estimates import (
    assess,
    contrast_table,
    fairest_table,
    gain_table,
    memory_per_slot_table,
    ratio_table,
    slot_families,
    slots_table,
)
from heavyweight.estimates.fairest import BEST
from heavyweight.estimates.slots import EVERY
from heavyweight.store import RunFolder
from tests.synthetic import SyntheticArm, fail, write_run

MB = 1_000_000
ONE = SyntheticArm("q4", "Q4, 1 slot", 1, memory_bytes=200 * MB, artefact="a" * 64)
EIGHT = replace(ONE, name="q4-8", label="Q4, 8 slots", slots=8, memory_bytes=340 * MB)
MANY = replace(ONE, name="q4-32", label="Q4, 32 slots", slots=32, memory_bytes=820 * MB)
F16 = replace(EIGHT, name="f16-8", label="F16, 8 slots", itl_ms=3.0, artefact="b" * 64)
OTHER = SyntheticArm(
    "other", "the other server", 64, ttft_ms=10, itl_ms=1.5, memory_bytes=900 * MB, artefact="c"
)
ARMS = (MANY, ONE, F16, EIGHT, OTHER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "slots"
    return write_run(path, arms=ARMS, users=(1, 8, 32), blocks=4, experiment="parallel")


@pytest.fixture(scope="module")
def run(folder):
    return assess(folder)


def rival(session):
    """All but the arm "other" are called a kind of server of their own."""
    kind = "vllm" if session.arm == OTHER.name else "ollama"
    identity = session.identity.model_copy(update={"server": kind})
    return session.model_copy(update={"server": kind, "identity": identity})


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    """Two kinds of servers; the contrast A is the last arm over the first."""
    folder = tmp_path_factory.mktemp("runs") / "rivals"
    return assess(write_run(folder, arms=ARMS, users=(8,), blocks=4, edit_session=rival))


def test_arms_that_differ_in_slots_alone_are_a_family(run):
    assert slot_families(run) == {
        "q4": {"q4": 1, "q4-8": 8, "q4-32": 32},
        "f16-8": {"f16-8": 8},
        "other": {"other": 64},
    }


def test_throughput_and_memory_by_slots_are_the_truth(run):
    table = slots_table(run).set_index(["arm", "users", "quantity"])
    for arm in ARMS:
        for users in (1, 8, 32):
            speed = table.loc[(arm.name, users, "throughput_tok_s")]
            truth = arm.tok_s(users, 16)
            assert speed["low"] < truth < speed["high"]
            assert speed["value"] == pytest.approx(truth, rel=0.06)
            memory = table.loc[(arm.name, users, "server_rss_bytes")]
            assert memory["value"] == pytest.approx(arm.memory_bytes)
            assert (memory["slots"], memory["blocks"]) == (arm.slots, 4)
    assert "not estimable" in table.loc[("q4", 1, "ttft_p95_ms"), "note"], "30 requests: no p95"
    assert table.loc[("q4", 32, "ttft_p95_ms"), "value"] > 0


def test_the_gain_of_slots_is_paired_and_the_truth(run):
    table = gain_table(run).set_index(["arm", "users"])
    assert set(table.index) == {(a, n) for a in ("q4-8", "q4-32") for n in (1, 8, 32)}
    for arm in (EIGHT, MANY):
        for users in (1, 8, 32):
            row = table.loc[(arm.name, users)]
            truth = arm.tok_s(users, 16) / ONE.tok_s(users, 16)
            assert row["gain"] == pytest.approx(truth, rel=0.1)
            assert (row["slots"], row["base_slots"], row["blocks"]) == (arm.slots, 1, 4)
    gain = table.loc[("q4-8", 8)]
    cells = run.cells[run.cells["users"] == 8].pivot_table(
        index="block", columns="arm", values="throughput_tok_s"
    )
    logs = np.log(cells["q4-8"] / cells["q4"])
    assert gain["gain"] == pytest.approx(math.exp(logs.mean()))
    half = 3.182446 * logs.std() / 2  # t of 3 degrees of freedom, published
    assert gain["low"] == pytest.approx(math.exp(logs.mean() - half), rel=1e-6)


def test_memory_a_slot(run):
    table = memory_per_slot_table(run)
    table = table[table["users"] == 8].set_index("arm")
    assert table.loc["q4-8", "bytes_per_slot"] == pytest.approx(140 * MB / 7)
    assert table.loc["q4-32", "bytes_per_slot"] == pytest.approx(620 * MB / 31)
    line = table.loc[EVERY]
    assert line["bytes_per_slot"] == pytest.approx(20 * MB)
    assert (line["low"], line["high"]) == (pytest.approx(20 * MB), pytest.approx(20 * MB))
    assert (line["slots"], line["base_slots"], line["blocks"]) == (32, 1, 4)


def test_memory_a_slot_may_be_less_than_nothing_and_has_its_spread(tmp_path):
    def noisy(cell, rows):
        more = {1: -30, 2: 10, 3: 20}[cell.block] * MB if cell.arm == ONE.name else 0
        load = cell.machine_load.model_copy(update={"server_rss_bytes": 300 * MB + more})
        return cell.model_copy(update={"machine_load": load}), rows

    run = assess(write_run(tmp_path / "run", arms=(ONE, EIGHT), users=(1,), edit=noisy))
    (row,) = memory_per_slot_table(run).to_dict("records")
    assert row["bytes_per_slot"] == pytest.approx(0, abs=1)
    spread = np.std([30, -10, -20], ddof=1) * MB / 7
    assert row["high"] == pytest.approx(4.302653 * spread / math.sqrt(3), rel=1e-6)
    assert row["low"] == pytest.approx(-row["high"], rel=1e-6)


def test_a_contrast_table_is_the_ratio_table_of_any_pair(run):
    rows = contrast_table(run, {"A": ("other", "q4-32")}, ("throughput_tok_s",))
    assert run.run.contrasts["A"] == ("other", "q4-32")
    assert rows.equals(ratio_table(run, "A"))
    both = contrast_table(
        run, {"precision": ("f16-8", "q4-8")}, ("ttft_p50_ms", "server_rss_bytes")
    ).set_index(["quantity", "users"])
    assert both.loc[("server_rss_bytes", 8), "ratio"] == pytest.approx(1)
    assert both.loc[("ttft_p50_ms", 8), "blocks"] == 4


def test_an_arm_that_the_run_has_not_is_told(run):
    rows = contrast_table(run, {"B": ("other", "awq")})
    assert rows["ratio"].isna().all()
    assert set(rows["note"]) == {"not in this run: awq"}
    with pytest.raises(BadInput, match="throughput_tok_s"):
        contrast_table(run, {"A": ("other", "q4")}, ("label",))


def test_the_fairest_is_of_the_other_kind_of_server(rivals):
    table = fairest_table(rivals, "A").set_index("arm")
    assert set(table.index) == {"q4", "q4-8", "q4-32", "f16-8", BEST}
    assert set(table["against"]) == {"other"}
    best = table.loc[BEST]
    assert best["blocks"] == 4
    assert "f16" not in best["chosen"].lower()
    truth = OTHER.tok_s(8, 16) / EIGHT.tok_s(8, 16)
    assert best["low"] < truth < best["high"]
    ratio = contrast_table(rivals, {"A": ("other", "q4-8")}).iloc[0]["ratio"]
    assert table.loc["q4-8", "ratio"] == ratio


def test_the_best_is_chosen_by_the_other_blocks(tmp_path):
    """The arm that is lucky in one block is not chosen for that block."""
    lucky = {("q4-8", 1): 4, ("q4-32", 2): 4, ("q4-8", 3): 1.1, ("q4-32", 1): 1.05}

    def quicker(cell, rows):
        factor = lucky.get((cell.arm, cell.block), 1)
        window = {
            name: round(getattr(cell, name) / factor)
            for name in ("window_start_ns", "window_end_ns")
        }
        times = ("due_ns", "sent_ns", "headers_ns", "done_ns")
        rows = [
            row
            | {name: round(row[name] / factor) for name in times}
            | {"chunk_ns": (row["chunk_ns"] / factor).astype(np.int64)}
            for row in rows
        ]
        return cell.model_copy(update=window), rows

    run = assess(
        write_run(
            tmp_path / "run", arms=(EIGHT, MANY, OTHER), users=(8,), blocks=3, spread=0.0,
            edit=quicker, edit_session=rival,
        )
    )  # fmt: skip
    best = fairest_table(run, "A").set_index("arm").loc[BEST]
    speed = run.cells.set_index(["arm", "block"])["throughput_tok_s"]
    # Block 1 by 2 and 3: q4-32 (4 x 1); 2 by 1 and 3: q4-8; 3 by 1 and 2: q4-32 (1.05 x 4 > 4 x 1).
    by_hand = [speed["other", b] / speed[arm, b]
               for b, arm in ((1, "q4-32"), (2, "q4-8"), (3, "q4-32"))]  # fmt: skip
    assert best["ratio"] == pytest.approx(math.exp(np.log(by_hand).mean()))
    assert best["chosen"] == "Q4, 32 slots (2 of 3 blocks), Q4, 8 slots (1 of 3 blocks)"


def test_one_block_chooses_nothing(tmp_path):
    run = assess(write_run(tmp_path / "run", arms=ARMS, users=(8,), blocks=1))
    best = fairest_table(run, "A").set_index("arm").loc[BEST]
    assert math.isnan(best["ratio"])
    assert "no other block to choose by" in best["note"]
    assert math.isnan(gain_table(run).iloc[0]["low"])
    with pytest.raises(BadInput, match="one of A"):
        fairest_table(run, "Z")


def test_what_failed_enters_nothing_and_is_told(tmp_path):
    def broken(cell, rows):
        if (cell.arm, cell.block) == (EIGHT.name, 2):
            rows = [fail(row) if i % 3 == 0 else row for i, row in enumerate(rows)]
        return cell, rows

    run = assess(write_run(tmp_path / "run", arms=(ONE, EIGHT, MANY), users=(8,), edit=broken))
    rows = gain_table(run).set_index("arm")
    assert rows["blocks"].to_dict() == {"q4-8": 2, "q4-32": 3}
    assert "block 2 q4-8 INVALID" in rows.loc["q4-8", "note"]
    memory = memory_per_slot_table(run).set_index("arm")
    assert memory.loc[EVERY, "blocks"] == 2
    assert memory.loc[EVERY, "note"].endswith("block 2 lacks q4-8")


def test_a_run_that_has_only_begun_has_empty_tables(tmp_path):
    run = assess(write_run(tmp_path / "run", arms=ARMS, users=(8,), blocks=0))
    for table in (slots_table(run), gain_table(run), memory_per_slot_table(run)):
        assert table.empty
        assert "note" in table
    assert fairest_table(run, "A")["ratio"].isna().all()


def drawn(folder: RunFolder):
    """Every figure of slots."""
    run, provenance = assess(folder), figures.Provenance.of(folder)
    table = slots_table(run)
    return {
        "slots": figures.slots(table, provenance, "q4", "other"),
        "map": figures.slots_map(table, provenance),
        "memory": figures.slots_memory(table, memory_per_slot_table(run), provenance, "q4"),
    }


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_figures_say_where_they_are_from_and_show_the_numbers(folder, run):
    made = drawn(folder)
    for name, figure in made.items():
        assert "EMULATED" in [text.get_text() for text in figure.texts], name
        assert "Data: run slots, 4 blocks" in words(figure), name
        assert figure._repr_mimebundle_()
    gain = slots_table(run, ["throughput_tok_s"]).set_index(["arm", "users"])
    lines = {line.get_label(): line for line in made["slots"].axes[0].get_lines()}
    drawn_y = list(lines["8 users"].get_ydata())
    assert drawn_y == pytest.approx([gain.loc[(a, 8), "value"] for a in ("q4", "q4-8", "q4-32")])
    assert tables.interval(*gain.loc[("q4-8", 8), ["value", "low", "high"]]) in words(made["map"])
    assert "8 users: 20.0 [20.0, 20.0] MB a slot" in words(made["memory"])


def test_where_no_cell_is_valid_the_figures_and_tables_say_so(tmp_path):
    folder = write_run(tmp_path / "bad", arms=ARMS, users=(8,), blocks=2, calibrated=False)
    run = assess(folder)
    for name, figure in drawn(folder).items():
        assert "no VALID cell" in words(figure), name
        assert figure._repr_mimebundle_()
    assert "no VALID cell" in tables.fairest(fairest_table(run, "A")).to_string()
    assert tables.gains(gain_table(run)).loc["Q4, 8 slots", "8 users"] == "-"


def test_what_was_found_is_said_in_sentences(run):
    gained, best = tables.findings(run)
    row = gain_table(run).set_index(["arm", "users"]).loc[("q4-32", 32)]
    assert f"Q4, 32 slots gives {tables.number(row['gain'])} times (95% interval" in gained
    assert gained.endswith("4 blocks) the tokens a second of Q4, 1 slot, at 32 users.")
    contrast = tables.first_contrast(run)
    row = fairest_table(run, contrast).set_index(["arm", "users"]).loc[(BEST, 32)]
    assert row["chosen"] in best
    assert f"gives {tables.number(row['ratio'])} times" in best


def test_the_tables_for_a_reader(run):
    shown = tables.slots(slots_table(run))
    assert list(shown.columns) == [
        "users", "tok/s", "TTFT p50 (ms)", "TTFT p95 (ms)", "response p50 (ms)",
        "response p95 (ms)", "memory (MB)",
    ]  # fmt: skip
    assert len(shown) == len(ARMS) * 3
    assert shown["memory (MB)"].iloc[0] == "200 [200, 200]"
    memory = tables.memory_per_slot(memory_per_slot_table(run))
    assert memory.index[-1] == "each slot added to Q4, 1 slot"
    assert memory.loc["Q4, 8 slots", "1 user"] == "20.0 [20.0, 20.0]"
    best = tables.fairest(fairest_table(run, "A"))
    assert best.iloc[-1]["chosen"].startswith("1 user: ")
    asked = {"cores": ("other", "q4"), "none": ("q4", "nobody")}
    told = tables.contrasts(run, contrast_table(run, asked, ("server_rss_bytes",)))
    assert set(told.loc["cores", "ratio of"]) == {"resident memory"}
    assert set(told.loc["none", "note"]) == {"not in this run: nobody"}
    alone = assess_alone(run)
    assert "differ in their slots only" in tables.gains(gain_table(alone)).to_string()


def assess_alone(run):
    """The run, of which one arm is left."""
    sessions = run.sessions[run.sessions["arm"] == "other"]
    return replace(run, sessions=sessions)
