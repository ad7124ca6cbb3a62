"""Ollama is given the weights once, as they are, by a server that is stopped afterwards."""

import sys
from pathlib import Path

import psutil
import pytest

from heavyweight.design import load_study
from heavyweight.errors import InstallFailed, NotInstalled, SessionBusy, StudyError
from heavyweight.models import artefacts, ollama_models
from heavyweight.models.artefacts import describe_artefact
from heavyweight.paths import cache_dir, study_root
from heavyweight.servers import installing
from heavyweight.servers.base import Installed
from heavyweight.servers.lock import SessionLock
from tests.models import tiny

ARM = load_study(study_root(Path(__file__)) / "study.toml").arm("ollama-q4")

# What the study sees of Ollama: it answers, and `create` keeps a file under its checksum.
PROGRAM = """
import hashlib, json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

models = Path(os.environ["OLLAMA_MODELS"])
host, port = os.environ["OLLAMA_HOST"].split(":")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"version": "0.24.0"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def create(name, modelfile):
    lines = Path(modelfile).read_text().splitlines()
    data = Path(lines[0].removeprefix("FROM ")).read_bytes()
    if "BROKEN" in os.environ["PATH"]:
        data += b"changed"
    digest = hashlib.sha256(data).hexdigest()
    (models / "blobs").mkdir(parents=True, exist_ok=True)
    (models / "blobs" / f"sha256-{digest}").write_bytes(data)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}",
             "size": len(data)}
    place = models / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"layers": [{"mediaType": "other"}, layer]}))


if sys.argv[1] == "serve":
    HTTPServer((host, int(port)), Answer).serve_forever()
create(sys.argv[2], sys.argv[4])
"""


@pytest.fixture
def gguf(tmp_path, monkeypatch):
    """An artefact, and a program that stands for Ollama."""
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path))
    folder = artefacts.model_folder(tiny.MODEL)
    folder.mkdir(parents=True)
    (folder / "tiny-q4.gguf").write_bytes(b"weights" * 100)
    program = tmp_path / "ollama"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o755)
    installing.record(Installed("ollama", ARM.version, program, {"source": "test"}))
    return describe_artefact("gguf-q4", folder / "tiny-q4.gguf", {"Q4_1": 1}, "nothing")


def ensure(entry, lines=None):
    progress = (lambda line: None) if lines is None else lines.append
    return ollama_models.ensure(tiny.MODEL, entry, ARM, progress)


def kept():
    return ollama_models.weights_in(cache_dir() / "ollama-models", "tiny-q4")


def servers_left():
    mine = psutil.Process().children(recursive=True)
    return [p for p in mine if "serve" in p.cmdline()]


def test_the_weights_are_kept_as_they_are_and_the_server_is_stopped(gguf):
    lines = []
    known = ensure(gguf, lines)
    assert known.ollama_name == "tiny-q4"
    assert kept() == gguf.sha256
    assert len(lines) == 1
    assert servers_left() == []
    with SessionLock():
        pass  # the machine is free again


def test_what_is_known_is_not_given_again(gguf, monkeypatch):
    known = ensure(gguf)
    monkeypatch.setattr(ollama_models.OllamaServer, "start", lambda *a: pytest.fail("started"))
    lines = []
    assert ensure(known, lines) == known
    assert lines == []


@pytest.mark.parametrize("lost", ["blob", "manifest", "modelfile"])
def test_what_was_lost_or_changed_is_given_again(gguf, lost):
    known = ensure(gguf)
    folder = cache_dir() / "ollama-models"
    if lost == "blob":
        (folder / "blobs" / f"sha256-{gguf.sha256}").write_bytes(b"cut off")
    elif lost == "manifest":
        next(folder.rglob("latest")).write_text("{")
    else:
        known = known.model_copy(update={"modelfile_sha256": "of another template"})
    lines = []
    assert ensure(known, lines) == ensure(gguf)
    assert kept() == gguf.sha256
    assert lines


def test_weights_that_ollama_changed_are_an_error(gguf, monkeypatch):
    monkeypatch.setenv("PATH", "BROKEN")
    with pytest.raises(InstallFailed, match=f"Expected: {gguf.sha256}"):
        ensure(gguf)
    assert servers_left() == []


def test_a_create_that_fails_stops_the_server(gguf):
    (artefacts.model_folder(tiny.MODEL) / "tiny-q4.gguf").unlink()
    with pytest.raises(InstallFailed, match="FileNotFoundError"):
        ensure(gguf)
    assert servers_left() == []


def test_nothing_is_started_while_a_session_measures(gguf, tmp_path):
    with SessionLock(), pytest.raises(SessionBusy):
        ensure(gguf)


def test_without_ollama_the_remedy_is_told(gguf):
    installing.folder_of("ollama", ARM.version).joinpath(installing.RECORD).unlink()
    with pytest.raises(NotInstalled, match="servers install ollama"):
        ensure(gguf)


def test_an_ollama_folder_that_is_not_there_knows_nothing(tmp_path):
    assert ollama_models.weights_in(tmp_path / "none", "tiny-q4") is None


def test_a_server_that_dies_is_told_with_its_log(gguf, tmp_path):
    (tmp_path / "ollama").write_text(f"#!{sys.executable}\nimport sys; sys.exit('no such CPU')")
    with pytest.raises(StudyError, match="no such CPU"):
        ensure(gguf)
