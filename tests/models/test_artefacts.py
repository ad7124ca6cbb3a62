"""An artefact is found by its name and known by its checksum."""

import os
import subprocess

import pytest

from heavyweight.errors import BadInput, NotInstalled
from heavyweight.models import artefact, artefacts, load_manifest
from heavyweight.models.artefacts import combined_sha256, damage, describe_artefact
from tests.models import tiny


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path))
    folder = artefacts.model_folder(tiny.MODEL)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def gguf(cache):
    file = cache / "tiny-q4.gguf"
    file.write_bytes(b"weights" * 100)
    return describe_artefact("gguf-q4", file, {"Q4_1": 1}, "nothing")


@pytest.fixture
def checkpoint(cache):
    folder = cache / "checkpoint"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "sub" / "config.json").write_text("{}")
    return describe_artefact("checkpoint", folder, {"BF16": 1}, "nothing")


def keep(*entries):
    manifest = load_manifest(tiny.MODEL)
    known = {entry.name: entry for entry in entries}
    artefacts.save_manifest(tiny.MODEL, manifest.model_copy(update={"artefacts": known}))


def change(path, data, same_time):
    before = path.stat()
    path.write_bytes(data)
    # A file system may count time more coarsely than two writes are apart.
    moved = before.st_mtime_ns + (0 if same_time else 10**9)
    os.utime(path, ns=(before.st_atime_ns, moved))


def test_a_checksum_is_the_one_that_sha256sum_prints(cache, gguf, checkpoint):
    def sha256sum(*names, folder=cache, text=None):
        done = subprocess.run(
            ["sha256sum", *names], cwd=folder, input=text, capture_output=True, check=True
        )
        return done.stdout

    assert gguf.sha256 == sha256sum("tiny-q4.gguf")[:64].decode()
    lines = sha256sum("model.safetensors", "sub/config.json", folder=cache / "checkpoint")
    assert (
        checkpoint.sha256 == sha256sum(text=b"".join(sorted(lines.splitlines(True))))[:64].decode()
    )
    assert checkpoint.size_bytes == 702


def test_the_order_of_the_files_does_not_matter(checkpoint):
    assert combined_sha256(checkpoint.files[::-1]) == checkpoint.sha256
    renamed = [checkpoint.files[0].model_copy(update={"name": "other"}), checkpoint.files[1]]
    assert combined_sha256(renamed) != checkpoint.sha256


@pytest.mark.parametrize("read", [True, False])
def test_what_is_whole_has_no_damage(cache, gguf, checkpoint, read):
    assert damage(cache, gguf, read) is None
    assert damage(cache, checkpoint, read) is None


@pytest.mark.parametrize("read", [True, False])
def test_another_size_missing_and_unknown_files_are_seen(cache, gguf, checkpoint, read):
    (cache / "tiny-q4.gguf").write_bytes(b"short")
    assert damage(cache, gguf, read) == "tiny-q4.gguf has 5 bytes instead of 700"
    (cache / "tiny-q4.gguf").unlink()
    assert damage(cache, gguf, read) == "tiny-q4.gguf is missing"
    (cache / "checkpoint" / "more.safetensors").write_text("x")
    assert damage(cache, checkpoint, read) == "unknown files: more.safetensors"


def test_a_changed_byte_is_seen(cache, gguf):
    file = cache / "tiny-q4.gguf"
    changed = b"Weights" + file.read_bytes()[7:]
    change(file, changed, same_time=False)
    assert damage(cache, gguf, read=False) == "tiny-q4.gguf has another checksum"
    # The very same time: only reading finds it, and `models prepare` reads.
    change(file, changed, same_time=True)
    os.utime(file, ns=(0, gguf.files[0].mtime_ns))
    assert damage(cache, gguf, read=True) == "tiny-q4.gguf has another checksum"


def test_a_file_that_was_only_touched_is_whole(cache, gguf):
    os.utime(cache / "tiny-q4.gguf", ns=(0, 0))
    assert damage(cache, gguf, read=False) is None


def test_a_server_is_given_what_was_prepared(cache, gguf, checkpoint):
    keep(gguf.model_copy(update={"ollama_name": "tiny-q4"}), checkpoint)
    found = artefact(tiny.MODEL, "gguf-q4")
    assert (found.path, found.sha256) == (cache / "tiny-q4.gguf", gguf.sha256)
    assert (found.ollama_name, found.size_bytes, found.dtypes) == ("tiny-q4", 700, {"Q4_1": 1})
    found = artefact(tiny.MODEL, "checkpoint")
    assert (found.path, found.ollama_name) == (cache / "checkpoint", None)


def test_an_arm_that_loads_nothing_is_given_nothing():
    assert artefact(tiny.MODEL, "none") is None


def test_what_was_not_prepared_is_told_with_the_remedy(cache, gguf):
    remedy = "Remedy: heavyweight models prepare"
    with pytest.raises(NotInstalled, match=f"gguf-q4 of tiny was not prepared. {remedy}"):
        artefact(tiny.MODEL, "gguf-q4")
    keep(gguf)
    with pytest.raises(NotInstalled, match=f"Ollama does not know gguf-q4.*{remedy}"):
        artefact(tiny.MODEL, "gguf-q4")
    (cache / "tiny-q4.gguf").write_bytes(b"short")
    with pytest.raises(NotInstalled, match=f"damaged: .* has 5 bytes.*{remedy}"):
        artefact(tiny.MODEL, "gguf-q4")


def test_unknown_names_and_models_without_weights_are_refused():
    with pytest.raises(BadInput, match="unknown artefact 'gguf-q5'"):
        artefact(tiny.MODEL, "gguf-q5")
    weightless = tiny.MODEL.model_copy(update={"source": "none"})
    with pytest.raises(BadInput, match="has no weights"):
        artefact(weightless, "checkpoint")


def test_a_manifest_that_was_cut_off_counts_as_none(cache, gguf):
    keep(gguf)
    file = cache / artefacts.MANIFEST
    file.write_text(file.read_text()[:100])
    assert load_manifest(tiny.MODEL).artefacts == {}
