"""The experiment memory: what a server takes when it is ready, when it has loaded, and at work.

What one session sees at these moments is a probe each, on disk at once:

- ``memory-ready``: the server answers, and was asked for no token yet;
- ``memory-loaded``: after its first answer; Ollama loads the model for that;
- ``memory-n0008``: the highest while 8 users are served, and what is left at the load's end;
- ``kv-cache``: equal streams in flight, and how much of the KV cache is assigned and used.

The highest is sampled twice a second (:class:`heavyweight.experiments.footprint.Watch`); the
kernel's own highest RSS of each process stands beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from heavyweight import design, store, workload
from heavyweight.design import Load
from heavyweight.errors import BadInput, ServerError
from heavyweight.experiments import kv_cache, kv_probe
from heavyweight.experiments.footprint import Footprint, Watch, vram_used_bytes
from heavyweight.experiments.kv_cache import Reserved
from heavyweight.parameters import Parameters
from heavyweight.paths import scrub
from heavyweight.servers import ManagedProcess
from heavyweight.servers.asking import get_text
from heavyweight.session import Session, write_probe
from heavyweight.setting import Setting
from heavyweight.workload import RESERVED

READY, LOADED, KV = "memory-ready", "memory-loaded", "kv-cache"
IS_MORE = "Does the server take more memory than its weights alone?"
STREAMS = 8  # of the KV cache's probe, where the server works on as many at once
MB = 1e6

Row = dict[str, float | int | str | bool | None]


class Memory(Session):
    """One server's memory from its start to its loads; see :class:`Session`."""

    experiments: ClassVar[frozenset[str]] = frozenset({"memory"})

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        if not self.setting.arm.started:
            raise BadInput(
                f"arm {self.setting.arm.name!r}: the study does not start that server",
                "an arm whose processes can be looked at",
                "choose an arm of Ollama or vLLM",
            )
        self._vram_before_bytes: int | None = None
        self._start_id = 0

    @property
    def planned(self) -> Sequence[object]:
        """The moments, and the loads between them."""
        return [READY, LOADED, *self.setting.loads, KV]

    @property
    def missing(self) -> Sequence[object]:
        """Moments and loads that are still to be looked at."""
        there, left = self._there(), self.missing_loads
        return [
            one for one in self.planned
            if (one in left if isinstance(one, Load) else one not in there)
        ]  # fmt: skip

    @property
    def missing_loads(self) -> list[Load]:
        """Loads without a cell, or whose memory was not seen."""
        there, unmeasured = self._there(), super().missing_loads
        return [one for one in self.setting.loads if one in unmeasured or _name(one) not in there]

    def _there(self) -> set[str]:
        return {probe.probe for probe in store.SessionFolder(self.path).probes()}

    def measure(self) -> pd.DataFrame:
        """Measure the loads and watch the memory; then look into the KV cache.

        Returns:
            One row a moment: what the server took.
        """
        super().measure()
        with self._told():
            if KV not in self._there():
                self.revive()
                self.progress.phase("streams for the KV cache")
                self._look_into_kv_cache()
                self.progress.cell_done()
        return self.summary()

    def summary(self) -> pd.DataFrame:
        """What was seen, in MB (10^6); analysis/memory.ipynb computes what it means."""
        rows = [
            {
                "moment": probe.probe,
                "reading": row["reading"],
                **{
                    name.replace("_bytes", "_MB"): _mb(row[name])
                    for name in ("pss_bytes", "rss_bytes", "private_bytes", "vram_bytes")
                },
                "processes": row["processes"],
            }
            for probe in store.SessionFolder(self.path).probes()
            if probe.probe != KV
            for row in probe.trials
        ]
        return pd.DataFrame(rows)

    def _start_server(self, arm: design.Arm | None = None) -> None:
        """Start the server as every session does, and look before and after its first token."""
        self._vram_before_bytes = vram_used_bytes()
        self._start_id = len(self.record.starts) + 1
        super()._start_server(arm)
        self._look(LOADED)

    def _when_ready(self) -> None:
        self._look(READY)

    def _look(self, name: str) -> None:
        """Write down what the server takes now, if that moment was not seen yet."""
        if name not in self._there():
            reserved = None if name == READY else self._reserved()
            self._write_memory(name, {"now": self._footprint()}, reserved)
            self.progress.cell_done()

    def _measure(self, one: Load, folder: Path) -> Path:
        """Measure a load and watch the memory; again, for its memory alone, if its cell is there.

        A session that is interrupted between the two has the one and not the other.
        """
        measured = self.setting.cell_id(one) in self.finished()
        reserved = self._reserved()  # before: a server that dies under the load cannot be asked
        watch = Watch(self._process.pgid, self._vram_before_bytes)
        with tempfile.TemporaryDirectory(prefix="heavyweight-") as aside:
            with watch:
                path = super()._measure(one, Path(aside) if measured else folder)
            seen = {"peak": watch.peak, "now": self._footprint()}
        more: Row = {
            "users": one.users, "cell_id": self.setting.cell_id(one), "samples": watch.samples,
            "sampling_cpu_ms": round(watch.cost_s * 1e3, 1),
        }  # fmt: skip
        self._write_memory(_name(one), seen, reserved, more)
        return path

    @property
    def _process(self) -> ManagedProcess:
        if self.server.process is None:
            raise ServerError("the server was not started", "start() first")
        return self.server.process

    def _footprint(self) -> Footprint:
        return Footprint.of(self._process.pgid, self._vram_before_bytes)

    def _write_memory(
        self, name: str, seen: dict[str, Footprint], reserved: Reserved | None,
        more: Row | None = None,
    ) -> None:  # fmt: skip
        """One probe of memory; its value is the peak, where there is one."""
        weights = _weights_bytes(self.setting)
        taken = next(iter(seen.values())).taken_bytes
        parts: Row = {
            "users": 0,
            "weights_bytes": weights,
            "kv_reserved_tokens": reserved.tokens if reserved else None,
            "kv_reserved_bytes": reserved.told_bytes if reserved else None,
            **(more or {}),
        }
        above = None if weights is None or taken is None else taken > weights
        self._write(
            name,
            IS_MORE,
            answer="unknown" if above is None else "yes" if above else "no",
            yes=int(bool(above)),
            trials=[{"reading": reading, **parts, **asdict(of)} for reading, of in seen.items()],
            value=None if taken is None else float(taken),
            value_unit="bytes",
            why=("what is taken was not told" if taken is None else f"{taken / MB:.0f} MB taken")
            + "; weights "
            + ("of unknown size" if weights is None else f"of {weights / MB:.0f} MB"),
        )

    def _reserved(self) -> Reserved | None:
        """What the server reserved of KV cache; None where vLLM does not tell."""
        arm = self.setting.arm
        manner = arm.emulate.api if arm.emulate else arm.server
        if manner == "vllm":
            return kv_cache.of_vllm(self._metrics())
        log = self._process.log_path.read_text(encoding="utf-8", errors="replace")
        return kv_cache.of_ollama(log, arm.slots or 1, self.setting.study.same.context_tokens)

    def _metrics(self) -> str:
        return get_text(f"{self.server.base_url}/metrics")

    def _look_into_kv_cache(self) -> None:
        """Equal streams at once, as many as the server works on, and what it assigns to them."""
        setting = self.setting
        prompts = [
            workload.prompt(setting.study.seed, setting.parameters.block, users=0,
                            index=RESERVED["kv_cache"][stream],
                            prompt_tokens=setting.study.same.prompt_tokens)
            for stream in range(min(setting.arm.slots or 1, STREAMS))
        ]  # fmt: skip
        try:
            seen = kv_probe.ask(self.server, prompts, self._reserved(), self._metrics)
        except ServerError as error:
            seen = {"answer": "unknown", "why": scrub(str(error))}
        self._write(KV, kv_probe.QUESTION, **seen)

    def _write(self, name: str, question: str, **seen: Any) -> None:
        write_probe(self.path, self.record, name, question, start_id=self._start_id, **seen)


def _name(load: Load) -> str:
    """Name of the probe of a load's memory."""
    return f"memory-n{load.users:04d}" + (f"-{load.place}" if load.place else "")


def _weights_bytes(setting: Setting) -> int | None:
    """Size of the weights' files; None: the arm loads none."""
    if setting.artefact is None:
        return None
    path = setting.artefact.path
    files = list(path.glob("*.safetensors")) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) or setting.artefact.size_bytes


def _mb(count: Any) -> int | None:
    return None if count is None else round(count / MB)
