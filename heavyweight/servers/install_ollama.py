"""Ollama onto this machine: found on PATH, from its own release, or built from its Go module."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from heavyweight.errors import InstallFailed, NotInstalled, ServerError, StudyError
from heavyweight.machine import gpus
from heavyweight.servers import ollama_release
from heavyweight.servers.base import Installed, Progress
from heavyweight.servers.installing import (
    find,
    folder_of,
    only_one,
    processor,
    record,
    say,
    sha256_of,
    step,
)

VERSION = "0.24.0"
MODULE = "github.com/ollama/ollama"
MINIAUDIO = "github.com/gen2brain/malgo@v0.11.24"

# A Go module leaves out every folder called vendor, and with it three header-only libraries.
DEBIAN_HEADERS = {"nlohmann/json.hpp": "nlohmann-json3-dev", "stb/stb_image.h": "libstb-dev"}

# The kernels that Ollama's releases choose at run time need no AMX, and the Go module leaves out
# the folder that holds them: with AMX on, the link fails for ggml_backend_amx_buffer_type.
WITHOUT_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")


def install(version: str, progress: Progress) -> Installed:
    """Find or make Ollama and run it for its version; a second call finds the first one's.

    Args:
        version: exactly this one.
        progress: gets a line for each step.

    Raises:
        NotInstalled: a compiler or header that the build needs is missing.
        InstallFailed: a step ended badly, or the result says another version.
    """
    with only_one("ollama", version, progress) as folder:
        try:
            installed = find("ollama", version)
            if version_of(installed.path) == version:
                progress(f"Ollama {version} is installed ({installed.build['source']})")
                return installed
        except StudyError:
            pass  # not there, or no longer what was recorded
        installed = (
            _on_path(version, progress)
            or _released(version, folder, progress)
            or _built(version, folder, progress)
        )
        found = version_of(installed.path)
        if found != version:
            raise InstallFailed(f"the installed Ollama says version {found}", version, "")
        progress(f"Ollama {version} is installed ({installed.build['source']})")
        return record(installed)


def version_of(program: Path) -> str | None:
    """Version that an `ollama` program says; None if it says none.

    Raises:
        ServerError: it cannot be run.
    """
    said = re.findall(r"version (?:is )?v?(\d+\.\d+\.\d+\S*)", say([program, "--version"], 60.0))
    # Where a server runs the first line is the server's version, the last one the program's.
    return said[-1] if said else None


def _on_path(version: str, progress: Progress) -> Installed | None:
    """The user's own Ollama, if it is of the right version."""
    found = shutil.which("ollama")
    if found is None:
        return None
    try:
        theirs = version_of(Path(found))
    except ServerError as error:
        progress(f"the Ollama on PATH is not used: {error.found.splitlines()[0]}")
        return None
    if theirs != version:
        progress(f"the Ollama on PATH is version {theirs}, not {version}: it is not used")
        return None
    return Installed("ollama", version, Path(found).resolve(), _build("on PATH", Path(found)))


def _released(version: str, folder: Path, progress: Progress) -> Installed | None:
    """Ollama's own release; None with one line to the user if it cannot be had."""
    try:
        program, archive_sha256 = ollama_release.fetch(version, folder, progress)
    except (OSError, InstallFailed) as error:
        progress(f"Ollama's own release cannot be had ({error}): building it from its Go module")
        return None
    build = _build("Ollama's release", program) | {"archive_sha256": archive_sha256}
    return Installed("ollama", version, program, build)


def _built(version: str, folder: Path, progress: Progress) -> Installed:
    """A build from the Go module, for the processor of this machine."""
    for tool, what in (("go", "Go 1.26 or later"), ("gcc", "gcc"), ("g++", "g++")):
        if shutil.which(tool) is None:
            raise NotInstalled(
                f"{tool} is not on PATH, and Ollama must be built here",
                what,
                f"install {what}, or Ollama {version} itself (its own site, or conda-forge)",
            )
    if gpus():
        raise NotInstalled(
            f"no Ollama {version} on PATH or from its release, and a build here has no GPU code",
            f"Ollama {version} with CUDA beside vLLM with CUDA",
            f"conda install -c conda-forge ollama={version}, or Ollama's own release on PATH",
        )
    headers = _headers(folder / "headers", progress)
    flags = " ".join(("-O3", *_processor_flags()))
    linker = f"-X={MODULE}/version.Version={version}"
    command = ["go", "install", "-ldflags", linker, f"{MODULE}@v{version}"]
    env = {
        "GOBIN": str(folder / "bin"),
        "CGO_ENABLED": "1",
        "CGO_CFLAGS": flags,
        "CGO_CXXFLAGS": f"{flags} -I{headers}",
    }
    what = f"building Ollama {version} from its Go module (3 to 5 minutes on 2 cores)"
    step(what, command, folder / "build.log", progress, env)
    program = folder / "bin" / "ollama"
    build = _build("Go module", program) | {
        "flags": flags,
        "ldflags": linker,
        "go": say(["go", "version"]).strip(),
        "compiler": say(["gcc", "--version"]).splitlines()[0],
        "processor": processor(),
    }
    return Installed("ollama", version, program, build)


def _processor_flags() -> list[str]:
    """Flags of a build for this processor; plain SSE2 kernels would be five times slower."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ["-mcpu=native"]
    macros = subprocess.run(
        ["gcc", "-march=native", "-dM", "-E", "-x", "c", os.devnull],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return ["-march=native", *(WITHOUT_AMX if "__AMX_" in macros else ())]


def _headers(folder: Path, progress: Progress) -> Path:
    """A folder with the three libraries that the Go module leaves out."""
    for header, package in DEBIAN_HEADERS.items():
        if not (folder / header).exists():
            link = folder / Path(header).parts[0]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(_system_header(header) or _debian_header(header, package, progress))
    miniaudio = folder / "miniaudio" / "miniaudio.h"
    if not miniaudio.exists():
        module = json.loads(say(["go", "mod", "download", "-json", MINIAUDIO]))
        miniaudio.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(module["Dir"]) / "miniaudio.h", miniaudio)
    return folder


def _system_header(header: str) -> Path | None:
    """Folder of a library that is installed on the system or in a conda environment."""
    prefixes = (sys.prefix, os.environ.get("CONDA_PREFIX", ""), "/usr", "/usr/local")
    for prefix in filter(None, prefixes):
        if (path := Path(prefix) / "include" / header).exists():
            return path.parent
    return None


def _debian_header(header: str, package: str, progress: Progress) -> Path:
    """The same from a Debian package, downloaded and unpacked without root."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotInstalled(
            f"{header} is missing, and Ollama must be built here",
            f"the headers of {' and '.join(DEBIAN_HEADERS.values())}",
            "install them by your package manager (nlohmann-json and stb), or Ollama itself",
        )
    folder = folder_of("headers", package)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "unpack.log"
    # apt-get downloads into the working directory only.
    download = ["sh", "-c", 'cd "$0" && exec apt-get download "$1"', str(folder), package]
    try:
        step(f"fetching {package}", download, log, progress)
    except InstallFailed:
        if os.geteuid() != 0:
            raise InstallFailed(
                f"the Debian package {package} cannot be downloaded",
                "package lists on this machine",
                f"sudo apt-get update, or sudo apt-get install {package}",
            ) from None
        step("fetching the package lists", ["apt-get", "update"], log, progress)
        step(f"fetching {package}", download, log, progress)
    archive = max(folder.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
    step(f"unpacking {package}", ["dpkg-deb", "-x", str(archive), str(folder)], log, progress)
    return (folder / "usr" / "include" / header).parent


def _build(source: str, program: Path) -> dict[str, str]:
    return {"source": source, "sha256": sha256_of(program)}
