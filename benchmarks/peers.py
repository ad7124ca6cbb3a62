"""Other projects' load generators, each in an environment of its own below the study's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import uv

from heavyweight.errors import StudyError
from heavyweight.paths import cache_dir
from heavyweight.servers.install_vllm import VERSION as VLLM_VERSION
from heavyweight.servers.installing import find

TOKENIZER = "models/smollm2-135m/checkpoint"
# Not for AIPerf, which then takes the path of a tokenizer for a name.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

# Run in vLLM's environment: its benchmark's own command line, without the rest of its program.
VLLM_SERVE = """
from vllm.benchmarks import serve
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
serve.add_cli_args(parser)
serve.main(parser.parse_args())
"""


def tokenizer() -> Path:
    """The model that was prepared on this machine: the peers count its tokens."""
    return cache_dir() / TOKENIZER


@dataclass(frozen=True)
class Environment:
    """A package in an environment of its own.

    Args:
        package: its name.
        version: exactly this one.
    """

    package: str
    version: str

    @property
    def pins(self) -> Path:
        """Its exact packages, with hashes; `make lock` resolves them."""
        return Path(__file__).with_name(f"{self.package}-{self.version}.txt")

    @property
    def folder(self) -> Path:
        """Where it is installed."""
        return cache_dir() / "bench" / f"{self.package}-{self.version}"

    @property
    def program(self) -> Path:
        """Its command."""
        return self.folder / "bin" / self.package

    def missing(self) -> str | None:
        """Why it cannot be run."""
        if not (self.folder / "whole").exists():
            return f"{self.package} {self.version} is not installed: `make bench` installs it"
        return _no_tokenizer()

    def install(self) -> None:
        """Make the environment.

        Raises:
            StudyError: it cannot be made; the last lines are in the message.
        """
        if (self.folder / "whole").exists():
            return
        print(f"installing {self.package} {self.version} ...", file=sys.stderr, flush=True)
        tool = uv.find_uv_bin()
        _step([tool, "venv", "--allow-existing", "--python", sys.executable, str(self.folder)])
        python = str(self.folder / "bin" / "python")
        _step([tool, "pip", "sync", "--require-hashes", "--python", python, str(self.pins)])
        (self.folder / "whole").touch()


def _step(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "VIRTUAL_ENV": ""},
    )  # fmt: skip
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise StudyError(f"{command[1]} ended with status {done.returncode}: {last}")


def _no_tokenizer() -> str | None:
    if not (tokenizer() / "tokenizer.json").exists():
        return f"no {TOKENIZER} in the cache: `heavyweight models prepare` makes it"
    return None


GUIDELLM = Environment("guidellm", "0.8.1")
AIPERF = Environment("aiperf", "0.13.0")
VERSIONS = {
    "aiohttp": version("aiohttp"), "uvloop": version("uvloop"), "vllm": VLLM_VERSION,
    "guidellm": GUIDELLM.version, "aiperf": AIPERF.version,
}  # fmt: skip


def vllm_python() -> Path:
    """The Python of the environment that the study installed for the server.

    Raises:
        NotInstalled: there is none.
    """
    return find("vllm", VLLM_VERSION).path


def vllm_missing() -> str | None:
    """Why vLLM's benchmark cannot be run."""
    try:
        vllm_python()
    except StudyError as error:
        return str(error)
    return _no_tokenizer()
