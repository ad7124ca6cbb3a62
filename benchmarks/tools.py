"""vLLM's benchmark, GuideLLM and AIPerf: their command lines, and how their result files are read.

Each starts its users over one response time by its own options, as this project's client does:
started at once, they would send in waves for the whole of a short run. Each has one worker process,
since it has one core. Their times are those that they report, on their own clocks; a wall clock's
are moved to CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import children, peers
from benchmarks.cases import MODEL, PROMPT_TOKENS, Case
from benchmarks.sample import Sample, stamps

LIMIT_S = 120.0
PREFIX = "bench-"
EVEN = "1000000000"  # vLLM's burstiness: gaps of a gamma distribution of this shape are alike


def wall_offset_ns() -> int:
    """What a stamp of time.time_ns is ahead of one of time.perf_counter_ns."""
    return max(time.time_ns() - time.perf_counter_ns() for _ in range(100))


@dataclass
class VllmBench:
    """``vllm bench serve``, run from Python."""

    name: str = "vllm"
    peer: bool = True

    def missing(self) -> str | None:
        """vLLM or the tokenizer."""
        return peers.vllm_missing()

    def run(self, case: Case, port: int, folder: Path, core: int) -> Sample | None:
        """Closed: as many at once as users, at the rate at which their answers end."""
        if case.arrivals == "poisson":  # it does not tell when requests were due
            return None
        rate = case.users / case.response_s if case.response_s else float("inf")
        load = ["--max-concurrency", str(case.users), "--request-rate", f"{rate:g}"]
        if not case.users:
            load = ["--request-rate", f"{case.rate_per_s:g}"]
        command: list[str | Path] = [
            peers.vllm_python(), "-c", peers.VLLM_SERVE, "--backend", "openai-chat",
            "--base-url", f"http://127.0.0.1:{port}", "--endpoint", "/v1/chat/completions",
            "--model", MODEL, "--tokenizer", peers.tokenizer(), "--dataset-name", "random",
            "--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(case.tokens),
            "--ignore-eos", "--num-prompts", str(case.requests), *load, "--burstiness", EVEN,
            "--request-id-prefix", PREFIX, "--disable-tqdm", "--save-result", "--save-detailed",
            "--result-dir", folder, "--result-filename", "vllm.json",
        ]  # fmt: skip
        children.finish(command, folder, core, LIMIT_S, peers.OFFLINE)
        return read_vllm(json.loads((folder / "vllm.json").read_text(encoding="utf-8")))


def read_vllm(told: dict[str, Any]) -> Sample:
    """A detailed result; request i is sent with the id prefix + i."""
    columns = ("start_times", "ttfts", "itls", "output_lens", "errors")
    rows: Sequence[Any] = list(enumerate(zip(*(told[name] for name in columns), strict=True)))
    rows = [(i, *row[:-1]) for i, row in rows if not row[-1]]
    return Sample(
        sent_ns=stamps([round(start * 1e9) for _, start, *_ in rows]),
        first_ns=stamps([round((start + ttft) * 1e9) for _, start, ttft, *_ in rows]),
        end_ns=stamps([round((start + ttft + sum(itl)) * 1e9) for _, start, ttft, itl, _ in rows]),
        tokens=stamps([row[-1] for row in rows]),
        request_id=[f"{PREFIX}{row[0]}" for row in rows],
        failed=told["num_prompts"] - len(rows),
    )


@dataclass
class GuideLlm:
    """``guidellm run``."""

    name: str = "guidellm"
    peer: bool = True

    def missing(self) -> str | None:
        """The environment or the tokenizer."""
        return peers.GUIDELLM.missing()

    def run(self, case: Case, port: int, folder: Path, core: int) -> Sample | None:
        """Concurrent streams, or a rate."""
        profile = f"kind=concurrent,streams={case.users},rampup_duration={case.response_s:g}"
        if not case.users:
            profile = f"kind={case.arrivals},rate={case.rate_per_s:g}"
        backend = f"kind=openai_http,target=http://127.0.0.1:{port},model={MODEL}"
        command: list[str | Path] = [
            peers.GUIDELLM.program, "run", "--backend", f"{backend},validate_backend=false",
            "--profile", profile, "--constraint", f"kind=max_requests,count={case.requests}",
            "--tokenizer", f"kind=huggingface_auto,model={peers.tokenizer()}",
            "--data",
            f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={case.tokens}",
            "--output", f"kind=json,path={folder / 'guidellm.json'}", "--disable-console",
        ]  # fmt: skip
        env = {**peers.OFFLINE, "GUIDELLM__MAX_WORKER_PROCESSES": "1"}
        children.finish(command, folder, core, LIMIT_S, env)
        told = json.loads((folder / "guidellm.json").read_text(encoding="utf-8"))
        return read_guidellm(told, wall_offset_ns())


def read_guidellm(told: dict[str, Any], offset_ns: int) -> Sample:
    """The requests of a report's first benchmark; it sends no id of its own."""
    requests = told["benchmarks"][0]["requests"]
    rows = [(row["info"]["timings"], row["output_tokens"]) for row in requests["successful"]]

    def column(name: str) -> list[int]:
        return [round(times[name] * 1e9) - offset_ns for times, _ in rows]

    due = [times["targeted_start"] for times, _ in rows]
    return Sample(
        sent_ns=stamps(column("request_start")),
        first_ns=stamps(column("first_token_iteration")),
        end_ns=stamps(column("request_end")),
        tokens=stamps([tokens for _, tokens in rows]),
        due_ns=None if None in due else stamps(column("targeted_start")),
        failed=len(requests["errored"]),
    )


@dataclass
class AiPerf:
    """``aiperf profile``."""

    name: str = "aiperf"
    peer: bool = True

    def missing(self) -> str | None:
        """The environment or the tokenizer."""
        return peers.AIPERF.missing()

    def run(self, case: Case, port: int, folder: Path, core: int) -> Sample | None:
        """Concurrent requests, or a constant rate."""
        if case.arrivals == "poisson":  # it does not tell when requests were due
            return None
        load = ["--request-rate", f"{case.rate_per_s:g}", "--arrival-pattern", "constant"]
        if case.users:
            load = ["--concurrency", str(case.users)]
            if case.response_s:
                load += ["--concurrency-ramp-duration", f"{case.response_s:g}"]
        artefacts = folder / "aiperf"
        command: list[str | Path] = [
            peers.AIPERF.program, "profile", "--model", MODEL, "--tokenizer", peers.tokenizer(),
            "--endpoint-type", "chat", "--streaming", "--url", f"http://127.0.0.1:{port}",
            "--request-count", str(case.requests), "--isl", str(PROMPT_TOKENS), "--osl",
            str(case.tokens), "--use-server-token-count", *load, "--workers-max", "1",
            "--record-processors", "1", "--no-gpu-telemetry", "--no-server-metrics",
            "--export-level", "records", "--ui-type", "none", "--artifact-dir", artefacts,
        ]  # fmt: skip
        children.finish(command, folder, core, LIMIT_S)
        lines = (artefacts / "profile_export.jsonl").read_text(encoding="utf-8").splitlines()
        return read_aiperf([json.loads(line) for line in lines], wall_offset_ns())


def read_aiperf(lines: Sequence[dict[str, Any]], offset_ns: int) -> Sample:
    """Its records, one a request; a start is on the wall clock, durations are not."""
    good = [one for one in lines if not one.get("error") and one["metrics"]]
    started = [one["metadata"]["request_start_ns"] - offset_ns for one in good]

    def value(one: dict[str, Any], name: str) -> float:
        return float(one["metrics"][name]["value"])

    def after(name: str) -> list[int]:
        times = zip(started, good, strict=True)
        return [start + round(value(one, name) * 1e6) for start, one in times]

    return Sample(
        sent_ns=stamps(started),
        first_ns=stamps(after("time_to_first_token")),
        end_ns=stamps(after("request_latency")),
        tokens=stamps([round(value(one, "output_sequence_length")) for one in good]),
        request_id=[one["metadata"]["x_request_id"] for one in good],
        failed=len(lines) - len(good),
    )
