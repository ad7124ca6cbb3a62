"""Artefacts on disk: their checksums, what is wrong with them, and how a server finds its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from heavyweight.design import QUANTISED, Model
from heavyweight.errors import BadInput, NotInstalled, StoreError
from heavyweight.models.manifest import Artefact, FileEntry, Manifest
from heavyweight.paths import cache_dir
from heavyweight.servers.installing import sha256_of
from heavyweight.store import read_json, write_json

MANIFEST = "manifest.json"
GGUF_Q4, GGUF_F16, CHECKPOINT, NONE = "gguf-q4", "gguf-f16", "checkpoint", "none"
ARTEFACTS = (GGUF_Q4, GGUF_F16, CHECKPOINT)  # of every model
ALL_ARTEFACTS = (*ARTEFACTS, *QUANTISED)
REMEDY = "heavyweight models prepare"


@dataclass(frozen=True)
class PreparedArtefact:
    """What a server is given to load.

    Attributes:
        name: one of :data:`ALL_ARTEFACTS`.
        path: the GGUF file, or the folder of the checkpoint.
        sha256: its checksum, as in :class:`Artefact`.
        size_bytes: of all its files.
        ollama_name: name in the study's own Ollama folder; None for a checkpoint.
        dtypes: format of the weights: number of tensors.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    ollama_name: str | None
    dtypes: dict[str, int]


def artefacts_of(model: Model) -> list[str]:
    """All artefacts that a model can have."""
    return [*ARTEFACTS, *(name for name, repo in model.quantised.items() if repo)]


def model_folder(model: Model) -> Path:
    """Folder of a model's artefacts; not created."""
    return cache_dir() / "models" / model.name


def read_manifest(path: Path) -> Manifest | None:
    """A manifest; None if there is none, or it is cut off or of another schema."""
    try:
        return read_json(path, Manifest)
    except StoreError:
        return None


def load_manifest(model: Model) -> Manifest:
    """The model's manifest; an empty one if nothing was prepared, or it cannot be read."""
    known = read_manifest(model_folder(model) / MANIFEST)
    return known or Manifest(model=model.name, title=model.title)


def save_manifest(model: Model, manifest: Manifest) -> Manifest:
    """Write the manifest beside the artefacts."""
    write_json(model_folder(model) / MANIFEST, manifest)
    return manifest


def describe_artefact(name: str, path: Path, dtypes: dict[str, int], made_from: str) -> Artefact:
    """Describe an artefact that was just made: read it once for its checksums.

    Args:
        name: one of :data:`ALL_ARTEFACTS`.
        path: file or folder, directly in the model's folder.
        dtypes: format of the weights: number of tensors.
        made_from: from what, and with which changes.
    """
    files = []
    for file in _files(path):
        status = file.stat()
        files.append(
            FileEntry(
                name=_name_in(path, file),
                sha256=sha256_of(file),
                size_bytes=status.st_size,
                mtime_ns=status.st_mtime_ns,
            )
        )
    return Artefact(
        name=name,
        path=path.name,
        sha256=combined_sha256(files) if path.is_dir() else files[0].sha256,
        size_bytes=sum(file.size_bytes for file in files),
        files=files,
        dtypes=dtypes,
        made_from=made_from,
        made_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def combined_sha256(files: list[FileEntry]) -> str:
    """Checksum of a folder: of the lines that `sha256sum` prints for its files, by name."""
    lines = sorted(f"{file.sha256}  {file.name}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path]


def _name_in(path: Path, file: Path) -> str:
    return file.relative_to(path).as_posix() if file != path else file.name


def damage(folder: Path, artefact: Artefact, read: bool) -> str | None:
    """What is wrong with an artefact on disk; None if it is whole.

    Args:
        folder: the model's folder.
        artefact: as it was described when it was made.
        read: compute checksums. Otherwise files of the same size and time count as unchanged: to
            read them just before a start would warm the page cache and shorten the cold start.
    """
    path = folder / artefact.path
    for file in artefact.files:
        place = path / file.name if path.is_dir() else path
        try:
            status = place.stat()
        except OSError:
            return f"{file.name} is missing"
        if status.st_size != file.size_bytes:
            return f"{file.name} has {status.st_size} bytes instead of {file.size_bytes}"
        if (read or status.st_mtime_ns != file.mtime_ns) and sha256_of(place) != file.sha256:
            return f"{file.name} has another checksum"
    known = {file.name for file in artefact.files}
    strangers = {_name_in(path, file) for file in _files(path)} - known
    return f"unknown files: {', '.join(sorted(strangers))}" if strangers else None


def artefact(model: Model, name: str) -> PreparedArtefact | None:
    """What a server of this model is given to load; None for "none".

    Raises:
        BadInput: no such kind of artefact.
        NotInstalled: it was not prepared, or is damaged.
    """
    if name == NONE:
        return None
    check_names(model, [name])
    entry = load_manifest(model).artefacts.get(name)
    if entry is None:
        raise NotInstalled(f"{name} of {model.name} was not prepared", "", REMEDY)
    if wrong := damage(model_folder(model), entry, read=False):
        raise NotInstalled(f"{name} of {model.name} is damaged: {wrong}", "", REMEDY)
    if name in (GGUF_Q4, GGUF_F16) and entry.ollama_name is None:
        raise NotInstalled(f"Ollama does not know {name} of {model.name} yet", "", REMEDY)
    return PreparedArtefact(
        name=name,
        path=model_folder(model) / entry.path,
        sha256=entry.sha256,
        size_bytes=entry.size_bytes,
        ollama_name=entry.ollama_name,
        dtypes=entry.dtypes,
    )


def check_names(model: Model, names: list[str]) -> None:
    """Refuse artefacts that there are not.

    Raises:
        BadInput: an unknown name, a model without weights, or without those that are quantised so.
    """
    unknown = [name for name in names if name not in ALL_ARTEFACTS]
    if unknown:
        raise BadInput(f"unknown artefact {unknown[0]!r}", f"one of {', '.join(ALL_ARTEFACTS)}")
    if names and model.source == NONE:
        raise BadInput(f"model {model.name} has no weights", "a model with a source in study.toml")
    for name in names:
        if (repo := QUANTISED.get(name)) and model.quantised[name] is None:
            raise BadInput(
                f"model {model.name} has no {name}",
                f"{repo} in study.toml",
                "leave that artefact out, or name the repository of these weights",
            )
