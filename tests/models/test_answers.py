"""Servers are asked one after the other, and what is unequal is told."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from heavyweight.design import load_study
from heavyweight.errors import ServerError
from heavyweight.models import answers
from heavyweight.models.artefacts import PreparedArtefact, model_folder
from heavyweight.paths import study_root
from heavyweight.records import ServerIdentity
from tests.models import tiny

STUDY = load_study(study_root(Path(__file__)) / "study.toml")
ARMS = [STUDY.arm("ollama-q4"), STUDY.arm("vllm-bf16")]


class Servers:
    """Servers that write down what is done with them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.asked: list[dict] = []
        self.fails = False

    def server_for(self, arm):
        return SimpleNamespace(
            base_url=f"http://{arm.name}",
            served_model=f"{arm.name}-model",
            extra_body={"ignore_eos": True} if arm.server == "vllm" else {},
            process=None,
            start=lambda config: self.done.append(f"start {arm.name} {config.artefact.name}"),
            ready=lambda: self.done.append(f"ready {arm.name}"),
            stop=lambda: self.done.append(f"stop {arm.name}"),
            identify=lambda: ServerIdentity(
                server=arm.server, version=arm.version, model="m", model_digest=None
            ),
        )

    def post_json(self, url, body, timeout_s):
        if self.fails:
            raise ServerError("it died")
        self.asked.append({"url": url} | body)
        message = {"content": f"answer {len(self.asked)} of {body['model']}"}
        return {
            "choices": [{"message": message, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 30, "completion_tokens": body["max_tokens"]},
        }


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("HEAVYWEIGHT_CACHE", str(tmp_path))
    model_folder(tiny.MODEL).mkdir(parents=True)
    made = Servers()
    monkeypatch.setattr(answers.servers, "server_for", made.server_for)
    monkeypatch.setattr(answers, "post_json", made.post_json)
    monkeypatch.setattr(
        answers,
        "artefact",
        lambda model, name: PreparedArtefact(name, tmp_path, f"sha of {name}", 1, name, {}),
    )
    return made


def test_each_server_is_stopped_before_the_next_one_starts(world):
    found = answers.ask(tiny.MODEL, ARMS, STUDY, lambda line: None)
    assert world.done == [
        "start ollama-q4 gguf-q4", "ready ollama-q4", "stop ollama-q4",
        "start vllm-bf16 checkpoint", "ready vllm-bf16", "stop vllm-bf16",
    ]  # fmt: skip
    assert [one.question for one in found] == list(answers.QUESTIONS)
    for place, one in enumerate(found):
        assert list(one.answers) == ["ollama-q4", "vllm-bf16"]
        first, second = one.answers.values()
        assert first.text == f"answer {place + 1} of ollama-q4-model"
        assert second.text == f"answer {place + 1 + len(found)} of vllm-bf16-model"
        assert (first.artefact_sha256, second.artefact_sha256) == (
            "sha of gguf-q4", "sha of checkpoint",
        )  # fmt: skip
        assert second.version == ARMS[1].version
    assert answers.unequal(found) == []


def test_all_are_asked_the_same_greedily_and_with_a_system_message(world):
    answers.ask(tiny.MODEL, ARMS, STUDY, lambda line: None)
    ollama, vllm = world.asked[: len(answers.QUESTIONS)], world.asked[len(answers.QUESTIONS) :]
    for mine, theirs in zip(ollama, vllm, strict=True):
        assert mine["url"] == "http://ollama-q4/v1/chat/completions"
        assert [message["role"] for message in mine["messages"]] == ["system", "user"]
        assert (mine["temperature"], mine["top_p"]) == (0, 1)
        assert theirs.pop("ignore_eos") is True
        apart = {"url", "model"}
        assert {k: v for k, v in mine.items() if k not in apart} == {
            k: v for k, v in theirs.items() if k not in apart
        }


def test_a_server_that_fails_is_stopped(world):
    world.fails = True
    with pytest.raises(ServerError, match="it died"):
        answers.ask(tiny.MODEL, ARMS, STUDY, lambda line: None)
    assert world.done[-1] == "stop ollama-q4"
    assert len(world.done) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt_tokens": 51}, "prompt tokens of 'What is the capital of France"),
        ({"completion_tokens": 7}, "vllm-bf16 ended .* after 7 tokens"),
        ({"finish_reason": "stop"}, r"vllm-bf16 ended .* \(stop\)"),
    ],
)
def test_what_is_unequal_is_told(world, change, said):
    found = answers.ask(tiny.MODEL, ARMS, STUDY, lambda line: None)
    first = found[0]
    broken = first.answers | {"vllm-bf16": first.answers["vllm-bf16"].model_copy(update=change)}
    problems = answers.unequal([first.model_copy(update={"answers": broken}), *found[1:]])
    assert len(problems) == 1
    assert re.match(said, problems[0])
