"""vLLM onto this machine, in an environment of its own: its torch never meets the study's.

Not run here: the GPU's environment. Its pins were resolved for Linux on x86_64 with Python 3.11 and
hold the same versions of the shared packages as the CPU's, which was installed and measured.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from pathlib import Path

import pynvml
import uv

from heavyweight.errors import InstallFailed, NotInstalled, StudyError
from heavyweight.machine import gpus
from heavyweight.servers.base import Installed, Progress
from heavyweight.servers.installing import (
    find,
    only_one,
    record,
    say,
    sha256_of,
    step,
)

VERSION = "0.21.0"
FREE_BYTES = 10 << 30  # 6 GB of packages, and as much again in uv's cache on another disk
CUDA_DRIVER = 13000  # its wheel and its torch are built for CUDA 13.0

# Run by the new environment: what it is, said by itself. The server's own module is imported too,
# since `import vllm` alone succeeds where packages that the server needs are missing.
WHAT_IS_THERE = """
import importlib.metadata, json, platform, torch, vllm
import vllm.entrypoints.openai.api_server
print(json.dumps({"version": vllm.__version__, "torch": torch.__version__,
                  "transformers": importlib.metadata.version("transformers"),
                  "python": platform.python_version()}))
"""


def pins(device: str, version: str) -> Path:
    """The exact packages, with hashes, of the environment for `cpu` or `gpu`."""
    path = Path(__file__).with_name(f"vllm-{device}-{version}.txt")
    if not path.exists():
        raise NotInstalled(
            f"no pinned packages for vLLM {version} on a {device}",
            f"vLLM {VERSION}",
            f'write `version = "{VERSION}"` in study.toml, or pin that version in {path.name}',
        )
    return path


def install(version: str, progress: Progress) -> Installed:
    """Make the environment and run it for its version; a second call finds the first one's.

    An interrupted installation goes on from what uv has in its cache.

    Args:
        version: exactly this one.
        progress: gets a line for each step.

    Raises:
        NotInstalled: vLLM does not run on this system.
        InstallFailed: a step ended badly, or the result says another version.
    """
    device = "gpu" if gpus() else "cpu"
    packages = pins(device, version)
    with only_one("vllm", version, progress) as folder:
        digest = sha256_of(packages)
        try:
            installed = find("vllm", version)
            if installed.build.get("packages_sha256") == digest:
                progress(f"vLLM {version} is installed ({installed.build['device']})")
                return installed
        except StudyError:
            pass
        _check_system(device, folder)
        python = _environment(folder, packages, progress)
        progress("running it for its version")
        told = json.loads(say([python, "-c", WHAT_IS_THERE]).strip().splitlines()[-1])
        found = told.pop("version").partition("+")[0]
        if found != version:
            raise InstallFailed(f"the installed vLLM says version {found}", version, "")
        build = {"device": device, "packages": packages.name, "packages_sha256": digest, **told}
        progress(f"vLLM {version} is installed ({device})")
        return record(Installed("vllm", version, python, build))


def _check_system(device: str, folder: Path) -> None:
    """Refuse what cannot work before gigabytes are moved."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NotInstalled(
            f"vLLM is pinned for Linux on x86_64, and this is {sys.platform} {platform.machine()}",
            "",
            "measure a vLLM that you start yourself: the arm `openai` with --base-url",
        )
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES and not (folder / "venv").exists():
        raise InstallFailed(
            f"{free / 1e9:.1f} GB are free where vLLM would go",
            f"{FREE_BYTES / 1e9:.0f} GB",
            "free some space, or set HEAVYWEIGHT_CACHE to a folder on a larger disk",
        )
    if device == "gpu" and (cuda := _driver_cuda()) < CUDA_DRIVER:
        raise InstallFailed(
            f"the NVIDIA driver carries CUDA {cuda // 1000}.{cuda % 1000 // 10}",
            "CUDA 13.0 or later",
            "a machine with driver 580 or later",
        )


def _driver_cuda() -> int:
    """CUDA version of the driver, as 1000 x major + 10 x minor."""
    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    finally:
        pynvml.nvmlShutdown()


def _environment(folder: Path, packages: Path, progress: Progress) -> Path:
    """The environment's Python, with exactly the pinned packages."""
    tool, venv = uv.find_uv_bin(), folder / "venv"
    python = venv / "bin" / "python"
    log = folder / "install.log"
    log.unlink(missing_ok=True)
    step(
        "making an environment for vLLM",
        [tool, "venv", "--allow-existing", "--python", sys.executable, venv],
        log,
        progress,
    )
    step(
        "installing vLLM (6 GB; 3 minutes on a fast network)",
        [tool, "pip", "sync", "--require-hashes", "--python", python, packages],
        log,
        progress,
    )
    return python
