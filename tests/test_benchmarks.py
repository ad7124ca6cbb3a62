"""The benchmark's pure parts: pairing, figures, limits, the table, and the peers' result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bare, layers, measures, table, telemetry
from benchmarks.__main__ import CLIENTS, arguments, plan
from benchmarks.cases import CASES, Case, Figure
from benchmarks.sample import Sample, ServerLog, pairs, stamps
from benchmarks.tools import read_aiperf, read_guidellm, read_vllm

MS = 1_000_000
CLOSED = Case("closed", "a load", (), ttft_ms=100, itl_ms=10, tokens=11, users=2)


def sample(sent_ms: list[float], ttft_ms: list[float], e2e_ms: list[float], **more: Any) -> Sample:
    """Requests with ten tokens each."""
    sent = np.asarray(sent_ms) * MS
    return Sample(
        sent_ns=stamps(sent), first_ns=stamps(sent + np.asarray(ttft_ms) * MS),
        end_ns=stamps(sent + np.asarray(e2e_ms) * MS), tokens=stamps([10] * len(sent_ms)), **more,
    )  # fmt: skip


def log(tmp_path: Path, rows: list[tuple[str | None, float, float, float]]) -> ServerLog:
    """A log of (request id, read, first text, last text), the times in ms."""
    path = tmp_path / "server.jsonl"
    lines = [
        {
            "request_id": name, "read_ns": int(read * MS), "admitted_ns": 0,
            "write_ns": [int(first * MS) - 1, int(first * MS), int(last * MS), int(last * MS) + 1],
            "write_tokens": [0, 1, 9, 0], "ended_ns": int(last * MS) + 2,
        }
        for name, read, first, last in rows
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ServerLog.read(path)


def test_only_writes_with_text_count_and_requests_stand_in_the_order_of_reading(
    tmp_path: Path,
) -> None:
    read = log(tmp_path, [("b", 20, 120, 220), ("a", 10, 110, 210)])
    assert read.request_id == ["a", "b"]
    assert read.first_ns.tolist() == [110 * MS, 120 * MS]
    assert read.last_ns.tolist() == [210 * MS, 220 * MS]
    assert read.tokens.tolist() == [10, 10]


def test_requests_are_paired_by_id_and_what_has_no_partner_is_left_out(tmp_path: Path) -> None:
    server = log(tmp_path, [(None, 1, 2, 3), ("a", 10, 110, 210), ("b", 20, 120, 220)])
    client = sample([19, 9, 30], [1, 1, 1], [2, 2, 2], request_id=["b", "a", "never"])
    mine, theirs = pairs(client, server)
    assert (mine.tolist(), theirs.tolist()) == ([0, 1], [2, 1])


def test_without_ids_each_is_paired_with_the_first_one_read_after_it(tmp_path: Path) -> None:
    server = log(tmp_path, [(None, 1, 2, 3), (None, 10, 110, 210), (None, 20, 120, 220)])
    mine, theirs = pairs(sample([19, 9], [1, 1], [2, 2]), server)
    assert (mine.tolist(), theirs.tolist()) == ([1, 0], [1, 2])


def test_errors_are_what_the_client_says_minus_what_passed_at_the_socket(tmp_path: Path) -> None:
    server = log(tmp_path, [("a", 10, 110, 210), ("b", 20, 120, 220)])
    client = sample([9, 19], [104, 104], [203, 203], request_id=["a", "b"])
    told = {name: measure(client, server, CLOSED) for name, measure in measures.MEASURES.items()
            if "ttft" in name or "e2e" in name}  # fmt: skip
    assert told == {
        "ttft_error_p99_ms": pytest.approx(4), "ttft_matched_p99_ms": pytest.approx(4),
        "e2e_error_p99_ms": pytest.approx(3), "e2e_matched_p99_ms": pytest.approx(3),
    }  # fmt: skip


def test_a_client_that_falls_behind_sees_fewer_tokens_a_second(tmp_path: Path) -> None:
    server = log(tmp_path, [("a", 0, 100, 200)])
    client = sample([0], [100], [400], request_id=["a"])
    assert measures.tokens_seen_percent(client, server, CLOSED) == pytest.approx(50)
    assert measures.events_per_s(client, server, CLOSED) == pytest.approx(25)


def test_lag_is_counted_from_the_due_time_or_from_an_even_grid(tmp_path: Path) -> None:
    client = sample([1, 12], [1, 1], [2, 2], due_ns=stamps([1 * MS, 11 * MS]))
    even = Case("even", "", (), ttft_ms=1, itl_ms=1, tokens=1, rate_per_s=100)
    server = log(tmp_path, [(None, 3, 4, 5), (None, 18, 19, 20)])
    assert measures.lag_p99_ms(client, server, even) == pytest.approx(0.99)
    assert measures.grid_lag_p99_ms(client, server, even) == pytest.approx(0.99 * 5)
    assert measures.lag_p99_ms(sample([1], [1], [2]), server, even) is None


def test_nothing_measured_is_no_figure(tmp_path: Path) -> None:
    nothing, server = sample([], [], []), log(tmp_path, [])
    assert {measure(nothing, server, CLOSED) for measure in measures.MEASURES.values()} == {None}


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0, 100), st.randoms())
def test_matched_quantiles_know_no_order(values: list[float], shift: float, random: Any) -> None:
    mixed = random.sample(values, len(values))
    difference = measures.matched_quantiles(np.array(mixed) + shift, np.array(values))
    assert difference == pytest.approx(shift, abs=1e-9)


ERROR = Figure("e", "an error", 1.0, 0.3)
RATE = Figure("r", "a rate", 100.0, 200.0, higher=True)
PERCENT = Figure("p", "a percentage", 99.5, 99.9, higher=True, whole=100)


def test_a_must_is_twice_what_the_floor_reaches_where_that_is_easier() -> None:
    assert [table.limit(ERROR, floor) for floor in (None, 0.4, 3.0)] == [1.0, 1.0, 6.0]
    assert [table.limit(RATE, floor) for floor in (None, 300.0, 60.0)] == [100.0, 100.0, 30.0]
    assert [table.limit(PERCENT, floor) for floor in (100.0, 99.0)] == [99.5, 98.0]


def test_what_was_reached_and_how_many_times_ours_it_is() -> None:
    assert table.reached(ERROR, 0.9, 1.0)
    assert not table.reached(RATE, 90.0, 100.0)
    assert table.reached(RATE, None, 100.0) is None
    assert table.ratio(ERROR, 3.0, 0.5) == pytest.approx(6)
    assert table.ratio(PERCENT, 98.0, 99.5) == pytest.approx(4)
    assert table.ratio(PERCENT, 98.0, 100.0) is None


def test_the_table_has_medians_ratios_and_runs() -> None:
    case = Case("c", "some load", (ERROR,), ttft_ms=1, itl_ms=1, tokens=1)
    results = table.Results()
    for ours, peer in ((0.4, 8.0), (0.5, 10.0), (0.9, 90.0)):
        results.add("c", "heavyweight", {"e": ours})
        results.add("c", "peer", {"e": peer})
    results.add("c", "bare", {"e": None})
    clients = ["bare", "heavyweight", "peer"]
    told = table.rows(results, [case], clients)
    assert json.loads(json.dumps(told)) == told
    lines = table.text(told, clients).splitlines()
    assert lines[2] == "some load"
    assert lines[3].split() == ["an", "error", "1", "/", "0.3", "yes", "/", "no", "-", "0.500",
                                "10.00", "(x20)"]  # fmt: skip
    assert lines[4].split() == ["[0.400,", "0.900]", "3", "[8.000,", "90.00]", "3"]


def test_costs_are_split_into_those_of_a_request_and_those_of_an_event() -> None:
    rounds = {
        tokens: [dict.fromkeys(layers.TITLES, (100 + 2 * tokens) / 1e6)]
        for tokens in (layers.FEW, layers.MANY)
    }
    told = {row["layer"]: row for row in layers.costs(rounds)}
    first, last = told[layers.TITLES["bare"]], told[layers.TITLES["store"]]
    assert first["us_per_request"] == pytest.approx(100)
    assert first["us_per_event"] == pytest.approx(2)
    assert last["us_per_request"] == pytest.approx(400)  # it contains the layers below
    assert layers.TITLES["bare"] in table.layers_text(list(told.values()))


def test_each_client_runs_once_a_round_and_peers_in_their_rounds_only() -> None:
    asked = arguments(["--rounds", "2", "--peer-rounds", "1"])
    runs = plan(asked, CLIENTS)
    assert len(runs) == len({(number, case.name, client.name) for number, case, client in runs})
    assert {client.name for number, _, client in runs if number == 1} == {"bare", "heavyweight"}
    assert {case.name for number, case, _ in runs if number == 0} == {case.name for case in CASES}
    quick = plan(arguments(["--quick", "--case", "8"]), [one for one in CLIENTS if not one.peer])
    assert [(case.name, client.name) for _, case, client in quick] == [
        ("8", "bare"), ("8", "heavyweight"),
    ]  # fmt: skip


def test_every_figure_has_its_measure() -> None:
    assert {figure.name for case in CASES for figure in case.figures} <= set(measures.MEASURES)


def test_vllm_gives_starts_and_durations_and_ids_by_place() -> None:
    told = {
        "num_prompts": 3, "start_times": [1.0, 2.0, 0.0], "ttfts": [0.1, 0.2, 0.0],
        "itls": [[0.0, 0.5], [0.25, 0.25], []], "output_lens": [2, 2, 0], "errors": ["", "", "bad"],
    }  # fmt: skip
    read = read_vllm(json.dumps(told).encode())
    assert read.request_id == ["bench-0", "bench-1"]
    assert read.first_ns.tolist() == [1_100 * MS, 2_200 * MS]
    assert read.end_ns.tolist() == [1_600 * MS, 2_700 * MS]
    assert (read.tokens.tolist(), read.failed) == ([2, 2], 1)


def test_guidellm_tells_times_of_a_wall_clock() -> None:
    times = {
        "targeted_start": 99.5, "request_start": 100.0, "first_token_iteration": 100.25,
        "last_token_iteration": 100.75, "token_iterations": 7, "request_end": 101.0,
    }  # fmt: skip
    row = {"info": {"timings": times}, "output_tokens": 7}
    told = {"benchmarks": [{"requests": {"successful": [row], "errored": [{}]}}]}
    read = read_guidellm(json.dumps(told).encode(), 90_000 * MS)
    assert read.due_ns is not None
    assert [column.tolist() for column in (read.due_ns, read.sent_ns, read.first_ns, read.end_ns)] \
        == [[9_500 * MS], [10_000 * MS], [10_250 * MS], [11_000 * MS]]  # fmt: skip
    assert (read.tokens.tolist(), read.request_id, read.failed) == ([7], None, 1)


def test_aiperf_starts_on_a_wall_clock_and_its_durations_are_in_ms() -> None:
    good = {
        "metadata": {"x_request_id": "a", "request_start_ns": 1_000 * MS},
        "metrics": {
            "time_to_first_token": {"value": 12.5, "unit": "ms"},
            "request_latency": {"value": 80.0, "unit": "ms"},
            "output_sequence_length": {"value": 5, "unit": "tokens"},
        },
    }
    bad = {"metadata": good["metadata"], "metrics": {}, "error": {"type": "x"}}
    lines = "\n".join(map(json.dumps, (good, bad)))
    read = read_aiperf(lines.encode(), 900 * MS)
    assert read.sent_ns.tolist() == [100 * MS]
    assert read.first_ns.tolist() == [112.5 * MS]
    assert read.end_ns.tolist() == [180 * MS]
    assert (read.tokens.tolist(), read.request_id, read.failed) == ([5], ["a"], 1)


def test_the_bare_client_finds_the_reads_that_brought_the_first_text_and_the_end() -> None:
    answer = bare.Answer("a", 5)
    answer.sent_ns = 10
    answer.parts = [
        b'HTTP/1.1 200 OK\r\n\r\n{"content":""}',
        b'{"content":" x"}',
        b'{"content":" y"}',
        b"0\r\n\r\n",
    ]
    answer.stamps = [11, 12, 13, 14]
    refused = bare.Answer("b", 5)
    refused.parts, refused.stamps = [b"HTTP/1.1 503 no\r\n\r\n"], [11]
    told = bare.report([answer, refused], {}, 0.5)
    assert told == {
        "request_id": ["a"], "due_ns": [5], "sent_ns": [10], "first_ns": [12], "end_ns": [14],
        "tokens": [2], "failed": 1, "events_per_cpu_s": 4.0,
    }  # fmt: skip


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_a_schedule_of_the_bare_client_fills_its_seconds(arrivals: str) -> None:
    gaps_s = bare.schedule({"rate_per_s": 100.0, "seconds": 5.0, "arrivals": arrivals})
    assert gaps_s.sum() <= 5.0 + 1e-9
    assert gaps_s.sum() == pytest.approx(5.0, rel=0.2)


def test_the_cost_of_telemetry_is_a_ratio_of_pairs() -> None:
    case = CASES[0]
    pairs = [
        (telemetry.Seen(1000, 0.2), telemetry.Seen(990, 0.3, 0.01, 4000, 60)),
        (telemetry.Seen(800, 0.4), telemetry.Seen(800, 0.2, 0.02, 8000, 60)),
        (telemetry.Seen(900, None), telemetry.Seen(990, 0.2, 0.03, 4000, 120)),
    ]
    title, *lines = telemetry.told_of(case, pairs)
    assert title == case.title
    assert [line.split()[-4:] for line in lines] == [
        ["1", "[0.99,", "1.1]", "3"],
        ["1", "[0.5,", "1.5]", "2"],  # an error that is not known is in no pair
        ["0.02", "[0.01,", "0.03]", "3"],
        ["4", "[2,", "8]", "3"],
    ]
