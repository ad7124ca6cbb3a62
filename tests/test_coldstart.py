"""Cold starts read: numbers over blocks, what is missing, tables, figures, the notebook."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heavyweight import estimates, figures, report, tables
from heavyweight.article import cold_start_beside, load_article
from heavyweight.claims import Evidence, judge_runs
from heavyweight.estimates.blocks import over_sessions
from heavyweight.estimates.coldstart import conditions
from heavyweight.store import RunFolder
from tests.cold import LABELS, OLLAMA, PARTS, VLLM, total_ms, write_cold_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    return write_cold_run(tmp_path_factory.mktemp("runs") / "cold")


@pytest.fixture(scope="module")
def starts(folder) -> pd.DataFrame:
    return estimates.cold_starts(folder)


@pytest.fixture(scope="module")
def table(folder, starts) -> pd.DataFrame:
    return estimates.coldstart_table(starts, folder.run)


def of(table: pd.DataFrame, arm: str, condition: str, quantity: str) -> pd.Series:
    keys = (table["arm"] == arm) & (table["condition"] == condition)
    (found,) = table[keys & (table["quantity"] == quantity)].to_dict("records")
    return pd.Series(found)


@pytest.mark.parametrize(
    ("arm", "condition"), [(arm, name) for arm, names in PARTS.items() for name in names]
)
def test_the_truth_is_inside_the_interval_of_each_quantity(table, arm, condition) -> None:
    truth = total_ms(arm, condition)
    for quantity, value in {
        "first_token_ms": truth,
        "full_speed_ms": truth + 1000,
        "first_request_ttft_ms": PARTS[arm][condition]["first request"],
        **PARTS[arm][condition],
    }.items():
        row = of(table, arm, condition, quantity)
        assert row["blocks"] == 4
        assert row["low_ms"] < value < row["high_ms"], quantity
        assert row["value_ms"] == pytest.approx(value, rel=0.1)


def test_the_shares_of_a_start_add_up(table) -> None:
    parts = table[table["share"].notna()]
    sums = parts.groupby(["arm", "condition"])["share"].sum()
    assert list(sums) == pytest.approx([1.0] * 6)
    order = list(parts[(parts["arm"] == VLLM) & (parts["condition"] == "warm")]["quantity"])
    assert order == list(PARTS[VLLM]["warm"])
    assert table[table["quantity"] == "ready_ms"]["share"].isna().all()


def test_ratios_pair_the_blocks(folder, starts) -> None:
    ratios = estimates.cold_ratio_table(starts, folder.run).set_index(
        ["contrast", "condition", "quantity"]
    )
    both = ratios.loc[("A", "warm", "first_token_ms")]
    truth = total_ms(VLLM, "warm") / total_ms(OLLAMA, "warm")
    assert both["low"] < truth < both["high"]
    assert both["blocks"] == 4
    inside = ratios.loc[(VLLM, "compile cold / warm", "first_token_ms")]
    truth = total_ms(VLLM, "compile cold") / total_ms(VLLM, "warm")
    assert inside["ratio"] == pytest.approx(truth)
    assert inside["high"] - inside["low"] < 1e-9, "one factor a session: it cancels"
    assert ("A", "eager / warm", "ready_ms") in ratios.index, "Ollama's restart with the same disk"
    assert ("A", "disk cold", "ready_ms") in ratios.index
    assert (OLLAMA, "disk cold / warm", "first_token_ms") in ratios.index


def test_a_session_of_cold_starts_counts_by_its_ordinary_restart(folder) -> None:
    assessment = estimates.assess(folder)
    sessions = assessment.sessions.set_index("session")
    for arm in (OLLAMA, VLLM):
        found = over_sessions(assessment, arm, "first_token_ms")
        assert sorted(found.values) == [1, 2, 3, 4]
        assert not found.restarted
        for value in found.values.values():
            assert value == pytest.approx(total_ms(arm, "warm"), rel=0.1)
    assert list(sessions["starts"]) == [1] * 8
    assert list(sessions["complete"]) == [True] * 8


def test_the_claims_on_cold_starts_are_judged_by_it(tmp_path) -> None:
    run = write_cold_run(tmp_path / "cold", emulated=False)
    found = {v.claim.id: v for v in judge_runs([estimates.assess(run)], Evidence.of())}
    ratios = [part.estimate for part in found["Sr"].parts]
    warm = [PARTS[arm]["warm"]["first request"] for arm in (VLLM, OLLAMA)]
    truths = [total_ms(VLLM, "warm") / total_ms(OLLAMA, "warm"), warm[0] / warm[1]]
    assert len(ratios) == 2
    for ratio, truth in zip(ratios, truths, strict=True):
        assert ratio.low < truth < ratio.high
        assert ratio.n == 4
    (first, _) = (part.estimate for part in found["S2"].parts)
    assert first.value == pytest.approx(total_ms(VLLM, "warm") / 1e3, rel=0.1)


def test_an_incomplete_session_is_no_evidence_of_a_restart(tmp_path) -> None:
    run = write_cold_run(
        tmp_path / "cold",
        edit=lambda s: s.model_copy(update={"complete": s.block != 2, "starts": s.starts[:1]}),
    )
    found = over_sessions(estimates.assess(run), OLLAMA, "first_token_ms")
    assert found.left_out[2] == "its session is not complete"
    begun_warm = {s.record.block for s in run.sessions() if s.record.arm == OLLAMA
                  and s.record.starts[0].cold.condition == "warm"}  # fmt: skip
    assert set(found.values) == begun_warm - {2}
    assert {found.left_out[b] for b in {1, 3, 4} - begun_warm} == {"not timed"}


def test_what_was_not_measured_is_told_and_averaged_into_nothing(tmp_path) -> None:
    def edit(session):
        starts = [s for s in session.starts if (session.block, s.cold.condition) != (1, "warm")]
        if session.block == 3:
            unknown = {"full_speed_ms": None, "disk_read_bytes": None}
            starts = [
                s.model_copy(update={"cold": s.cold.model_copy(update=unknown)}) for s in starts
            ]
        return session.model_copy(update={"starts": starts})

    run = write_cold_run(tmp_path / "cold", spread=0, edit=edit)
    starts = estimates.cold_starts(run)
    table = estimates.coldstart_table(starts, run.run)
    row = of(table, OLLAMA, "warm", "first_token_ms")
    assert (row["blocks"], row["value_ms"]) == (3, pytest.approx(600))
    assert "block 1 not measured" in row["note"]
    assert "block 3 not reached" in of(table, VLLM, "eager", "full_speed_ms")["note"]
    shown = tables.coldstart(table)
    eager = shown[shown["condition"] == "eager"]
    assert list(eager["note"]) == ["full speed: block 3 not reached"]
    warm = shown[shown["condition"] == "warm"]
    assert warm["note"].str.startswith("ready, first token, first request alone: block 1").all()
    assert warm["note"].str.contains("full speed: .*block 1 not measured; block 3 not rea").all()
    ratios = estimates.cold_ratio_table(starts, run.run)
    noted = ratios[(ratios["contrast"] == "A") & (ratios["condition"] == "warm")]["note"]
    assert noted.str.contains("block 1").all()


def test_one_block_has_values_without_intervals(tmp_path) -> None:
    run = write_cold_run(tmp_path / "cold", blocks=1)
    starts = estimates.cold_starts(run)
    table = estimates.coldstart_table(starts, run.run)
    assert table["value_ms"].notna().all()
    assert table["low_ms"].isna().all()
    assert "[" not in tables.coldstart(table).to_string()
    assert figures.coldstart(table, figures.Provenance.of(run)).png()[:4] == b"\x89PNG"
    assert math.isnan(estimates.cold_ratio_table(starts, run.run)["low"].max())


def test_tables_tell_seconds_parts_and_what_was_dropped(folder, starts, table) -> None:
    shown = tables.coldstart(table)
    assert list(shown["condition"])[:2] == ["warm", "disk cold"]
    assert list(shown)[-1] == "blocks", "nothing to note"
    assert shown["first token (s)"].iloc[0].startswith("0.")
    begun = tables.begun_with(starts)
    assert list(begun["dropped before"])[:2] == ["the pages of its files (posix_fadvise)",
                                                 "nothing"]  # fmt: skip
    assert set(begun["read from the disk (MB)"]) == {"400", "0.00"}
    parts = tables.phases(table)
    assert list(parts.columns)[-1] == "first request (s)"
    assert (parts["compile (s)"] == "-").sum() == 3, "Ollama's two, and eager"
    ratios = tables.cold_ratios(estimates.cold_ratio_table(starts, folder.run))
    assert ratios.index[0] == "vLLM BF16 / Ollama Q4, 1 slot"
    assert "vLLM BF16" in ratios.index


def test_the_articles_seconds_stand_beside_as_anothers(folder, starts, table) -> None:
    beside = cold_start_beside(
        load_article(), table, estimates.cold_ratio_table(starts, folder.run)
    )
    published = next(iter(beside))
    assert published.startswith("published (NVIDIA A40")
    assert list(beside[published]) == ["8.70", "3.20", "2.72"]
    assert beside.loc["Ollama (s)", "restart to first token"].startswith("0.6")
    assert "-" not in set(beside["first request alone"])


def test_what_was_found_is_said_in_a_sentence(folder, starts) -> None:
    (said,) = tables.findings(estimates.assess(folder))
    found = estimates.cold_ratio_table(starts, folder.run)
    row = found.set_index(["contrast", "condition", "quantity"]).loc[
        ("A", "warm", "first_token_ms")
    ]
    assert f"{LABELS[VLLM]} takes {tables.number(row['ratio'])} times (95% interval" in said
    assert f"4 blocks) as long as {LABELS[OLLAMA]}: " in said


def test_conditions_begin_with_the_ordinary_restart(starts) -> None:
    assert conditions(starts, VLLM) == ["warm", "eager", "disk cold", "compile cold"]


def test_figures_are_stamped_and_told(folder, starts, table) -> None:
    provenance = figures.Provenance.of(folder)
    for figure in (
        figures.coldstart(table, provenance, load_article()), figures.ramp(starts, provenance),
    ):  # fmt: skip
        assert figure.png()[:4] == b"\x89PNG"
        assert "EMULATED" in {text.get_text() for text in figure.texts}
        assert "vLLM BF16" in figure.alt
    bars = figures.coldstart(table, provenance)
    ends = {round(sum(patch.get_width() for patch in axes.patches), 3) for axes in bars.get_axes()}
    totals = table[table["quantity"] == "first_token_ms"].groupby("arm")["value_ms"].sum() / 1e3
    assert ends == set(np.round(totals, 3)), "the parts of the bars add up to the totals"


def test_a_run_without_a_finished_start_has_tables_that_say_so(tmp_path) -> None:
    run = write_cold_run(
        tmp_path / "cold", blocks=1, edit=lambda s: s.model_copy(update={"starts": []})
    )
    starts = estimates.cold_starts(run)
    table = estimates.coldstart_table(starts, run.run)
    ratios = estimates.cold_ratio_table(starts, run.run)
    assert starts.empty
    for shown in (tables.coldstart(table), tables.begun_with(starts), tables.phases(table)):
        assert shown.iloc[0, 0] == "no finished start"
    assert "no two starts" in tables.cold_ratios(ratios).iloc[0, 0]
    provenance = figures.Provenance.of(run)
    assert figures.coldstart(table, provenance).png()
    assert figures.ramp(starts, provenance).png()


@pytest.mark.notebook
def test_the_notebook_runs_over_the_starts(folder) -> None:
    executed = report.execute("coldstart", folder.path)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == 2
