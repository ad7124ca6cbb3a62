"""vLLM: three processes in an environment of their own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from heavyweight.errors import NotInstalled, ServerError
from heavyweight.paths import cache_dir
from heavyweight.records import ServerIdentity
from heavyweight.servers import install_vllm
from heavyweight.servers.asking import get_json, status_of, told
from heavyweight.servers.base import LOOPBACK, Installed, Progress, Server, ServerConfig
from heavyweight.servers.installing import find
from heavyweight.telemetry.metrics import read_vllm

KV_CACHE_GIB = 2  # on the CPU; 50 users of 2,048 tokens of a small model stay well below

# Of a block of the KV cache, as vLLM itself chooses it: platforms/cpu.py and config/cache.py.
CPU_BLOCK_TOKENS, GPU_BLOCK_TOKENS = 128, 16

# Its processes meet on the loopback alone: torch and vLLM would listen on all addresses.
SITE = Path(__file__).parent / "vllm_site"
LOOPBACK_INTERFACE = "lo" if sys.platform == "linux" else "lo0"

_DTYPE = re.compile(r"dtype=torch\.(\w+)")
_OMP_CORES = re.compile(r"core ids=\[([\d, ]+)\]")
_WEIGHTS_GIB = re.compile(r"Model loading took ([\d.]+) GiB")
_KV_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")


class VllmServer(Server):
    """The OpenAI server of vLLM, run by the Python of its own environment."""

    kind: ClassVar[str] = "vllm"
    usual_port: ClassVar[int | None] = 8000
    start_timeout_s: ClassVar[float] = 900.0  # the first start compiles
    stop_timeout_s: ClassVar[float] = 15.0  # while it loads it does not hear SIGTERM

    @classmethod
    def install(cls, progress: Progress, version: str | None = None) -> Installed:
        """The GPU wheel where there is an NVIDIA GPU, else the CPU wheel."""
        return install_vllm.install(version or install_vllm.VERSION, progress)

    def installed(self) -> Installed:
        """What was installed for the arm's version."""
        return find("vllm", self.arm.version or install_vllm.VERSION)

    def files(self) -> list[Path]:
        """Its environment and its caches."""
        return [self.installed().path.parent.parent, cache_dir() / "vllm-cache"]

    def settings(self) -> dict[str, str]:
        """Slots, dtype and flags, and how output lengths are made equal."""
        return {
            "slots": f"--max-num-seqs {self.arm.slots}",
            "dtype": self.arm.dtype or "as the checkpoint says",
            "length": "ignore_eos in each request",
            "decoding": "greedy; the server is seeded, not the request",
            "kv_cache": f"{self.arm.kv_tokens} tokens"
            if self.arm.kv_tokens
            else "as vLLM sizes it",
            "flags": " ".join(self.arm.flags),
            "env": " ".join(f"{name}={value}" for name, value in self.arm.env.items()),
        }

    def command(self, config: ServerConfig) -> list[str]:
        """The API server as a module: the `vllm` command fails for the CPU wheel."""
        if config.artefact is None:
            raise NotInstalled(
                f"no checkpoint of {config.model.name}", "", "heavyweight models prepare"
            )
        words = [
            str(self.installed().path), "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(config.artefact.path),
            "--served-model-name", self.name_of_model(config),
            "--host", LOOPBACK, *([] if config.default_port else ["--port", str(config.port)]),
            "--max-model-len", str(config.context_tokens),
            "--seed", str(config.seed),
        ]  # fmt: skip
        if self.arm.slots:
            words += ["--max-num-seqs", str(self.arm.slots)]
        if self.arm.dtype:
            words += ["--dtype", self.arm.dtype]
        if self.arm.kv_tokens:
            on_cpu = self.installed().build.get("device") == "cpu"
            block = CPU_BLOCK_TOKENS if on_cpu else GPU_BLOCK_TOKENS
            words += ["--block-size", str(block)]
            words += ["--num-gpu-blocks-override", str(self.arm.kv_tokens // block)]
        return words + self.arm.flags

    def environment(self, config: ServerConfig) -> dict[str, str]:
        """Offline, quiet, on the loopback, caches of its own, and the cores it computes on."""
        installed = self.installed()
        home = cache_dir() / "vllm-home"
        home.mkdir(parents=True, exist_ok=True)
        own = {
            "HOME": str(home),
            "PATH": f"{installed.path.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "VLLM_CACHE_ROOT": str(cache_dir() / "vllm-cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(cache_dir() / "vllm-cache" / "inductor"),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(SITE),
            "VLLM_HOST_IP": LOOPBACK,
            "GLOO_SOCKET_IFNAME": LOOPBACK_INTERFACE,
            "NCCL_SOCKET_IFNAME": LOOPBACK_INTERFACE,
        }
        if installed.build.get("device") == "cpu":
            # By default vLLM keeps one core for itself, while Ollama computes on all of them.
            own["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, sorted(config.cores)))
            own["VLLM_CPU_KVCACHE_SPACE"] = str(KV_CACHE_GIB)
        return own

    def start(self, config: ServerConfig) -> None:
        """Spawn the server; see :meth:`Server.start`."""
        self.extra_body = {"ignore_eos": True}
        super().start(config)

    def name_of_model(self, config: ServerConfig) -> str:
        """The model's name in study.toml."""
        return config.model.name

    def answers(self) -> bool:
        """Whether /health says 200."""
        return status_of(f"{self.base_url}/health") == 200

    def identify(self) -> ServerIdentity:
        """Version, checkpoint and context as it says; data type and cores as its log says.

        Raises:
            ServerError: one of them is not what the arm says.
        """
        config = self._given()
        version = str(get_json(f"{self.base_url}/version").get("version"))
        if self.arm.version is not None:
            self._expect("version", version.partition("+")[0], self.arm.version)
        served = self._served()
        self._expect("context", served.get("max_model_len"), config.context_tokens)
        artefact = config.artefact
        if artefact is not None:
            self._expect("checkpoint", served.get("root"), str(artefact.path))
        return ServerIdentity(
            server="vllm", version=version, model=self.served_model,
            # It tells its folder and no checksum: the folder was just checked to be the artefact's.
            model_digest=artefact.sha256 if artefact else None,
            detail={"context_tokens": str(config.context_tokens)} | self._logged(),
        )  # fmt: skip

    def _served(self) -> dict[str, Any]:
        models = get_json(f"{self.base_url}/v1/models").get("data") or []
        for model in models:
            if model.get("id") == self.served_model:
                return dict(model)
        raise ServerError(f"vLLM serves {[model.get('id') for model in models]}", self.served_model)

    def _logged(self) -> dict[str, str]:
        """Data type, cores and size of the KV cache, which only its log tells."""
        config = self._given()
        log = config.log_path.read_text("utf-8", "replace")
        detail = {}
        if dtype := _DTYPE.search(log):
            detail["dtype"] = dtype.group(1)
            if self.arm.dtype not in (None, "auto"):
                self._expect("data type", dtype.group(1), self.arm.dtype)
        if cores := _OMP_CORES.search(log):
            detail["omp_cores"] = cores.group(1)
            if "VLLM_CPU_OMP_THREADS_BIND" not in self.arm.env:
                found = sorted(int(core) for core in cores.group(1).split(","))
                self._expect("cores", found, sorted(config.cores))
        if weights := _WEIGHTS_GIB.search(log):
            detail["weights_loaded_bytes"] = str(round(float(weights.group(1)) * 2**30))
        if kv := _KV_TOKENS.search(log):
            detail["kv_tokens"] = kv.group(1).replace(",", "")
            if self.arm.kv_tokens:
                self._expect("KV cache", int(detail["kv_tokens"]), self.arm.kv_tokens)
        return detail

    def metrics(self) -> dict[str, float]:
        """Requests at work and waiting, the KV cache, tokens; see :func:`read_vllm`."""
        return read_vllm(told(f"{self.base_url}/metrics"))
