"""A result file -> what it says: which tool wrote it, and that it is whole and of a likely size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from heavyweight.errors import BadInput
from heavyweight.importing import aiperf, guidellm, vllm_bench
from heavyweight.importing.told import Told
from heavyweight.records import TOOL_NAMES, Tool

MOST_BYTES = 512 << 20
HEAD_BYTES = 4096
MARKS: dict[Tool, tuple[bytes, ...]] = {
    "guidellm": (b'"guidellm_version"',),
    "vllm-bench": (b'"endpoint_type"', b'"tokenizer_id"'),
    "aiperf": (b'"x_request_id"', b'"benchmark_phase"'),
}
"""Fields that stand near the beginning of each tool's files, and of no other's."""


@dataclass(frozen=True)
class Found:
    """A result file that was read.

    Args:
        name: of the file, without its folder.
        sha256: its checksum.
        told: what it says.
    """

    name: str
    sha256: str
    told: Told


def read(path: Path, tool: Tool | None = None, most_bytes: int = MOST_BYTES) -> Found:
    """Read a result file.

    Args:
        path: the file.
        tool: that wrote it; None: it is guessed.
        most_bytes: that it may have.

    Raises:
        BadInput: it is not there, too large, cut off, or no result of the tool.
    """
    data, name = _bytes(path, most_bytes), path.name
    tool = tool or _guess(data, name)

    def sibling(other: str) -> bytes | None:
        beside = path.with_name(other)
        return _bytes(beside, most_bytes) if beside.is_file() and beside != path else None

    match tool:
        case "guidellm":
            told = guidellm.read(data, name)
        case "vllm-bench":
            told = vllm_bench.read(data, name)
        case "aiperf":
            told = aiperf.read(data, name, sibling)
    for place, load in enumerate(told.loads, 1):
        if not any(row["sent_ns"] is not None for row in load.rows):
            raise BadInput(
                f"load {place} of {name} has no request that was sent",
                "a result with requests", "import another file",
            )  # fmt: skip
    return Found(name, hashlib.sha256(data).hexdigest(), told)


def _bytes(path: Path, most_bytes: int) -> bytes:
    if not path.is_file():
        raise BadInput(f"no file {path.name}", "a result file of another tool", "check its name")
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise BadInput(
            f"cannot read {path.name}: {error.strerror}", "a readable file", "check its permissions"
        ) from error
    if len(data) > most_bytes:
        raise BadInput(
            f"{path.name} has more than {most_bytes >> 20} MiB", "a result file of at most that",
            "measure shorter, or in several files",
        )  # fmt: skip
    if not data.strip():
        raise BadInput(f"{path.name} is empty", "a result file of another tool", "copy it again")
    return data


def _guess(data: bytes, name: str) -> Tool:
    head = data[:HEAD_BYTES]
    fitting = [tool for tool, marks in MARKS.items() if all(mark in head for mark in marks)]
    if len(fitting) != 1:
        raise BadInput(
            f"which tool wrote {name} cannot be told",
            f"a result of {', '.join(TOOL_NAMES.values())}",
            f"say it: --as {', '.join(TOOL_NAMES)}",
        )  # fmt: skip
    return fitting[0]
