"""What this machine is, without any name of it or of its users."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from heavyweight.records import Machine
from heavyweight.telemetry import nvml

# Instruction sets that decide which matrix kernels the two servers can use.
FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16",
)  # fmt: skip

# Packages through which every row passes, from the socket to a printed number.
PACKAGES = (
    "heavyweight", "aiohttp", "uvloop", "psutil", "pyarrow", "numpy", "pandas", "scipy", "gguf",
    "papermill",
)  # fmt: skip

GIB = 2**30
LOCK = Path(__file__).parents[1] / "requirements.lock"
CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


def _read(path: Path) -> str | None:
    """Text of a file of the kernel's, or None where there is none to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _sysctl(name: str) -> str | None:
    """A value of macOS's sysctl, or None."""
    try:
        done = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def cpu_info() -> tuple[str, list[str]]:
    """Model of the processor and all instruction sets that it names."""
    lines = [line.partition(":") for line in (_read(CPUINFO) or "").splitlines()]
    fields: dict[str, str] = {}
    for key, _, value in lines:
        fields.setdefault(key.strip().lower(), value.strip())
    model = (
        fields.get("model name")
        or fields.get("hardware")
        or _sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine()
    )
    return model, (fields.get("flags") or fields.get("features") or "").split()


def usable_cores() -> list[int]:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def memory_bytes() -> int:
    """Memory that can be used: the machine's, or a container's limit where that is lower."""
    total = int(psutil.virtual_memory().total)
    limit = _read(MEMORY_LIMIT) or "max"
    return min(total, int(limit)) if limit.isdigit() else total


def gpus() -> list[dict[str, str]]:
    """Name, memory in bytes and driver of each NVIDIA GPU; empty where there is none."""
    return nvml.describe()[0]


def gpu_state() -> str:
    """Why no NVIDIA GPU can be used, in words; empty where one can."""
    return nvml.describe()[1]


def governor() -> str | None:
    """CPU frequency governor of the first processor; None where it cannot be read."""
    return _read(GOVERNOR)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def installed_packages() -> dict[str, str]:
    """Name, as packages are compared, and version of all that is installed beside this one."""
    return {canonicalize_name(one.name): one.version for one in metadata.distributions()}


def as_locked(lock: Path, installed: Mapping[str, str]) -> bool | None:
    """Whether all packages that a lock asks for here are installed in its versions.

    Args:
        lock: a file of requirements, each with its hashes.
        installed: as of :func:`installed_packages`; what the lock does not name does not count.

    Returns:
        None where there is no such file.
    """
    text = _read(lock)
    if text is None:
        return None
    asked = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if line[:1].isalnum()]
    return all(
        one.specifier.contains(installed.get(canonicalize_name(one.name), "0"), prereleases=True)
        for one in asked
        if one.marker is None or one.marker.evaluate()
    )


def machine_id(
    cpu_model: str, cpu_flags: list[str], cpus: int, memory: int, gpu_list: list[dict[str, str]]
) -> str:
    """Hash that tells machines apart and survives a restart of the same one.

    Args:
        cpu_model: processor; on a virtual machine often the name of a family only.
        cpu_flags: its instruction sets of :data:`FLAGS`: two of one name may differ in speed by a
            factor of twenty.
        cpus: logical processors.
        memory: bytes; rounded to GiB, since kernels reserve a little more or less at each boot.
        gpu_list: as of :func:`gpus`; only names count, drivers change.
    """
    names = sorted(gpu["name"] for gpu in gpu_list)
    parts = [cpu_model, *sorted(cpu_flags), str(cpus), str(round(memory / GIB)), *names]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def describe() -> Machine:
    """Describe this machine as it is usable by this process."""
    model, flags = cpu_info()
    known = [flag for flag in FLAGS if flag in flags]
    cpus, memory, found = len(usable_cores()), memory_bytes(), gpus()
    installed = installed_packages()
    lines = "\n".join(f"{name}=={version}" for name, version in sorted(installed.items()))
    return Machine(
        machine_id=machine_id(model, known, cpus, memory, found),
        cpu_model=model,
        cpus=cpus,
        cpu_flags=known,
        memory_bytes=memory,
        gpus=found,
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        governor=governor(),
        virtual="hypervisor" in flags,
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        packages_sha256=hashlib.sha256(lines.encode()).hexdigest(),
        as_locked=as_locked(LOCK, installed),
    )
