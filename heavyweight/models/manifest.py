"""What was prepared: the records of manifest.json."""

from __future__ import annotations

import re

from heavyweight.models.weights import WeightsCheck
from heavyweight.records import SCHEMA_VERSION, Record, unit


class FileEntry(Record):
    """One file of an artefact."""

    name: str = unit("name below the artefact's own path; the file itself for a GGUF")
    sha256: str = unit("its checksum")
    size_bytes: int = unit("its size", "bytes")
    mtime_ns: int = unit("when it was last changed: the checksum was computed after", "ns")


class Artefact(Record):
    """What one kind of server loads."""

    name: str = unit("gguf-q4, gguf-f16, checkpoint, checkpoint-awq or checkpoint-gptq")
    path: str = unit("file or folder, below the model's folder")
    sha256: str = unit("checksum of the file; of the list of names and checksums for a folder")
    size_bytes: int = unit("size of all files", "bytes")
    files: list[FileEntry] = unit("its files")
    dtypes: dict[str, int] = unit("format of the weights: number of tensors")
    made_from: str = unit("from what, and with which changes")
    made_utc: str = unit("when, ISO 8601")
    ollama_name: str | None = unit("name in the study's own Ollama folder", default=None)
    modelfile_sha256: str | None = unit("checksum of the Modelfile it was made by", default=None)


class Answer(Record):
    """One server's greedy answer."""

    server: str = unit("kind of server")
    version: str | None = unit("version of the server")
    artefact: str = unit("artefact that it loaded")
    artefact_sha256: str = unit("its checksum")
    text: str = unit("the answer")
    prompt_tokens: int = unit("as the server counted them", "tokens")
    completion_tokens: int = unit("as the server counted them", "tokens")
    finish_reason: str = unit("as the server said")

    def shown(self) -> str:
        """One line: token counts, and the text up to the first special token or line break."""
        first = re.split(r"<\|heavyweight_|\n", self.text.strip(), maxsplit=1)[0]
        return f"{self.prompt_tokens} + {self.completion_tokens}  {first}"


class GreedyAnswers(Record):
    """One question and what the servers answered, side by side."""

    question: str = unit("the user's message")
    output_tokens_asked: int = unit("max_tokens of the request", "tokens")
    answers: dict[str, Answer] = unit("arm: answer")


class Manifest(Record):
    """A model's artefacts: manifest.json."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    model: str = unit("name in study.toml")
    title: str = unit("name of the model")
    source: dict[str, str] = unit("where the weights come from", default_factory=dict)
    artefacts: dict[str, Artefact] = unit("what was prepared", default_factory=dict)
    weights: WeightsCheck | None = unit(
        "F16 GGUF against checkpoint; null: not both are there", default=None
    )
    answers: list[GreedyAnswers] = unit("greedy answers side by side", default_factory=list)

    def text(self) -> str:
        """What a reader wants to know, in lines."""
        source = ", ".join(self.source.get(key, "") for key in ("package", "repo", "revision"))
        lines = [f"{self.title} ({self.model}), weights from {source.strip(', ')}"]
        for one in self.artefacts.values():
            formats = ", ".join(f"{n} {name}" for name, n in sorted(one.dtypes.items()))
            lines += [
                f"  {one.name:<14} {one.size_bytes / 1e6:9.1f} MB  {one.sha256[:16]}  {formats}",
                f"  {'':<14} {one.made_from}",
            ]
        if self.weights:
            lines += ["same weights:", f"  {self.weights.text()}"]
        if self.answers:
            lines.append("greedy answers (tokens in + out as the server counted them):")
        for asked in self.answers:
            lines.append(f"  {asked.question}")
            lines += [f"    {arm:<20} {one.shown()}" for arm, one in asked.answers.items()]
        return "\n".join(lines)
