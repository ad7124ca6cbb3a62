"""Schedules against the theory of their processes, and against what was seen to go wrong elsewhere.

Seeds are fixed, so a threshold that chance passes once in a million tests is a sharp one.
"""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heavyweight import arrivals
from heavyweight.arrivals import MOST_REQUESTS, Schedule, read_trace, schedule
from heavyweight.errors import BadInput
from heavyweight.load.spec import Arrivals

RATE = 25.0
TINY = 1e-6  # probability of a false alarm


def made(seed: int = 1, block: int = 1, **fields: Any) -> Schedule:
    """A schedule; Poisson arrivals at RATE unless told otherwise."""
    known = {"process": "poisson", "rate_per_s": RATE}
    return schedule(Arrivals(**{**known, **fields}), seed, block)


def gaps(planned: Schedule) -> np.ndarray:
    """Gaps in units of the mean gap; the first one begins at the origin."""
    return np.diff(planned.due_ns, prepend=0) / 1e9 * RATE


@pytest.mark.parametrize("seed", range(5))
def test_the_gaps_of_poisson_arrivals_are_exponential(seed: int) -> None:
    found = gaps(made(seed, requests=20_000))
    assert stats.kstest(found, "expon").pvalue > TINY
    assert abs(found.mean() - 1) < 5 / math.sqrt(found.size)


@pytest.mark.parametrize("seed", range(5))
def test_the_gaps_are_independent(seed: int) -> None:
    found = gaps(made(seed, requests=20_000))
    for lag in (1, 2, 7):
        correlation = np.corrcoef(found[:-lag], found[lag:])[0, 1]
        assert abs(correlation) < 5 / math.sqrt(found.size)


@pytest.mark.parametrize("width_s", [0.1, 1.0, 5.0])
def test_counts_in_disjoint_intervals_are_poisson(width_s: float) -> None:
    planned = made(seconds=2000.0)
    edges = np.arange(0, 2000 + width_s / 2, width_s) * 1e9
    counts = np.histogram(planned.due_ns, edges)[0]
    dispersion = counts.var(ddof=1) / counts.mean() * (counts.size - 1)
    low, high = stats.chi2(counts.size - 1).ppf([TINY, 1 - TINY])
    assert low < dispersion < high
    neighbours = np.corrcoef(counts[:-1], counts[1:])[0, 1]
    assert abs(neighbours) < 5 / math.sqrt(counts.size)


def test_a_length_of_time_holds_a_random_number_of_requests() -> None:
    counts = np.array([len(made(seed, seconds=10.0)) for seed in range(300)])
    dispersion = counts.var(ddof=1) / counts.mean() * (counts.size - 1)
    low, high = stats.chi2(counts.size - 1).ppf([TINY, 1 - TINY])
    assert low < dispersion < high
    assert abs(counts.mean() - 10 * RATE) < 5 * math.sqrt(10 * RATE / counts.size)


def test_a_number_of_requests_takes_a_random_time() -> None:
    # vLLM's benchmark stretches every schedule to exactly N / rate.
    last = np.array([made(seed, requests=400).due_ns[-1] for seed in range(300)]) / 1e9 * RATE
    assert stats.kstest(last, stats.gamma(400).cdf).pvalue > TINY
    assert len(set(last)) == 300


def test_long_gaps_are_not_cut() -> None:
    # etalon cuts gaps at 3 / rate, which makes the load 5% higher than asked.
    found = gaps(made(requests=100_000))
    long = np.count_nonzero(found > 3)
    expected = found.size * math.exp(-3)
    assert abs(long - expected) < 5 * math.sqrt(expected)
    low, high = (-math.log1p(-(p ** (1 / found.size))) for p in (TINY, 1 - TINY))
    assert low < found.max() < high


# Above 2 so many gaps are shorter than a nanosecond that their rounding fails the test.
@pytest.mark.parametrize("cv", [0.5, 1.5, 2.0])
def test_gamma_arrivals_vary_as_asked(cv: float) -> None:
    found = gaps(made(process="gamma", cv=cv, requests=50_000))
    assert stats.kstest(found, stats.gamma(1 / cv**2, scale=cv**2).cdf).pvalue > TINY
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.05)
    assert abs(found.mean() - 1) < 5 * cv / math.sqrt(found.size)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 5 / math.sqrt(found.size)


@pytest.mark.parametrize("rate", [3.0, 0.1, 33.3, 100.0, 7.7, 999.9])
def test_constant_arrivals_do_not_drift(rate: float) -> None:
    due_ns = made(process="constant", rate_per_s=rate, requests=1_000_000).due_ns
    assert due_ns[0] == 0
    exact = Fraction(str(rate))
    for k in (1, 2, 3, 1000, 123_457, 999_999):
        assert 0 <= k / exact * 10**9 - int(due_ns[k]) < 1
    steps = np.diff(due_ns)
    assert steps.max() - steps.min() <= 1  # inference-perf's "constant" draws exponential gaps


@pytest.mark.parametrize(("seconds", "count"), [(10.0, 30), (10.1, 31), (0.001, 1)])
def test_a_constant_load_ends_before_its_time(seconds: float, count: int) -> None:
    planned = made(process="constant", rate_per_s=3.0, seconds=seconds)
    assert len(planned) == count
    assert planned.window_ns == (0, round(seconds * 1e9))


@given(
    process=st.sampled_from(["poisson", "constant", "gamma"]),
    seed=st.integers(0, 2**32),
    parts=st.integers(1, 12),
)
def test_the_parts_together_are_the_whole(process: str, seed: int, parts: int) -> None:
    wholes = [made(seed, process=process, requests=200) for _ in range(parts)]
    taken = [
        (index, int(whole.due_ns[index]))
        for part, whole in enumerate(wholes)
        for index in whole.indices(part, parts)
    ]
    assert sorted(taken) == list(enumerate(made(seed, process=process, requests=200).due_ns))


def test_processes_of_their_own_compute_one_schedule() -> None:
    # Every process of GuideLLM draws the same gaps: with ten, 4000 requests have 402 of them.
    code = (
        "import sys; from heavyweight.arrivals import schedule;"
        "from heavyweight.load.spec import Arrivals;"
        "s = schedule(Arrivals(process='poisson', rate_per_s=25, requests=4000), 1, 1);"
        "print(*(int(s.due_ns[i]) for i in s.indices(int(sys.argv[1]), 3)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(k)], stdout=subprocess.PIPE, text=True)
        for k in range(3)
    ]
    parts = [[int(due) for due in process.communicate()[0].split()] for process in running]
    union = np.sort(np.concatenate(parts))
    assert (union == made(requests=4000).due_ns).all()
    assert np.unique(np.diff(union)).size > 3990  # to the nanosecond, two may well be alike


def test_a_longer_schedule_begins_as_the_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in ("poisson", "gamma", "constant"):
        short, long = (made(process=process, seconds=s).due_ns for s in (50.0, 500.0))
        assert (long[: short.size] == short).all()
        assert (made(process=process, requests=90).due_ns == long[:90]).all()
        monkeypatch.setattr(arrivals, "DRAW", 7)
        assert (made(process=process, seconds=50.0).due_ns == short).all()
        monkeypatch.undo()


def test_loads_have_streams_of_their_own() -> None:
    base = gaps(made(requests=2000))
    assert (base == gaps(made(requests=2000))).all()
    others = [made(2, requests=2000), made(block=2, requests=2000),
              made(process="gamma", cv=1.0, requests=2000)]  # fmt: skip
    for other in [*map(gaps, others), gaps(made(rate_per_s=50.0, requests=2000)) * 2]:
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.12
    keys = {planned.key for planned in [made(requests=2000), *others]}
    assert len(keys) == 4


def test_schedules_look_at_no_clock() -> None:
    source = inspect.getsource(arrivals)
    assert "import time" not in source
    assert "random.seed" not in source


def test_the_window_ends_with_the_time_or_with_the_last_request() -> None:
    assert made(seconds=20.0, warmup_s=5.0).window_ns == (5 * 10**9, 20 * 10**9)
    few = made(seconds=20.0, requests=100, warmup_s=1.0)
    assert few.window_ns == (10**9, few.due_ns[-1])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"rate_per_s": 0.01, "seconds": 0.1}, "none of 0 requests"),
        ({"requests": 10, "warmup_s": 1000.0}, "none of 10 requests"),
        ({"requests": MOST_REQUESTS + 1}, "more than 1048576"),
        ({"rate_per_s": 1e6, "seconds": 10.0}, "more than 1048576"),
        ({"process": "constant", "rate_per_s": 1e6, "seconds": 10.0}, "more than 1048576"),
    ],
)
def test_schedules_that_cannot_be(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        made(**fields)


def test_as_many_requests_as_there_are_prompts() -> None:
    assert len(made(requests=MOST_REQUESTS)) == MOST_REQUESTS


@pytest.mark.parametrize("rate", [1e-3, 1e6])
@pytest.mark.parametrize("cv", [0.01, 100.0])
def test_extremes_stay_in_order(rate: float, cv: float) -> None:
    due_ns = made(process="gamma", rate_per_s=rate, cv=cv, requests=9000).due_ns
    assert (np.diff(due_ns, prepend=0) >= 0).all()


TIMES = "1700000000.25\n1700000000.25\n1700000001.123456789\n"


@pytest.mark.parametrize(
    "text",
    [
        TIMES,
        "# seconds\n\n" + TIMES.replace("\n", "\r\n"),
        "\ufeffarrival_s\n" + TIMES,
        "id,timestamp\n" + "".join(f"{i},{t}\n" for i, t in enumerate(TIMES.split())),
        "".join(f'{{"timestamp": {t}, "model": "x"}}\n' for t in TIMES.split()),
        "".join(f'{{"arrival_s": "{t}"}}\n' for t in TIMES.split()),
    ],
)
def test_a_trace_counts_from_its_first_time_on(text: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text(text, encoding="utf-8", newline="")
    trace = read_trace(file)
    assert trace.due_ns.tolist() == [0, 0, 873_456_789]
    assert trace.output_tokens is None
    planned = schedule(Arrivals(process="trace", trace=file), 1, 1, trace)
    assert planned.due_ns.tolist() == trace.due_ns.tolist()
    assert planned.window_ns == (0, 873_456_789)
    assert planned.mean_rate_per_s == pytest.approx(3 / 0.873456789)
    cut = schedule(Arrivals(process="trace", trace=file, seconds=0.5), 1, 1, trace)
    assert len(cut) == 2
    assert cut.window_ns == (0, 500_000_000)
    short = schedule(Arrivals(process="trace", trace=file, seconds=60), 1, 1, trace)
    assert len(short) == 3
    assert short.window_ns == (0, 873_456_789), "it ends with the trace, not in a minute"
    assert short.mean_rate_per_s == pytest.approx(3 / 0.873456789)


def test_a_trace_may_say_how_long_requests_are(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,prompt_tokens,output_tokens\n0,100,5\n0.5,200,6\n1,300,7\n")
    planned = schedule(Arrivals(process="trace", trace=file, requests=2), 1, 1, read_trace(file))
    assert planned.prompt_tokens.tolist() == [100, 200]
    assert planned.output_tokens.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("arrival_s\n", "has no rows"),
        ("1\n0.5\n", "line 2 of trace is earlier"),
        ("-1\n0\n", "line 1 of trace has a negative time"),
        ("0\n20000000000\n", "spans 20000000000 s"),
        ("0\nsoon\n", "line 2 of trace has no time"),
        ("0\nnan\n", "line 2 of trace has no time"),
        ("0\ninf\n", "line 2 of trace has no time"),
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46.6805900,374\n", "line 1 of trace has no"),
        ('{"timestamp": true}\n', "line 1 of trace has no time"),
        ('{"timestamp": NaN}\n', "line 1 of trace has no time"),
        ('{"when": 1}\n', "line 1 of trace has no time"),
        ('{"timestamp": 1}\n[2]\n', "line 2 of trace is no object"),
        ('{"timestamp": 1}\n{\n', "line 2 of trace is not JSON"),
        ("arrival_s,output_tokens\n0,0\n", "output_tokens '0'"),
        ("arrival_s,output_tokens\n0,5\n1,\n", "missing in some rows"),
    ],
)
def test_traces_that_cannot_be_read(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text(text)
    with pytest.raises(BadInput, match=told):
        read_trace(file)


def test_a_trace_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the trace none"):
        read_trace(tmp_path / "none")
    file = tmp_path / "trace"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no text"):
        read_trace(file)
