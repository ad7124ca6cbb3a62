"""The doctor says what is here and what to do, and breaks on nothing."""

import socket
import sys
from pathlib import Path

import pytest

from heavyweight import doctor, machine
from heavyweight.doctor import examine
from heavyweight.models import artefacts
from heavyweight.models.manifest import Artefact
from heavyweight.servers import install_ollama, installing
from heavyweight.servers.base import Installed
from tests.models import tiny


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """A machine with nothing on PATH and an empty cache."""
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda interval: 10.0)
    return tmp_path / "bin"


def program(folder, name, prints, status=0):
    path = folder / name
    path.write_text(f"#!{sys.executable}\nprint({prints!r})\nraise SystemExit({status})\n")
    path.chmod(0o755)
    return path


def findings():
    return {finding.name: finding for finding in examine()}


def test_a_bare_machine_is_told_what_to_do():
    found = findings()
    for name in ("C compiler", "C++ compiler", "Go"):
        assert found[name].ok is False
        assert "install" in found[name].remedy
    for name, server in (("Ollama", "ollama"), ("vLLM", "vllm")):
        assert found[name].ok is False
        assert found[name].remedy == f"heavyweight servers install {server}"
    assert found["models"].ok is False
    assert found["models"].remedy == "heavyweight models prepare"
    assert found["Chromium"].ok is None
    assert found["Ollama on PATH"].ok is None
    assert found["Python"].ok
    assert found["uv"].ok


def test_every_finding_that_is_missing_has_a_remedy():
    for finding in examine():
        assert finding.found
        assert finding.remedy or finding.ok is not False


def test_no_finding_tells_names_of_this_machine(bare):
    text = "\n".join(f"{one.found} {one.remedy}" for one in examine())
    assert str(Path.home()) not in text
    assert str(bare) not in text
    if len(socket.gethostname()) > 3:
        assert socket.gethostname() not in text


def test_compilers_are_not_needed_once_ollama_is_installed(bare):
    place = program(bare, "somewhere", "ollama version is 0.24.0")
    installing.record(Installed("ollama", install_ollama.VERSION, place, {"source": "release"}))
    found = findings()
    assert found["Ollama"].found == "0.24.0 (release)"
    assert found["Ollama"].ok
    for name in ("C compiler", "C++ compiler", "Go"):
        assert found[name].ok is None
        assert found[name].remedy == ""


@pytest.mark.parametrize(
    ("said", "good"),
    [("go version go1.26.8 linux/amd64", True), ("go version go1.30 linux/amd64", True),
     ("go version go1.25.9 linux/amd64", False), ("go version go1.9 linux/amd64", False),
     ("go version devel", False), ("go version go2.0", True)],
)  # fmt: skip
def test_go_must_be_new_enough(bare, said, good):
    program(bare, "go", said)
    found = findings()["Go"]
    assert found.ok is good
    assert bool(found.remedy) is not good
    assert found.found == said


@pytest.mark.parametrize(
    ("said", "ok", "part"),
    [("ollama version is 0.24.0", True, "used as it is"),
     ("ollama version is 0.23.1", None, "0.23.1, not used")],
)  # fmt: skip
def test_another_ollama_on_path_is_told_and_not_used(bare, said, ok, part):
    program(bare, "ollama", said)
    found = findings()["Ollama on PATH"]
    assert found.ok is ok
    assert part in found.found


def test_an_ollama_that_cannot_be_run_is_told(bare):
    program(bare, "ollama", "illegal instruction", status=1)
    found = findings()["Ollama on PATH"]
    assert found.ok is None
    assert "illegal instruction" in found.found


def test_an_installed_server_of_another_version_is_missing(bare):
    place = program(bare, "somewhere", "0.20.0+cpu")
    installing.record(Installed("vllm", "0.21.0", place, {"device": "cpu"}))
    found = findings()["vLLM"]
    assert found.ok is False
    assert found.found == "0.20.0+cpu (cpu)"
    program(bare, "somewhere", "0.21.0+cpu")
    assert findings()["vLLM"].ok


def test_prepared_models_are_listed():
    artefacts.model_folder(tiny.MODEL).mkdir(parents=True)
    entry = Artefact(
        name="checkpoint", path="checkpoint", sha256="x", size_bytes=1, files=[], dtypes={},
        made_from="", made_utc="",
    )  # fmt: skip
    manifest = artefacts.load_manifest(tiny.MODEL)
    artefacts.save_manifest(
        tiny.MODEL, manifest.model_copy(update={"artefacts": {"checkpoint": entry}})
    )
    found = findings()["models"]
    assert (found.ok, found.found) == (True, "tiny (checkpoint)")


@pytest.mark.parametrize(
    ("value", "ok"), [("performance", True), ("powersave", None), (None, None)]
)
def test_the_governor_is_judged(monkeypatch, value, ok):
    monkeypatch.setattr(machine, "governor", lambda: value)
    found = findings()["power governor"]
    assert found.ok is ok
    assert bool(found.remedy) is (value == "powersave")


def test_a_gpu_is_named_with_its_driver(monkeypatch):
    gpu = {"name": "NVIDIA A40", "memory_bytes": str(48 * 2**30), "driver": "580.1"}
    monkeypatch.setattr(machine, "gpus", lambda: [gpu])
    assert findings()["NVIDIA GPU"].found == "NVIDIA A40, 48 GiB; driver 580.1"


def test_the_token_is_never_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = examine()
    assert "hf_secret" not in str(found)
    assert {one.name: one.ok for one in found}["Hugging Face token"]


def test_too_little_of_a_thing_is_told(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: [0])
    monkeypatch.setattr(doctor, "MEMORY_GIB", 10**6)
    monkeypatch.setattr(doctor, "FREE_GB", 10**9)
    found = findings()
    for name in ("cores", "memory", "disk"):
        assert found[name].ok is False
        assert found[name].remedy


@pytest.mark.parametrize(("percent", "ok"), [(5.0, True), (60.0, None)])
def test_a_busy_machine_is_told(monkeypatch, percent, ok):
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda interval: percent)
    monkeypatch.setattr(doctor.psutil, "cpu_count", lambda: 2)
    found = findings()["other programs"]
    assert found.ok is ok
    assert bool(found.remedy) is (ok is None)
