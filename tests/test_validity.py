"""Each check: a cell that is sound passes, and one that breaks exactly that check fails it."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.errors import StoreError
from heavyweight.records import Cell, MachineLoad, Session
from heavyweight.stats.requests import Requests
from heavyweight.store import RunFolder
from heavyweight.validity import CHECK_NAMES, Check, check_cell
from tests.synthetic import LIMITS, Row, fail, table, write_run

NAMES = (
    "output tokens", "prompt tokens", "errors", "requests", "bookkeeping", "server",
    "steady state", "client", "machine", "instrument",
)  # fmt: skip


def known(users=50, off_ms=0.1, **changes) -> pd.DataFrame:
    """A calibration of one load, with the same error in all quantities."""
    row = {
        "setting": "busy", "loop": "closed", "users": users, "rate_per_s": math.nan,
        "machine_id": "synthetic", "requests": 400, "events_per_s": 1e6,
        "ttft_error_p99_ms": off_ms, "tpot_error_p99_ms": off_ms / 10, "e2e_error_p99_ms": off_ms,
    }  # fmt: skip
    return pd.DataFrame([row | changes])


KNOWN = known()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("runs") / "sound", users=(4, 8), blocks=1)


@pytest.fixture
def sound(run) -> tuple[Cell, Session, list[Row]]:
    """A cell of 8 users at 64 slots, its session and its rows."""
    folder = run.sessions()[0]
    file = folder.cells()[1]
    return file.cell, folder.record, file.requests().to_pylist()


def verdict(sound, edit=None, *, cell=None, session=None, limits=LIMITS, unequal=(),
            calibration=KNOWN):  # fmt: skip
    """The checks by name, after changes to rows, cell or session."""
    base, record, rows = sound
    base = base.model_copy(update=cell or {})
    record = record.model_copy(update=session or {})
    rows = [dict(row) for row in rows]
    if edit:
        rows = [new for i, row in enumerate(rows) if (new := edit(i, row)) is not None]
    requests = Requests.read(table(rows), base)
    checks = check_cell(base, record, requests, limits, unequal, calibration)
    return {check.name: check for check in checks}


def only(checks: dict[str, Check], *names: str) -> Check:
    """The first named check, after seeing that these fail and no other does."""
    failed = {name for name, check in checks.items() if not check.passed}
    assert failed == set(names), [check.detail for check in checks.values() if not check.passed]
    assert all(checks[name].remedy for name in names)
    assert not any(check.remedy for check in checks.values() if check.passed)
    return checks[names[0]]


def test_a_sound_cell_passes_all_checks(sound):
    checks = verdict(sound)
    assert tuple(checks) == CHECK_NAMES == NAMES
    assert all(check.passed for check in checks.values())
    assert [name for name, check in checks.items() if check.kind == "machine"] == [
        "steady state",
        "client",
        "machine",
        "instrument",
    ]


def test_a_short_answer_is_unequal_work(sound):
    short = verdict(sound, lambda i, row: row | ({"completion_tokens": 9} if i == 40 else {}))
    check = only(short, "output tokens")
    assert (check.value, check.limit) == (1, 0)
    assert "9 to 9 tokens instead of 16" in check.detail


def test_an_answer_without_a_count_is_unequal_work(sound):
    only(verdict(sound, lambda i, row: row | {"completion_tokens": None}), "output tokens")


def test_prompts_of_another_length_elsewhere_are_unequal_work(sound):
    prompts = {sound[2][3]["prompt_id"], sound[2][9]["prompt_id"], "of another cell"}
    assert only(verdict(sound, unequal=prompts), "prompt tokens").value == 2


def test_one_error_in_a_short_cell_is_too_many(sound):
    checks = verdict(sound, lambda i, row: fail(row) if i == 30 else row)
    assert len(sound[2]) <= 100
    check = only(checks, "errors")
    assert "1 reset" in check.detail
    assert check.limit == 0


@pytest.mark.parametrize(("failures", "passed"), [(3, True), (4, False)])
def test_long_cells_may_have_one_percent_of_errors(tmp_path, failures, passed):
    run = write_run(tmp_path / "long", users=(4,), blocks=1, requests=300)
    folder = run.sessions()[0]
    file = folder.cells()[0]
    rows = file.requests().to_pylist()
    assert 300 <= len(rows) < 400
    rows = [fail(row) if 100 <= i < 100 + failures else row for i, row in enumerate(rows)]
    checks = check_cell(file.cell, folder.record, Requests.read(table(rows), file.cell), LIMITS)
    assert {c.name: c.passed for c in checks}["errors"] is passed


def test_a_cell_that_errors_ended_is_invalid(sound):
    assert "errors in a row" in only(verdict(sound, cell={"ended": "errors"}), "errors").detail


def test_too_few_requests(sound):
    begin = sound[0].window_start_ns
    end = sorted(row["done_ns"] for row in sound[2] if row["done_ns"] > begin)[28]
    check = only(verdict(sound, cell={"window_end_ns": end, "ended": "cap"}), "requests")
    assert (check.value, check.limit) == (29, 32)
    assert "time cap" in check.detail


def test_lost_rows_do_not_add_up(sound):
    checks = verdict(sound, lambda i, row: None if row["user"] == 3 and i > 12 else row)
    assert not checks["bookkeeping"].passed
    assert checks["bookkeeping"].value == pytest.approx(1 / 8, abs=0.02)


def test_impossible_stamps_do_not_add_up(sound):
    def backwards(i, row):
        return row | ({"sent_ns": row["done_ns"] + 40_000_000} if i == 25 else {})

    assert not verdict(sound, backwards)["bookkeeping"].passed


def test_users_who_rest_do_not_add_up(sound):
    def rests(i, row):
        return row | {"sent_ns": row["sent_ns"] + 3_000_000, "due_ns": row["due_ns"] + 3_000_000}

    check = verdict(sound, rests)["bookkeeping"]
    assert not check.passed
    assert 0.02 < check.value < 0.1


@given(data=st.data())
def test_in_flight_is_the_sum_of_latencies(run, data):
    """Little's law, corrected at both edges, holds for any rows that are possible."""
    times = st.integers(0, 1000)
    spans = data.draw(st.lists(st.tuples(times, times), min_size=1, max_size=30))
    begin = data.draw(st.integers(0, 500))
    end = data.draw(st.integers(begin + 1, 1200))
    sent, done = np.array([sorted(span) for span in spans], dtype=float).T
    by_hand = sum(max(min(d, end) - max(s, begin), 0) for s, d in zip(sent, done, strict=True))
    check = _bookkeeping_of(run, sent, done, begin, end)
    if by_hand:
        assert check.value == pytest.approx(0, abs=1e-9)


def _bookkeeping_of(run, sent, done, begin, end) -> Check:
    """The bookkeeping of an open loop with these stamps."""
    n = len(sent)
    row = {
        "request_id": "r", "user": 0, "prompt_id": "p", "start_id": 1, "output_tokens_asked": 1,
        "chunk_ns": [], "chunk_bytes": [], "error": "empty",
    }  # fmt: skip
    rows = [
        row | {"due_ns": int(sent[i]), "sent_ns": int(sent[i]), "done_ns": int(done[i])}
        for i in range(n)
    ]
    folder = run.sessions()[0]
    cell = folder.cells()[0].cell.model_copy(
        update={"loop": "open", "window_start_ns": begin, "window_end_ns": end}
    )
    checks = check_cell(cell, folder.record, Requests.read(table(rows), cell), LIMITS)
    return next(check for check in checks if check.name == "bookkeeping")


def test_a_second_start_inside_a_cell(sound):
    checks = verdict(sound, lambda i, row: row | ({"start_id": 2} if i > 30 else {}))
    assert "one known start" in only(checks, "server").detail


def test_a_cell_of_a_second_start_is_sound(sound):
    second = sound[1].starts[0].model_copy(update={"start_id": 2})
    checks = verdict(
        sound,
        lambda i, row: row | {"start_id": 2},
        cell={"start_id": 2},
        session={"starts": [*sound[1].starts, second]},
    )
    assert checks["server"].passed


def _identity(sound, **changes):
    return {"identity": sound[1].identity.model_copy(update=changes)}


def test_what_the_server_must_be(sound):
    start = sound[1].starts[0].model_copy(update={"affinity_seen": [0]})
    assert "found on [0]" in only(verdict(sound, session={"starts": [start]}), "server").detail
    assert "not asked" in only(verdict(sound, session={"identity": None}), "server").detail
    checks = verdict(sound, session=_identity(sound, server="vllm"))
    assert "vllm answered instead of emulated" in only(checks, "server").detail
    checks = verdict(sound, session=_identity(sound, version=None))
    assert "version" in only(checks, "server").detail
    assert "not idle" in only(verdict(sound, cell={"idle_after": False}), "server").detail
    assert verdict(sound, cell={"idle_after": None})["server"].passed


def test_the_artefact_that_is_served(sound):
    session = {"artefact_sha256": "ab" * 32}
    assert verdict(sound, session=session)["server"].passed
    same = session | _identity(sound, model_digest="sha256:" + "ab" * 32)
    assert verdict(sound, session=same)["server"].passed
    other = session | _identity(sound, model_digest="cd" * 32)
    assert "another artefact" in only(verdict(sound, session=other), "server").detail


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A cell with a window of 200 requests, its session and its rows."""
    run = write_run(tmp_path_factory.mktemp("runs") / "l", users=(8,), blocks=1, requests=200)
    folder = run.sessions()[0]
    file = folder.cells()[0]
    return file.cell, folder.record, file.requests().to_pylist()


def slower(factor):
    """An edit that stretches each latency by a factor of the request's place in the cell."""

    def edit(i, row):
        return row | {
            "sent_ns": int(row["done_ns"] - factor(i) * (row["done_ns"] - row["sent_ns"]))
        }

    return edit


def test_a_latency_that_grows_is_not_steady(long):
    checks = verdict(long, slower(lambda i: 1 + i / 400))
    assert not checks["steady state"].passed
    assert checks["steady state"].value > checks["steady state"].limit


def test_a_latency_that_falls_late_is_not_steady(long):
    check = verdict(long, slower(lambda i: 2 if i < 150 else 1))["steady state"]
    assert not check.passed
    assert check.value > 0.5
    assert "before the cut" in check.detail


def test_a_late_cut_that_changes_nothing_is_steady(long):
    """MSER-5 alone would throw away steady windows: a level that is 2% off is no start-up phase."""
    check = verdict(long, slower(lambda i: 1.02 if i < 150 else 1))["steady state"]
    assert check.passed
    assert "MSER-5 cuts" in check.detail
    assert check.value <= check.limit


def test_a_slow_client(sound):
    late = verdict(sound, lambda i, row: row | {"due_ns": row["due_ns"] - 5_000_000})
    check = only(late, "client")
    assert check.value == pytest.approx(5.02)
    assert check.limit == 1.0


def test_the_limit_of_the_lag_grows_with_the_latency(sound):
    limits = LIMITS | {"dispatch_lag_fraction": 0.5}
    assert verdict(sound, limits=limits)["client"].limit == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"elapsed_s": 10.0, "other_cpu_s": 2.0}, 0.2),
        ({"elapsed_s": 10.0, "steal_s": 2.0}, 0.1),  # of two processors
        ({"swapped_bytes": 4096}, 4096),
        ({"elapsed_s": 0.0}, None),
        ({"suspended_s": 30.0}, 30.0),
    ],
)
def test_a_machine_that_is_busy(sound, changes, value):
    load: MachineLoad = sound[0].machine_load.model_copy(update=changes)
    assert only(verdict(sound, cell={"machine_load": load}), "machine").value == value


@pytest.mark.parametrize("set_s", [3600.0, -3600.0])
def test_a_wall_clock_that_is_set_is_told_and_changes_nothing(sound, set_s):
    load = sound[0].machine_load.model_copy(update={"clock_set_s": set_s})
    check = verdict(sound, cell={"machine_load": load})["machine"]
    assert check.passed
    assert f"the wall clock was set by {set_s:+.1f} s" in check.detail


def test_a_cell_in_which_all_requests_failed(sound):
    checks = verdict(sound, lambda i, row: fail(row, "refused") | {"sent_ns": None})
    failed = {name for name, check in checks.items() if not check.passed}
    assert failed >= {"output tokens", "prompt tokens", "errors", "bookkeeping", "client"}


def test_a_cell_without_rows(sound):
    checks = verdict(sound, lambda i, row: None)
    assert not any(checks[name].passed for name in NAMES if name not in ("server", "machine"))


def test_a_window_that_never_opened(sound):
    checks = verdict(sound, cell={"window_start_ns": 0, "window_end_ns": 0, "ended": "cap"})
    assert not checks["requests"].passed
    assert not checks["bookkeeping"].passed


def test_a_client_whose_error_is_not_known(sound):
    """None at all, of another machine, of fewer users, of another loop, of idle cores."""
    for calibration in (
        None,
        KNOWN.iloc[:0],
        known(machine_id="another"),
        known(users=7),
        known(loop="open", rate_per_s=1e3),
        known(setting="alone"),
        known(requests=0),
    ):
        check = only(verdict(sound, calibration=calibration), "instrument")
        assert check.value is None
        assert "study run" in check.remedy
        assert "8 users is not known" in check.detail


def test_an_error_that_could_change_the_conclusion(sound):
    ttft_ms = 20
    assert verdict(sound, calibration=known(off_ms=0.045 * ttft_ms))["instrument"].passed
    check = only(verdict(sound, calibration=known(off_ms=0.06 * ttft_ms)), "instrument")
    assert check.value == pytest.approx(0.06, rel=0.1)
    assert check.limit == LIMITS["instrument_error_fraction"]
    assert "TTFT 1.2 ms" in check.detail
    check = only(verdict(sound, calibration=known(tpot_error_p99_ms=1.0)), "instrument")
    assert check.detail.index("TPOT") < check.detail.index("TTFT"), "the worst one first"


def test_the_load_that_speaks_for_a_cell(sound):
    """The smallest with as many users that was at least as fast, else the fastest one."""
    loads = pd.concat(
        [known(users=4, off_ms=9), known(users=8, off_ms=0.2, events_per_s=10),
         known(users=16, off_ms=0.3), known(users=50, off_ms=9)]
    )  # fmt: skip
    assert "TTFT 0.3 ms" in verdict(sound, calibration=loads)["instrument"].detail
    slow = loads[loads["users"] == 8]
    detail = verdict(sound, calibration=slow)["instrument"].detail
    assert "at 8 and 10 events/s, here" in detail


@pytest.fixture
def opened(long):
    """The long cell as an open loop: due when it was sent, in a window of its own."""
    cell, session, rows = long
    update = {"loop": "open", "users": 0, "arrivals": "poisson", "rate_per_s": 20.0}
    update |= {"window_start_ns": rows[0]["due_ns"], "window_end_ns": rows[-1]["due_ns"]}
    return cell.model_copy(update=update), session, rows


OPEN = known(users=0, loop="open", rate_per_s=25.0)


def test_an_open_loop_has_no_users_to_count(opened):
    checks = verdict(opened, calibration=OPEN)
    assert all(check.passed for check in checks.values()), checks
    assert checks["requests"].limit == LIMITS["min_requests"]
    assert "were due" in checks["requests"].detail
    assert "users" not in checks["bookkeeping"].detail
    assert "25" in checks["instrument"].detail


def test_an_open_loop_above_capacity_drifts_and_that_is_a_finding(opened):
    def queued(i, row):
        due_ns = row["due_ns"] - 1_000_000 * i
        return row | {"due_ns": due_ns, "sent_ns": due_ns + 20_000}

    wide = {"window_start_ns": opened[0].window_start_ns - 10**9}
    checks = verdict(opened, queued, cell=wide, calibration=OPEN)
    assert checks["steady state"].passed
    assert checks["steady state"].value > LIMITS["drift_fraction"]
    assert "drift +" in checks["steady state"].detail


def test_an_open_loop_is_calibrated_by_rates(opened):
    assert "20 requests/s" in only(verdict(opened), "instrument").detail
    slower_rate = known(users=0, loop="open", rate_per_s=19.0)
    only(verdict(opened, calibration=slower_rate), "instrument")


def test_a_limit_that_the_run_does_not_have(sound):
    with pytest.raises(StoreError, match="drift_fraction"):
        verdict(sound, limits={k: v for k, v in LIMITS.items() if k != "drift_fraction"})
