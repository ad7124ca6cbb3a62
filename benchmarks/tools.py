"""vLLM's benchmark, GuideLLM and AIPerf: their command lines, and how their result files are read.

Each starts its users over one response time by its own options, as this project's client does:
started at once, they would send in waves for the whole of a short run. Each has one worker process,
since it has one core. Their times are those that they report, on their own clocks; a wall clock's
are moved to CLOCK_MONOTONIC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import children, peers
from benchmarks.cases import MODEL, PROMPT_TOKENS, Case
from benchmarks.sample import Sample, Stamps, stamps
from heavyweight.importing import Row, aiperf, guidellm, vllm_bench

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
        return read_vllm((folder / "vllm.json").read_bytes())


def read_vllm(data: bytes) -> Sample:
    """A detailed result; request i is sent with the id prefix + i."""
    rows = vllm_bench.result(data, "vllm.json").rows()
    named = [row | {"request_id": f"{PREFIX}{place}"} for place, row in enumerate(rows)]
    return sample_of(named, 0)


def sample_of(rows: list[Row], offset_ns: int, ids: bool = True) -> Sample:
    """The requests that succeeded, of rows as they are imported.

    Args:
        rows: of a result file.
        offset_ns: what their clock is ahead of CLOCK_MONOTONIC.
        ids: whether the client sent their ids.
    """
    good = [row for row in rows if row["error"] is None]

    def at(name: str) -> Stamps:
        return stamps([row[name] - offset_ns for row in good])

    told = all(row["due_ns"] is not None for row in good)
    return Sample(
        sent_ns=at("sent_ns"),
        first_ns=stamps([row["chunk_ns"][0] - offset_ns for row in good]),
        end_ns=at("done_ns"),
        tokens=stamps([row["completion_tokens"] for row in good]),
        request_id=[row["request_id"] for row in good] if ids else None,
        due_ns=at("due_ns") if told else None,
        failed=len(rows) - len(good),
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
        return read_guidellm((folder / "guidellm.json").read_bytes(), wall_offset_ns())


def read_guidellm(data: bytes, offset_ns: int) -> Sample:
    """The requests of a report's first benchmark; it sends no id of its own."""
    first = guidellm.report(data, "guidellm.json").benchmarks[0]
    return sample_of(first.requests.rows(), offset_ns, ids=False)


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
        return read_aiperf((artefacts / "profile_export.jsonl").read_bytes(), wall_offset_ns())


def read_aiperf(data: bytes, offset_ns: int) -> Sample:
    """Its records, one a request; a start is on the wall clock, durations are not."""
    lines = aiperf.records(data, "profile_export.jsonl")
    return sample_of([one.row() for one in lines], offset_ns)
