"""Make the sample files of tests/data/imports anew, by the real tools, on an emulated server.

::

    make bench                                   # once: installs GuideLLM and AIPerf
    .venv/bin/heavyweight servers install vllm   # once: vLLM, whose benchmark is run
    .venv/bin/python -m tests.importing.samples /tmp/samples

Of what the tools write, fields that nothing here reads are left out, and so are the names of this
machine; no number is changed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import children, peers
from heavyweight.importing.told import public
from heavyweight.servers.process import ManagedProcess

OUT = Path(__file__).parents[1] / "data" / "imports"
CLIENT_CORE, SERVER_CORE = 1, 0
LIMIT_S = 150.0
RESETS = ("--fault", "reset", "--fault-every", "6")
REFUSALS = ("--fault", "status-503", "--fault-every", "6")
KEPT_METRICS = {
    "time_to_first_token", "request_latency", "inter_chunk_latency", "inter_token_latency",
    "input_sequence_length", "output_sequence_length",
}  # fmt: skip
KEPT_SUMMARY = {
    "schema_version", "aiperf_version", "request_count", "error_request_count", "request_latency",
    "time_to_first_token", "inter_token_latency", "output_token_throughput", "benchmark_duration",
    "total_output_tokens", "start_time", "end_time", "was_cancelled",
}  # fmt: skip
KEPT_CONFIG = {"models", "endpoint", "datasets", "phases"}
KEPT_GUIDELLM = {
    "requests_per_second", "request_latency", "time_to_first_token_ms", "output_token_count",
    "output_tokens_per_second", "request_scheduled_latency",
}  # fmt: skip

KEPT_REQUEST = {
    "request_id", "response_id", "request_args", "info", "prompt_tokens", "output_tokens",
    "time_to_first_token_ms", "request_latency",
}  # fmt: skip
KEPT_INFO = {"status", "timings", "error"}


def vllm(port: int, folder: Path, *load: str) -> bytes:
    """One load by vLLM's benchmark."""
    children.finish(
        [peers.vllm_python(), "-c", peers.VLLM_SERVE, "--backend", "openai-chat",
         "--base-url", f"http://127.0.0.1:{port}", "--endpoint", "/v1/chat/completions",
         "--model", "emulated", "--tokenizer", peers.tokenizer(), "--dataset-name", "random",
         "--random-input-len", "32", "--random-output-len", "16", "--ignore-eos", *load,
         "--disable-tqdm", "--save-result", "--save-detailed", "--result-dir", folder,
         "--result-filename", "vllm.json"],
        folder, CLIENT_CORE, LIMIT_S, peers.OFFLINE,
    )  # fmt: skip
    told = json.loads((folder / "vllm.json").read_bytes())
    told["tokenizer_id"] = "tokenizer"
    told["errors"] = [public(error) for error in told["errors"]]
    return _compact(told)


def guidellm(port: int, folder: Path, profile: str, count: int) -> bytes:
    """Some loads by GuideLLM."""
    path = folder / "guidellm.json"
    children.finish(
        [peers.GUIDELLM.program, "run", "--backend",
         f"kind=openai_http,target=http://127.0.0.1:{port},model=emulated,validate_backend=false",
         "--profile", profile, "--constraint", f"kind=max_requests,count={count}",
         "--tokenizer", f"kind=huggingface_auto,model={peers.tokenizer()}",
         "--data", "kind=synthetic_text,prompt_tokens=16,output_tokens=16",
         "--output", f"kind=json,path={path}", "--disable-console"],
        folder, CLIENT_CORE, LIMIT_S, {**peers.OFFLINE, "GUIDELLM__MAX_WORKER_PROCESSES": "1"},
    )  # fmt: skip
    return _guidellm(json.loads(path.read_bytes()))


def _guidellm(told: dict[str, Any]) -> bytes:
    told["metadata"]["platform"] = "Linux"
    told["config"]["spec"]["tokenizer"]["model"] = "tokenizer"
    told["config"]["spec"]["outputs"] = []
    for one in told["benchmarks"]:
        one["metrics"] = {
            name: {how: {"mean": by["mean"]} for how, by in value.items() if by}
            for name, value in one["metrics"].items() if value and name in KEPT_GUIDELLM
        }  # fmt: skip
        for name in ("environment", "warnings", "requests"):
            one["config"].pop(name)
        for name in ("scheduler_state", "scheduler_metrics", "warnings"):
            one.pop(name)
        for how, rows in one["requests"].items():
            kept = [{k: v for k, v in row.items() if k in KEPT_REQUEST} for row in rows or []]
            for row in kept:
                row["info"] = {k: v for k, v in row["info"].items() if k in KEPT_INFO}
            one["requests"][how] = kept
    return _compact(_without_nulls(told))


def aiperf(port: int, folder: Path, *load: str) -> tuple[bytes, bytes]:
    """One load by AIPerf: the records, and the summary."""
    children.finish(
        [peers.AIPERF.program, "profile", "--model", "emulated", "--tokenizer", peers.tokenizer(),
         "--endpoint-type", "chat", "--streaming", "--url", f"http://127.0.0.1:{port}",
         "--isl", "32", "--osl", "16", "--use-server-token-count", *load, "--workers-max", "1",
         "--record-processors", "1", "--no-gpu-telemetry", "--no-server-metrics",
         "--export-level", "records", "--ui-type", "none", "--artifact-dir", folder],
        folder, CLIENT_CORE, LIMIT_S,
    )  # fmt: skip
    return _aiperf(folder)


def _aiperf(folder: Path) -> tuple[bytes, bytes]:
    lines = (folder / "profile_export.jsonl").read_bytes().splitlines()
    records = []
    for record in map(json.loads, lines):
        record["metrics"] = {k: v for k, v in record["metrics"].items() if k in KEPT_METRICS}
        records.append(_compact(record))
    summary = json.loads((folder / "profile_export_aiperf.json").read_bytes())
    config = {k: v for k, v in summary["input_config"].items() if k in KEPT_CONFIG}
    kept = {k: v for k, v in summary.items() if k in KEPT_SUMMARY} | {"input_config": config}
    return b"".join(records), _compact(kept)


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


@contextmanager
def emulator(folder: Path, *faults: str) -> Iterator[int]:
    """An emulated server; gives its port."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "heavyweight.emulator", "--api", "vllm", "--slots", "64",
               "--ttft-ms", "30", "--itl-ms", "5", "--jitter", "0.2", "--model", "emulated",
               *faults]  # fmt: skip
    process = ManagedProcess.spawn(command, dict(os.environ), [SERVER_CORE], log)
    try:
        yield children._port(process, log)
    finally:
        process.stop(children.GRACE_S)


def make(work: Path) -> None:
    """Run the tools and write the samples."""

    def sample(name: str, faults: tuple[str, ...], run: Callable[[int, Path], Any]) -> None:
        folder = work / name
        folder.mkdir(parents=True)
        with emulator(folder, *faults) as port:
            written = run(port, folder)
        _write(name, written)

    four, two = ("--max-concurrency", "4", "--num-prompts", "32"), ("--max-concurrency", "2")
    sample("vllm-closed", (), lambda p, f: vllm(p, f, *four))
    rate = ("--request-rate", "40", "--num-prompts", "24")
    sample("vllm-open", (), lambda p, f: vllm(p, f, *rate))
    sample("vllm-resets", RESETS, lambda p, f: vllm(p, f, *two, "--num-prompts", "12"))
    sample("guidellm-open", (), lambda p, f: guidellm(p, f, "kind=poisson,rate=40", 16))
    sample("guidellm-resets", RESETS, lambda p, f: guidellm(p, f, "kind=concurrent,streams=2", 12))
    closed = ("--concurrency", "4", "--request-count", "32")
    sample("aiperf-closed", (), lambda p, f: aiperf(p, f, *closed))
    refused = ("--concurrency", "2", "--request-count", "12")
    sample("aiperf-refused", REFUSALS, lambda p, f: aiperf(p, f, *refused))
    both = '{"kind": "concurrent", "streams": [1, 4]}'
    sample("guidellm-two", (), lambda p, f: guidellm(p, f, both, 12))


def _write(name: str, written: bytes | tuple[bytes, bytes]) -> None:
    if isinstance(written, bytes):
        (OUT / f"{name}.json").write_bytes(written)
        return
    folder = OUT / name
    folder.mkdir(exist_ok=True)
    (folder / "profile_export.jsonl").write_bytes(written[0])
    (folder / "profile_export_aiperf.json").write_bytes(written[1])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
