"""What a run of the experiment memory says: tables of known truth, figures, the notebook."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import papermill
import pytest
from matplotlib.text import Text

from heavyweight import audit, estimates, figures, physics, tables
from heavyweight.article import load_article
from heavyweight.estimates.memory import compared
from heavyweight.estimates.pairing import paired
from heavyweight.records import Probe
from heavyweight.stats import tost
from heavyweight.store import RunFolder, write_probe
from tests.experiments.remembered import (
    KV_BYTES_PER_TOKEN,
    MB,
    PEAK,
    SHARED,
    UNITS,
    WEIGHTS,
    remembered,
)
from tests.synthetic import MACHINE, fail

ROOT = Path(__file__).parents[2]
F16, KV16K = "ollama-f16-parallel", "vllm-bf16-kv16k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return remembered(tmp_path_factory.mktemp("runs") / "memory")


@pytest.fixture(scope="module")
def assessment(folder):
    return estimates.assess(folder)


@pytest.fixture(scope="module")
def seen(folder, assessment):
    return estimates.memory_frame(folder, assessment)


@pytest.fixture(scope="module")
def models():
    return physics.load_models()


def one(table, **at):
    for name, value in at.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return row


def test_what_was_seen_is_averaged_over_blocks_with_an_interval(assessment, seen):
    table = estimates.memory_table(assessment, seen)
    row = one(table, arm=F16, moment="load", users=8, reading="peak", quantity="pss_bytes")
    assert row["bytes"] == pytest.approx(PEAK[F16], rel=1e-3)
    assert row["blocks"] == 3
    assert 0.97 < row["low"] / PEAK[F16] < 0.98, "Student's t over 0.99, 1, 1.01"
    assert 1.02 < row["high"] / PEAK[F16] < 1.03
    resident = one(table, arm=F16, moment="load", users=8, reading="peak", quantity="rss_bytes")
    assert resident["bytes"] == pytest.approx(SHARED * row["bytes"])
    ready = one(table, arm=F16, moment="ready", quantity="pss_bytes")
    assert ready["bytes"] == pytest.approx(0.2 * PEAK[F16], rel=1e-3)
    none = one(table, arm=F16, moment="ready", quantity="shmem_bytes")
    assert none["bytes"] == 0, "no shared memory is a number, not a gap"
    assert "vram_bytes" not in set(table["quantity"]), "there is no GPU"


def test_parts_add_up_to_the_peak(assessment, seen, models):
    parts = estimates.breakdown_table(assessment, seen, models)
    for arm, artefact, tokens in ((F16, "gguf-f16", 16_384), (KV16K, "checkpoint", 16_384)):
        found = {name: one(parts, arm=arm, part=name) for name in set(parts["part"])}
        assert found["weights"]["bytes"] == WEIGHTS[artefact]
        assert found["KV cache"]["bytes"] == tokens * KV_BYTES_PER_TOKEN, (
            "told by the one, by physics for the other: both the same"
        )
        assert found["total"]["bytes"] == pytest.approx(PEAK[arm])
        assert sum(found[p]["bytes"] for p in ("weights", "KV cache", "rest")) == pytest.approx(
            found["total"]["bytes"]
        )
        rest = found["rest"]
        assert rest["low"] < rest["bytes"] < rest["high"]
        assert {row["users"] for row in found.values()} == {8}


def test_the_contrast_is_paired_by_block_and_can_be_tested_for_equality(assessment, seen):
    table = estimates.memory_ratio_table(assessment, seen)
    row = one(table, users=8, quantity="pss_bytes")
    assert row["ratio"] == pytest.approx(2)
    assert row["high"] - row["low"] < 1e-6, "both arms of a block move together"
    assert row["blocks"] == 3
    arms = (KV16K, F16)
    pairing = paired(arms, [estimates.memory_by_block(assessment, seen, a, 8) for a in arms])
    decided = tost(pairing.numerator, pairing.denominator, 0.8695652, 1.15)
    assert decided.different
    assert not decided.equivalent


def test_a_slot_costs_what_the_difference_says(assessment, seen, models):
    table = estimates.memory_slots_table(assessment, seen, models)
    row = one(table, users=8)
    assert (row["numerator"], row["denominator"]) == ("ollama-q4-parallel", "ollama-q4")
    assert row["slots"] == 7
    assert row["ratio"] == pytest.approx(750 / 400)
    assert row["slot_bytes"] == pytest.approx(350 * MB / 7)
    assert row["slot_kv_bytes"] == 2048 * KV_BYTES_PER_TOKEN


def test_physics_stands_beside_what_the_servers_say(assessment, seen, models):
    table = estimates.memory_physics_table(assessment, seen, models)
    row = one(table, arm=F16)
    assert row["weights_physics_bytes"] == 134_515_008 * 2
    assert row["kv_told_bytes"] == row["kv_physics_bytes"] == 16_384 * KV_BYTES_PER_TOKEN
    assert math.isnan(one(table, arm=KV16K)["kv_told_bytes"])


def test_shares_of_the_kv_cache_are_of_the_sums_over_the_readings(folder, assessment):
    frame = estimates.kv_cache_frame(folder)
    table = estimates.kv_cache_table(assessment, frame)
    paged = one(table, arm=KV16K, quantity="wasted_share")
    assert paged["value"] == pytest.approx(1 - 300 / (128 + 256))
    assert paged["within_a_block"]
    assert paged["most_wasted_per_sequence"] == 56
    assert paged["idle_tokens"] == 0
    slots = one(table, arm=F16, quantity="wasted_share")
    assert slots["value"] == pytest.approx(1 - 150 / 2048)
    assert not slots["within_a_block"], "a slot's part is no block"
    assert math.isnan(slots["idle_tokens"])
    unused = one(table, arm=KV16K, quantity="unused_share")
    assert unused["value"] == pytest.approx(1 - 150 * 8 / 16_384)
    waste = one(estimates.kv_waste_table(assessment, frame), contrast="C")
    assert waste["ratio"] == pytest.approx(paged["value"] / slots["value"])
    assert waste["high"] < 0.5
    assert waste["most_wasted_blocks"] == 56 / 128
    by_block = estimates.kv_waste_by_block(assessment, frame, KV16K)
    assert by_block.values == pytest.approx(dict.fromkeys((1, 2, 3), paged["value"]))


def test_a_load_whose_work_failed_is_told_and_not_averaged_in(tmp_path):
    def edit(cell, rows):
        if cell.arm == F16 and cell.users == 8 and cell.block == 1:
            rows = [fail(row) if i % 2 else row for i, row in enumerate(rows)]
        return cell, rows

    folder = remembered(tmp_path / "memory", edit=edit)
    assessment = estimates.assess(folder)
    seen = estimates.memory_frame(folder, assessment)
    table = estimates.memory_table(assessment, seen)
    row = one(table, arm=F16, moment="load", users=8, reading="peak", quantity="pss_bytes")
    assert row["blocks"] == 2
    assert "block 1 INVALID" in row["note"]
    assert row["bytes"] > PEAK[F16], "blocks 2 and 3"
    ratio = one(estimates.memory_ratio_table(assessment, seen), users=8, quantity="pss_bytes")
    assert ratio["blocks"] == 2
    assert F16 in ratio["note"]


def test_a_session_that_was_not_measured_and_a_probe_that_failed_are_told(tmp_path, models):
    folder = remembered(tmp_path / "memory")
    shutil.rmtree(folder.path / f"b03-{KV16K}")
    left = folder.path / f"b02-{F16}"
    (left / "probe-kv-cache.json").unlink()
    shared = {"session": left.name, "arm": F16, "server": "ollama", "block": 2, **UNITS}
    write_probe(left, Probe(probe="kv-cache", question="?", answer="unknown", why="it broke",
                            **shared))  # fmt: skip
    assessment = estimates.assess(folder)
    seen = estimates.memory_frame(folder, assessment)
    row = one(estimates.memory_ratio_table(assessment, seen), users=8, quantity="pss_bytes")
    assert row["blocks"] == 2
    assert "not measured" in row["note"]
    cache = estimates.kv_cache_table(assessment, estimates.kv_cache_frame(folder))
    slots = one(cache, arm=F16, quantity="used_tokens")
    assert slots["blocks"] == 2
    assert "it broke" in slots["note"]
    waste = one(
        estimates.kv_waste_table(assessment, estimates.kv_cache_frame(folder)), contrast="C"
    )
    assert waste["blocks"] == 1
    assert "it broke" in waste["note"]
    assert "not measured" in waste["note"]


def test_a_session_whose_record_is_cut_off_is_left_out_of_every_table(tmp_path):
    folder = remembered(tmp_path / "memory")
    gone = f"b02-{F16}"
    record = folder.path / gone / "session.json"
    record.write_text(record.read_text()[:100])
    assessment = estimates.assess(folder)
    assert [problem for problem in assessment.problems if "session.json" in problem]
    seen = estimates.memory_frame(folder, assessment)
    assert gone not in set(seen["session"])
    assert f"b01-{F16}" in set(seen["session"])
    row = one(estimates.memory_ratio_table(assessment, seen), users=8, quantity="pss_bytes")
    assert row["blocks"] == 2
    assert "not measured" in row["note"]
    assert gone not in set(estimates.kv_cache_frame(folder)["session"])
    whole = estimates.machine_memory_bytes(folder)
    assert whole == MACHINE.memory_bytes
    assert len(estimates.cold_starts(folder)) == 0
    for path in folder.path.glob("*/session.json"):
        path.write_text("{")
    assert math.isnan(estimates.machine_memory_bytes(folder))
    assert estimates.memory_frame(folder, assessment).empty
    assert estimates.kv_cache_frame(folder).empty
    assert estimates.assess(folder).cells.empty


def test_a_run_without_such_probes_has_empty_tables(tmp_path, models):
    folder = remembered(tmp_path / "memory", blocks=1)
    for path in folder.path.glob("*/probe-*.json"):
        path.unlink()
    assessment = estimates.assess(folder)
    seen = estimates.memory_frame(folder, assessment)
    assert seen.empty
    assert compared(seen) == "rss_bytes"
    assert estimates.memory_ratio_table(assessment, seen).empty
    assert estimates.memory_slots_table(assessment, seen, models).empty
    assert "no memory" in tables.memory(estimates.memory_table(assessment, seen)).to_string()
    parts = estimates.breakdown_table(assessment, seen, models)
    provenance = figures.Provenance.of(folder)
    assert figures.memory_parts(parts, provenance).png()
    cache = estimates.kv_cache_table(assessment, estimates.kv_cache_frame(folder))
    assert figures.kv_cache(cache, provenance).png()


def test_one_block_has_values_and_no_interval(tmp_path, models):
    folder = remembered(tmp_path / "memory", blocks=1)
    assessment = estimates.assess(folder)
    seen = estimates.memory_frame(folder, assessment)
    row = one(estimates.breakdown_table(assessment, seen, models), arm=F16, part="total")
    assert row["bytes"] > 0
    assert math.isnan(row["low"])
    assert "one block" in row["note"]
    assert figures.memory_parts(
        estimates.breakdown_table(assessment, seen, models), figures.Provenance.of(folder)
    ).png()


def test_where_there_is_a_gpu_its_memory_is_compared(seen):
    assert compared(seen) == "pss_bytes"
    assert compared(seen.assign(vram_bytes=5.0)) == "vram_bytes"
    once = seen.assign(vram_bytes=[math.nan, *[5.0] * (len(seen) - 1)])
    assert compared(once) == "vram_bytes", "a sample without an answer changes no count"
    assert compared(seen.assign(pss_bytes=math.nan)) == "rss_bytes"


def test_tables_say_numbers_with_their_intervals(folder, assessment, seen, models):
    memory = tables.memory(estimates.memory_table(assessment, seen)).to_string()
    assert "1,000 [975, 1,025]" in memory
    assert "peak, 8 users" in memory
    parts = tables.memory_parts(estimates.breakdown_table(assessment, seen, models)).to_string()
    assert "271" in parts
    ratios = tables.memory_ratios(assessment, estimates.memory_ratio_table(assessment, seen))
    assert "vLLM BF16, KV cache of 16,384 tokens / Ollama F16, 8 slots" in ratios.to_string()
    slots = tables.memory_slots(assessment, estimates.memory_slots_table(assessment, seen, models))
    assert "50.0 [" in slots.to_string()
    cache = estimates.kv_cache_table(assessment, estimates.kv_cache_frame(folder))
    told = tables.kv_cache(cache).to_string()
    assert "21.9%" in told
    assert "a part for each slot" in told
    waste = estimates.kv_waste_table(assessment, estimates.kv_cache_frame(folder))
    assert "0.236" in tables.kv_waste(assessment, waste).to_string()
    beside = tables.memory_physics(estimates.memory_physics_table(assessment, seen, models))
    assert "269" in beside.to_string()


def test_figures_show_parts_and_steps_and_say_where_they_are_from(folder, assessment, seen, models):
    provenance = figures.Provenance.of(folder)
    parts = figures.memory_parts(estimates.breakdown_table(assessment, seen, models), provenance)
    cache = figures.kv_cache(
        estimates.kv_cache_table(assessment, estimates.kv_cache_frame(folder)), provenance
    )
    for figure in (parts, cache):
        words = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "run memory" in words
        assert "Ollama F16, 8 slots" in words
        assert figure.alt
    assert "2,000" in parts.alt
    assert "reserved 16,384" in cache.alt
    words = " ".join(text.get_text() for text in cache.findobj(Text))
    assert "22% wasted" in words
    assert "93% wasted" in words


def test_the_articles_table_against_what_a_machine_can_hold(models):
    table = audit.held(load_article(), models, 24 * 2**30).set_index("model")
    assert table.loc["llama-3.1-8b", "fp16_share"] == pytest.approx(16.0605 / 16, rel=1e-4)
    assert table.loc["llama-3.1-8b", "fp16_held"]
    assert not table.loc["qwen2.5-14b", "fp16_held"]
    assert table.loc["qwen2.5-14b", "q4_held"]
    assert not table.loc["llama-3.1-70b", "q4_held"]
    shown = tables.vram_held(table.reset_index(), 24 * 2**30).to_string()
    assert "fits 24 GiB at 16 bits" in shown
    assert "100%" in shown


@pytest.mark.notebook
def test_the_analysis_reads_the_run(folder: RunFolder, tmp_path: Path):
    out = tmp_path / "memory.ipynb"
    papermill.execute_notebook(
        str(ROOT / "analysis" / "memory.ipynb"), str(out), {"run": str(folder.path)},
        cwd=str(ROOT), progress_bar=False, log_output=False,
    )  # fmt: skip
    assert out.read_text().count("image/png") >= 2


def test_what_was_found_is_said_in_sentences(assessment, seen, models):
    run = assessment.run.model_copy(update={"experiment": "memory"})
    peak, *slots = tables.findings(replace(assessment, run=run))
    row = one(
        estimates.memory_ratio_table(assessment, seen), contrast="C", users=8, quantity="pss_bytes"
    )
    assert f"{tables.number(row['ratio'])} times (95% interval" in peak
    assert "at 8 users" in peak
    costs = estimates.memory_slots_table(assessment, seen, models)
    assert len(slots) == costs["numerator"].nunique()
