"""A cell's requests as arrays: each quantity against a few rows computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.records import Cell
from heavyweight.stats import Estimate, NotEstimable
from heavyweight.stats.requests import QUANTITIES, Requests
from tests.synthetic import fail, table, write_run

MS = 1_000_000


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Cell:
    run = write_run(tmp_path_factory.mktemp("runs") / "r", users=(1,), blocks=1)
    return run.sessions()[0].cells()[0].cell


def row(sent, chunks, done, tokens=None, **changes):
    """A request that succeeded; times in ms."""
    return {
        "request_id": "r", "user": 0, "prompt_id": "p", "start_id": 1, "output_tokens_asked": 4,
        "due_ns": (sent - 1) * MS, "sent_ns": sent * MS, "chunk_ns": [c * MS for c in chunks],
        "chunk_bytes": [1] * len(chunks), "done_ns": done * MS, "prompt_tokens": 7,
        "completion_tokens": len(chunks) if tokens is None else tokens, "status": 200,
    } | changes  # fmt: skip


def read(cell, rows, begin=100, end=200, **changes) -> Requests:
    """The rows in a window from begin to end (ms)."""
    window = {"window_start_ns": begin * MS, "window_end_ns": end * MS}
    return Requests.read(table(rows), cell.model_copy(update=window | changes))


def test_latencies_by_hand(cell):
    r = read(cell, [row(110, [120, 130, 150], 151), row(100, [102, 104], 105)])
    assert r.latencies_ms("ttft").tolist() == [2, 10]  # in order of completion
    assert r.latencies_ms("e2e").tolist() == [5, 41]
    assert r.latencies_ms("tpot").tolist() == [2, 15]
    assert r.latencies_ms("itl").tolist() == [2, 10, 20]


def test_an_open_loop_counts_from_when_it_was_due(cell):
    r = read(cell, [row(110, [120], 121)], loop="open")
    assert r.latencies_ms("ttft").tolist() == [11]


def test_the_window_takes_its_end_and_not_its_start(cell):
    r = read(cell, [row(50, [60], done) for done in (100, 101, 200, 201)])
    assert r.in_window.tolist() == [False, True, True, False]
    assert r.requests_per_s == pytest.approx(20)


def test_the_window_of_an_open_loop_takes_what_was_due_in_it(cell):
    # The slow ones end after it: left out, they would make the server look faster than it was.
    due_and_done = [(99, 150), (100, 101), (150, 900), (200, 950), (201, 202)]
    rows = [row(due + 1, [done - 1], done) for due, done in due_and_done]
    r = read(cell, rows, loop="open")
    assert r.due_ns[r.in_window].tolist() == [100 * MS, 150 * MS, 200 * MS]
    assert r.latencies_ms("e2e").tolist() == [1, 750, 750]
    assert r.requests_per_s == pytest.approx(20), "throughput counts what ended in the window"
    lost = read(cell, [*rows[:2], fail(rows[2] | {"sent_ns": None}, "abandoned")], loop="open")
    assert lost.latencies_ms("e2e").tolist() == [1, math.inf]


def test_tokens_count_by_their_own_arrival(cell):
    r = read(cell, [row(50, [90, 100, 110], 120), row(150, [190, 200, 210, 220], 230)])
    assert r.tokens_in_window == 3
    assert r.tokens_per_s == pytest.approx(30)


def test_a_chunk_may_carry_several_tokens(cell):
    r = read(cell, [row(90, [95, 110], 120, tokens=8)])
    assert r.tokens_in_window == 4
    assert r.latencies_ms("tpot").tolist() == [pytest.approx(15 / 7)]
    assert r.latencies_ms("itl").tolist() == [15]


def test_failed_requests_are_infinite_and_carry_no_tokens(cell):
    good, bad = row(110, [120, 130], 131), fail(row(105, [115], 125, tokens=2))
    r = read(cell, [good, bad, fail(row(100, [], 126) | {"sent_ns": None}, "refused")])
    assert r.tokens_in_window == 2
    for quantity in QUANTITIES:
        with_failures = r.latencies_ms(quantity)
        assert np.isinf(with_failures).sum() == 2, quantity
        assert np.isfinite(r.latencies_ms(quantity, failures=False)).all()
        assert r.latencies_ms(quantity, failures=False).size == 1
    assert r.latencies_ms("itl").tolist() == [math.inf, math.inf, 10]


def test_what_one_token_cannot_say_is_left_out(cell):
    r = read(cell, [row(110, [120], 121)])
    assert r.latencies_ms("tpot").size == 0
    assert r.latencies_ms("itl").size == 0


def test_no_window_and_no_rows(cell):
    r = read(cell, [], begin=0, end=0)
    assert math.isnan(r.tokens_per_s)
    assert math.isnan(r.requests_per_s)
    for quantity in QUANTITIES:
        assert isinstance(r.percentile(quantity, 50)[0], NotEstimable)
    assert read(cell, []).tokens_per_s == 0


def test_waves_have_fewer_independent_requests(cell):
    rng = np.random.default_rng(6)
    alone = [row(100, [102 + int(x)], 103 + i) for i, x in enumerate(rng.integers(0, 90, 400))]
    waves = [row(100, [102 + i // 20 % 2 * 50], 103 + i) for i in range(400)]
    loose, close = (read(cell, rows, end=600).percentile("ttft", 50) for rows in (alone, waves))
    assert loose[1] > 250
    assert close[1] < 60
    assert isinstance(loose[0], Estimate)


stamps = st.lists(st.integers(0, 300), min_size=0, max_size=6).map(sorted)


@given(rows=st.lists(st.tuples(stamps, st.integers(0, 9), st.booleans()), max_size=12))
def test_windows_that_touch_share_the_work_between_them(cell, rows):
    made = []
    for chunks, tokens, good in rows:
        done = (chunks[-1] if chunks else 0) + 1
        made.append(row(0, chunks, done, tokens=tokens))
        if not good:
            made[-1] = fail(made[-1] | {"chunk_ns": np.array(made[-1]["chunk_ns"])})
    parts = [read(cell, made, *w) for w in ((0, 120), (120, 310))]
    whole = read(cell, made, 0, 310)
    assert sum(p.tokens_in_window for p in parts) == pytest.approx(whole.tokens_in_window)
    for quantity in ("ttft", "e2e"):
        sizes = [p.latencies_ms(quantity).size for p in parts]
        assert sum(sizes) == whole.latencies_ms(quantity).size
