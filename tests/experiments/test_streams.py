"""Streams are sent at their moments, stamped, and left; a share of steps is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from heavyweight.experiments import steps
from heavyweight.experiments.streams import Ask, send
from heavyweight.workload import prompt
from tests.experiments.probed import arm, started


def asked(server, *asks: Ask, model: str | None = None):
    return send(
        server.base_url, model or server.served_model, server.extra_body, asks, timeout_s=20
    )


def words(index: int):
    return prompt(1, 1, 0, index, 64, schedule=7)


def test_streams_come_when_they_are_due_and_one_is_left(tmp_path):
    with started(arm(slots=8, itl_ms=5), tmp_path) as server:
        first, second, third = asked(
            server,
            Ask(words(0), 40),
            Ask(words(1), 40, after=(0, 10), leave_after=5),
            Ask(words(2), 3, after=(0, None)),
        )
        assert first.error is None
        assert len(first.chunk_ns) == first.tokens == 40
        assert (np.diff(first.chunk_ns) >= 0).all()
        assert first.chunk_ns[8] < second.sent_ns < first.last_ns
        assert second.error == "abandoned"
        assert 5 <= len(second.chunk_ns) < 40
        assert third.sent_ns > first.done_ns
        assert third.ttft_ms > 0


def test_what_fails_is_told(tmp_path):
    with started(arm(), tmp_path) as server:
        (answer,) = asked(server, Ask(words(0), 3), model="unknown")
        assert answer.status == 404
        assert "unknown" in answer.told
        assert len(answer.chunk_ns) == 0
    (gone,) = asked(server, Ask(words(0), 3))
    assert gone.error == "refused"


MS = 1_000_000


def stream(begin_ms: float, step_ms: float, count: int) -> np.ndarray:
    return ((begin_ms + step_ms * np.arange(count)) * MS).astype(np.int64)


def test_a_share_of_one_and_one_of_chance():
    first, second = stream(0, 10, 40), stream(100.5, 10, 20)
    one, other = steps.both(first, second)
    assert (len(one), len(other)) == (19, 20), "the first token of one came before the other began"
    window = steps.WINDOW * steps.step_ns(one)
    assert window == pytest.approx(2 * MS)
    assert steps.share_together(one, other, window) == 1
    assert steps.share_together(one, other + 5 * MS, window) <= 0.05
    # By arithmetic: a window to both sides of a step of five windows.
    assert steps.share_by_chance(one, other, 10 * MS, window) == pytest.approx(0.4, abs=0.15)


def test_streams_that_do_not_run_together_have_nothing_in_common():
    one, other = steps.both(stream(0, 10, 5), stream(100, 10, 5))
    assert len(one) == len(other) == 0
    assert not len(steps.both(stream(0, 10, 5), stream(0, 10, 0))[0])
    with pytest.raises(ValueError, match="without tokens"):
        steps.share_together(one, other, 1.0)


@pytest.mark.parametrize(
    ("freed_ms", "first_ms", "count"),
    [
        (50.0, 60.0, 1),  # the very next step
        (50.4, 59.7, 1),  # ties, a little to either side
        (49.6, 60.3, 1),
        (50.0, 70.0, 2),
        (50.0, 150.0, 10),
        (50.0, 50.2, 0),  # in the step that freed it
    ],
)
def test_steps_are_counted_with_ties(freed_ms, first_ms, count):
    running = stream(0, 10, 40)
    found = steps.steps_between(running, int(freed_ms * MS), int(first_ms * MS), 10 * MS)
    assert found == count
