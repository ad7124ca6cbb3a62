"""Models: one set of weights, an artefact for each server, and the proof that they are the same."""

from heavyweight.models.artefacts import (
    ARTEFACTS,
    PreparedArtefact,
    artefact,
    artefacts_of,
    load_manifest,
)
from heavyweight.models.manifest import Manifest
from heavyweight.models.preparing import prepare
from heavyweight.models.sizes import disk_bytes, download_bytes
from heavyweight.models.templates import modelfile

__all__ = [
    "ARTEFACTS",
    "Manifest",
    "PreparedArtefact",
    "artefact",
    "artefacts_of",
    "disk_bytes",
    "download_bytes",
    "load_manifest",
    "modelfile",
    "prepare",
]
