"""Where data come from that this study did not measure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from heavyweight.records.base import Record, unit

Tool = Literal["guidellm", "vllm-bench", "aiperf"]
TOOL_NAMES: dict[Tool, str] = {
    "guidellm": "GuideLLM", "vllm-bench": "vllm bench", "aiperf": "AIPerf",
}  # fmt: skip


class Imported(Record):
    """The result file of another tool that a session was read from; it supports no verdict."""

    tool: Tool = unit("which tool wrote the file")
    version: str | None = unit("its version; null: the file does not tell", default=None)
    file: str = unit("name of the file, without its folder")
    sha256: str = unit("its checksum")
    beside: dict[str, str] = unit(
        "other files of the tool that were read with it: name and checksum", default_factory=dict
    )
    said: dict[str, str] = unit(
        "what no file tells and who imported it said: option and value", default_factory=dict
    )
    missing: dict[str, str] = unit(
        "what these files do not tell: what follows from that", default_factory=dict
    )
    otherwise: dict[str, str] = unit(
        "field: how it differs from what this dictionary says of it",
        default_factory=dict,
    )

    @property
    def source(self) -> str:
        """The tool and its version, in words."""
        return f"{TOOL_NAMES[self.tool]} {self.version or '(version not told)'}"


def imported_from(records: Iterable[Imported]) -> str:
    """What stands beside all that is said of imported data; empty where none is imported."""
    sources = sorted({record.source for record in records})
    return f"IMPORTED from {', '.join(sources)}: supports no verdict." if sources else ""
