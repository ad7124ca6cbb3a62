"""The client's error as it is computed, against logs that were made with known errors."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heavyweight import calibrations, figures, tables
from heavyweight.errors import StoreError
from heavyweight.estimates import assess, instrument_table, latency_table
from tests.calibrated import write_calibration
from tests.synthetic import MACHINE, write_run

TOKENS = 16


def made(tmp_path, **options):
    options = {"users": (4,), "settings": ("busy",)} | options
    return instrument_table(write_calibration(tmp_path / "run", MACHINE, tokens=TOKENS, **options))


def test_a_constant_delay_is_an_error_of_ttft_and_not_of_gaps(tmp_path):
    """What the server takes to read is its own, and no error."""
    (row,) = made(tmp_path, up_ms=0.9, hand_ms=0.2, down_ms=lambda i, k: 0.3, late_ms=0.7).to_dict(
        "records"
    )
    assert row["read_p50_ms"] == row["read_p99_ms"] == pytest.approx(0.7)
    for quantity, error_ms in (("ttft", 0.5), ("e2e", 0.5), ("tpot", 0), ("itl", 0)):
        for statistic in ("mean", "p99", "max"):
            assert row[f"{quantity}_error_{statistic}_ms"] == pytest.approx(error_ms, abs=1e-9)
    assert row["lag_p50_ms"] == row["lag_p99_ms"] == pytest.approx(0.7)
    assert (row["requests"], row["failed"], row["unmatched"]) == (40, 0, 0)
    assert row["tokens_seen"] == row["tokens_sent"] == 40 * TOKENS
    assert row["machine_id"] == MACHINE.machine_id


def test_a_delay_that_grows_is_an_error_of_every_quantity(tmp_path):
    """Token k of an answer comes 0.1 k ms later than it was written."""
    (row,) = made(tmp_path, hand_ms=0.0, down_ms=lambda i, k: 0.1 * k).to_dict("records")
    assert row["ttft_error_p99_ms"] == pytest.approx(0)
    assert row["itl_error_mean_ms"] == pytest.approx(0.1)
    assert row["tpot_error_p99_ms"] == pytest.approx(0.1)
    assert row["e2e_error_mean_ms"] == pytest.approx(0.1 * (TOKENS - 1))


def test_the_mean_is_signed_and_the_p99_absolute(tmp_path):
    """Stamps half too early, half too late: no error on average, and yet an error."""
    (row,) = made(tmp_path, hand_ms=0.0, down_ms=lambda i, k: 2.0 if i % 2 else -2.0).to_dict(
        "records"
    )
    assert row["ttft_error_mean_ms"] == pytest.approx(0)
    assert row["ttft_error_p99_ms"] == row["ttft_error_max_ms"] == pytest.approx(2)


def test_an_interval_where_the_sample_carries_one(tmp_path):
    rng = np.random.default_rng(5)
    late_ms = rng.exponential(1.0, 600)
    (row,) = made(tmp_path, requests=600, hand_ms=0.0, down_ms=lambda i, k: late_ms[i]).to_dict(
        "records"
    )
    expected = np.sort(late_ms)[math.ceil(600 * 0.99) - 1]
    assert row["ttft_error_p99_ms"] == pytest.approx(expected, abs=1e-5)
    assert row["ttft_error_p99_low_ms"] < expected < row["ttft_error_p99_high_ms"]
    (few,) = made(tmp_path / "few").to_dict("records")
    assert math.isnan(few["ttft_error_p99_low_ms"])
    assert few["ttft_error_p99_ms"] == few["ttft_error_max_ms"]


def test_in_an_open_loop_being_late_is_an_error_as_well(tmp_path):
    (row,) = made(tmp_path, users=(), rates=(12.5,), late_ms=3.0, up_ms=0.9, hand_ms=0.5).to_dict(
        "records"
    )
    assert (row["loop"], row["users"], row["rate_per_s"]) == ("open", 0, 12.5)
    assert row["ttft_error_p99_ms"] == pytest.approx(3.5 + 0.06)
    assert row["tpot_error_p99_ms"] == pytest.approx(0)


def test_failed_and_unknown_requests_are_counted_and_left_out(tmp_path):
    folder = write_calibration(tmp_path / "run", MACHINE, users=(4,), settings=("busy",))
    (pair,) = calibrations.InstrumentFolder(folder).pairs()
    table = pair.client.requests()
    rows = table.to_pylist()
    rows[3] |= {"error": "reset"}
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    metadata = pq.read_schema(pair.client.path).metadata
    pq.write_table(changed.replace_schema_metadata(metadata), pair.client.path)
    log = pair.server()
    calibrations.write_log(calibrations.log_path(pair.client.path), log.slice(2))
    (row,) = instrument_table(folder).to_dict("records")
    assert (row["requests"], row["failed"], row["unmatched"]) == (37, 1, 2)


def test_one_write_of_several_tokens(tmp_path):
    """Two tokens came in one chunk: gaps cannot be paired there, all else can."""
    folder = write_calibration(tmp_path / "run", MACHINE, users=(4,), settings=("busy",))
    (pair,) = calibrations.InstrumentFolder(folder).pairs()
    rows = pair.server().to_pylist()
    for row in rows:
        row["write_ns"], row["write_tokens"] = row["write_ns"][1:], [2, *row["write_tokens"][2:]]
    changed = pa.Table.from_pylist(rows, schema=pair.server().schema)
    calibrations.write_log(calibrations.log_path(pair.client.path), changed)
    (row,) = instrument_table(folder).to_dict("records")
    assert math.isnan(row["itl_error_p99_ms"])
    assert row["ttft_error_mean_ms"] == pytest.approx(0.1 - 10, abs=1e-6)
    assert row["e2e_error_mean_ms"] == pytest.approx(0.1)


def test_a_run_without_calibration_has_no_rows(tmp_path):
    table = instrument_table(tmp_path)
    assert table.empty
    assert "ttft_error_p99_ms" in table
    for shown in (tables.instrument(table), tables.instrument_cost(table)):
        assert "study run" in str(shown.to_numpy())


def test_a_log_that_is_cut_off_is_told(tmp_path):
    with pytest.raises(StoreError, match="log cannot be read"):
        calibrations.read_log(tmp_path / "nowhere")
    (tmp_path / "log").write_text('{"request_id": "a", "read_n')
    with pytest.raises(StoreError, match="log cannot be read"):
        calibrations.read_log(tmp_path / "log")


def test_the_error_stands_beside_each_latency(tmp_path):
    run = write_run(tmp_path / "run", users=(1, 8), blocks=2)
    assessment = assess(run)
    rows = latency_table(assessment, "ttft")
    assert rows["instrument_p99_ms"].to_numpy(float) == pytest.approx(0.1)
    assert latency_table(assessment, "tpot")["instrument_p99_ms"].max() == pytest.approx(0)
    shown = tables.latency(rows)
    assert list(shown.columns)[-1] == "instrument error p99 (ms)"
    assert set(shown["instrument error p99 (ms)"]) == {"0.100"}
    figure = figures.latency(rows, "ttft", figures.Provenance.of(run))
    said = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "The client's own error (p99, on cores kept busy), ms: 0.100 at 1, 0.100 at 8" in said
