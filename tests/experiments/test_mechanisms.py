"""Each probe can say yes and can say no, of emulated servers whose behaviour is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from heavyweight.design import load_study
from heavyweight.errors import ServerError
from heavyweight.experiments.offline import Told
from heavyweight.experiments.probes import (
    MECHANISMS,
    Observation,
    abandoned,
    batching,
    mechanisms_for,
    network,
    overlap,
    queue,
)
from heavyweight.experiments.probes.base import said
from heavyweight.experiments.streams import Answer
from heavyweight.records import ServerIdentity
from heavyweight.servers.emulated import EmulatedServer
from tests.experiments.probed import ROOT, arm, probing

BY_NAME = {one.name: one for one in MECHANISMS}
STEP = ("--batching", "step")


def observed(name: str, of, folder, **fields) -> Observation:
    mechanism = BY_NAME[name]
    with probing(mechanism, of, folder, **fields) as prober:
        return mechanism.observe(prober)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Fewer and shorter trials: emulated servers do what they do every time."""
    monkeypatch.setattr(overlap, "WAITING_TRIALS", 4)
    monkeypatch.setattr(overlap, "STEP_TRIALS", 4)
    monkeypatch.setattr(overlap, "STEP_NEEDED", 3)
    monkeypatch.setattr(overlap, "STEP_TOKENS", 24)
    monkeypatch.setattr(batching, "RECYCLING_TRIALS", 3)
    monkeypatch.setattr(batching, "JOIN_TRIALS", 2)
    monkeypatch.setattr(abandoned, "TRIALS", 2)
    monkeypatch.setattr(abandoned, "NEXT_TRIALS", 1)
    monkeypatch.setattr(abandoned, "SOON_S", 0.6)
    monkeypatch.setattr(abandoned, "WATCHED_S", 1.2)
    monkeypatch.setattr(abandoned, "LEAVE_AFTER", 48)


CASES = {
    "one slot makes the second wait": ("overlap", arm(), "yes"),
    "many slots do not": ("overlap", arm(slots=8, api="vllm"), "no"),
    "one batch": ("same-step", arm(*STEP, slots=8, itl_ms=40), "yes"),
    "a schedule for each": ("same-step", arm("--jitter", "0.3", slots=8, itl_ms=40), "no"),
    "one after the other": ("same-step", arm(), "no"),
    "a slot taken at once": ("slot-recycling", arm(*STEP, slots=8, ttft_ms=1, itl_ms=15), "yes"),
    "a slot taken late": ("slot-recycling", arm(*STEP, slots=8, ttft_ms=120, itl_ms=15), "no"),
    "a joiner": ("joining", arm(*STEP, "--step-growth", "0.5", slots=8, itl_ms=12), "yes"),
    "a joiner that waits": ("joining", arm(itl_ms=3), "no"),
    "a cache": ("prefix-cache", arm("--cached-ttft-ms", "5", ttft_ms=80), "yes"),
    "no cache": ("prefix-cache", arm(ttft_ms=40), "no"),
    "a queue that is full": ("queue", arm("--queue", "2"), "yes"),
    "a queue without end": ("queue", arm(slots=8), "no"),
    "a full queue at the start": ("queue-loading", arm(ttft_ms=40), "yes"),
    "stops for who left": ("abandoned", arm(itl_ms=6), "yes"),
    "goes on for who left": ("abandoned", arm("--stubborn", itl_ms=6), "no"),
    "no other model": ("swap", arm(), "no"),
    "takes its memory at once": ("memory-at-start", arm(), "yes"),
    "says no data type": ("dtype", arm(), "unknown"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_probe_says_what_is_so(case, tmp_path):
    name, of, answer = CASES[case]
    seen = observed(name, of, tmp_path)
    assert seen.answer == answer, (seen.why, seen.trials)
    assert seen.why
    assert all(one.get("error") is None for one in seen.trials), seen.trials


def test_a_probe_of_a_dead_server_is_unknown(tmp_path):
    mechanism = BY_NAME["overlap"]
    with probing(mechanism, arm(), tmp_path) as prober:
        prober.server.process.stop(2.0)
        seen = mechanism.observe(prober)
    assert seen.answer == "unknown"
    with pytest.raises(ServerError, match="500"):
        observed("queue", arm("--fault", "status-500"), tmp_path)


MS = 1_000_000


def answer(sent_ms: float, *chunks_ms: float) -> Answer:
    stamps = (np.array(chunks_ms) * MS).astype(np.int64)
    done_ns = int(stamps[-1]) + MS // 10
    return Answer(int(sent_ms * MS), stamps, done_ns, len(stamps), 200, None, "")


def test_a_join_in_numbers():
    alone, longest, both = np.arange(0, 400, 10), 390 + 55, np.arange(1, 31) * 15
    running = [*alone, longest, *(longest + both), *(longest + both[-1] + np.arange(10, 200, 10))]
    joiner = answer(395, *(longest + 0.3 + np.array([0, *both])))
    one = batching.joined(answer(-50, *running), joiner)
    assert one["yes"] is True
    assert one["alone_ms"] == pytest.approx(10)
    assert one["slowdown"] == pytest.approx(1.5)
    assert one["pause_steps"] == pytest.approx(5.5)
    assert len(one["at_ms"]) == len(one["gap_ms"]) == len(running) - 1
    assert one["at_ms"] == sorted(one["at_ms"])
    later = batching.joined(answer(-50, *running), answer(395, 1500, 1510))
    assert later["yes"] is False
    assert later["slowdown"] is None


def test_a_slot_in_numbers():
    long = answer(0, *np.arange(0, 1000, 10))
    short = answer(0, *np.arange(30.2, 201, 10))
    at_once = batching.recycled(long, short, answer(50, 210.3, 220))
    assert (at_once["steps"], at_once["yes"]) == (1, True)
    late = batching.recycled(long, short, answer(50, 249.8, 260))
    assert (late["steps"], late["yes"]) == (5, False)
    assert batching.recycled(long, short, answer(50, 100, 110))["waited"] is False


def test_a_trial_that_fails_says_so_and_counts_for_nothing(tmp_path):
    failing = arm("--fault", "reset", "--fault-every", "5", slots=8)
    seen = observed("overlap", failing, tmp_path)
    errors = [one for one in seen.trials if "error" in one]
    assert errors
    assert "yes" not in errors[0]
    assert seen.answer == "no", "one overlap decides, whatever failed"
    waiting = observed("overlap", arm("--fault", "reset", "--fault-every", "5"), tmp_path)
    assert waiting.answer == "unknown", "twenty of twenty are needed"


def test_time_is_bounded(tmp_path):
    seen = observed("overlap", arm(itl_ms=40), tmp_path, cap_s=1.0)
    assert len(seen.trials) < 4
    assert seen.answer == "unknown"


@pytest.mark.parametrize(
    ("yes", "no", "planned", "needed", "answer"),
    [(20, 0, 20, 20, "yes"), (19, 1, 20, 20, "no"), (19, 0, 20, 20, "unknown"),
     (8, 2, 10, 8, "yes"), (7, 3, 10, 8, "no"), (7, 2, 10, 8, "unknown"),
     (0, 0, 6, 4, "unknown"), (0, 3, 6, 4, "no")],
)  # fmt: skip
def test_trials_together(yes, no, planned, needed, answer):
    trials = [{"yes": True}] * yes + [{"yes": False}] * no + [{"error": "x"}]
    assert said(trials, planned, needed) == answer


class Typed(EmulatedServer):
    """An emulated server that says a data type."""

    found = "float16"

    def identify(self):
        detail = {"dtype": self.found, "kv_tokens": "4096"}
        return ServerIdentity(server="emulated", model="emulated", detail=detail)


@pytest.mark.parametrize(
    ("found", "answer"), [("float16", "yes"), ("bfloat16", "no"), ("Q4_1", "no"), ("F16", "yes")]
)
def test_the_data_type_that_a_server_says(found, answer, tmp_path):
    with probing(BY_NAME["dtype"], arm(), tmp_path) as prober:
        prober.server.__class__ = Typed
        prober.server.found = found
        assert BY_NAME["dtype"].observe(prober).answer == answer


def test_memory_that_comes_with_the_first_request(tmp_path):
    with probing(BY_NAME["memory-at-start"], arm(), tmp_path) as prober:
        prober.at_ready = replace(prober.at_ready, rss_bytes=1000, pss_bytes=1000)
        seen = BY_NAME["memory-at-start"].observe(prober)
    assert seen.answer == "no"
    assert seen.value > 1, "MB of a Python process"


def test_a_gpu_that_does_not_answer_leaves_the_question_of_memory_open(tmp_path):
    with probing(BY_NAME["memory-at-start"], arm(), tmp_path) as prober:
        prober.at_ready = replace(prober.at_ready, on_gpu=True)
        seen = BY_NAME["memory-at-start"].observe(prober)
    assert (seen.answer, seen.value) == ("unknown", None)


def test_the_usual_port(tmp_path):
    assert observed("ports", arm(), tmp_path).answer == "unknown"
    with probing(BY_NAME["ports"], arm(), tmp_path) as prober:
        prober.server.usual_port = int(prober.server.base_url.rpartition(":")[2])
        assert BY_NAME["ports"].observe(prober).answer == "yes"


def test_a_start_without_a_network(tmp_path):
    seen = observed("offline", arm(), tmp_path)
    if network.namespace() is None:
        assert seen.answer == "unknown"
        return
    assert seen.answer == "yes", seen.why
    assert seen.trials[0]["interfaces"] == "lo"
    assert seen.trials[0]["outside"] == "unreachable"
    assert not list(tmp_path.glob(".offline*"))


def test_an_answer_with_a_network_is_no_proof():
    none = Told(interfaces=["lo"], outside="unreachable", error="it ended")
    assert network.judged(none).answer == "no"
    there = Told(interfaces=["eth0", "lo"], outside="silent", answered=True, first_token_ms=5.0)
    assert network.judged(there).answer == "unknown"


def test_each_arm_is_asked_what_says_something_of_it():
    study = load_study(ROOT / "study.toml")
    names = {
        name: {one.name for one in mechanisms_for(study.arm(name))}
        for name in study.profile("mechanisms").arms
    }
    assert {"overlap", "swap", "ports", "offline", "dtype"} <= names["ollama-q4"]
    assert "same-step" not in names["ollama-q4"]
    assert "same-step" in names["ollama-q4-parallel"]
    assert "slot-recycling" in names["vllm-bf16"]
    assert "dtype" not in names["vllm-bf16"], "it was told one"
    assert "dtype" in names["vllm-shipped"]
    starts = {one.name for one in MECHANISMS if one.own_start}
    assert not starts & names["vllm-shipped"]
    assert all(one.question.endswith("?") for one in MECHANISMS)
    assert len(BY_NAME) == len(MECHANISMS)


def test_the_words_of_a_refusal_are_kept(tmp_path):
    seen = observed("queue", arm("--queue", "1"), tmp_path)
    assert "busy" in seen.trials[0]["said"]
    assert seen.trials[0]["refused"] == queue.MANY - seen.trials[0]["answered"]
    assert seen.value == pytest.approx(seen.trials[0]["refused"] / queue.MANY)


def test_a_change_of_models(tmp_path):
    seen = observed("swap", arm(), tmp_path)
    assert [one.get("yes") for one in seen.trials] == [None, False, None]
    assert "404" in seen.why
    broken = observed("swap", arm("--fault", "status-500"), tmp_path)
    assert broken.answer == "unknown"
