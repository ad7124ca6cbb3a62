"""Models: one set of weights, an artefact for each server, and the proof that they are the same."""

from heavyweight.models.artefacts import ARTEFACTS, PreparedArtefact, artefact, load_manifest
from heavyweight.models.manifest import Manifest
from heavyweight.models.preparing import prepare
from heavyweight.models.templates import modelfile

__all__ = [
    "ARTEFACTS",
    "Manifest",
    "PreparedArtefact",
    "artefact",
    "load_manifest",
    "modelfile",
    "prepare",
]
