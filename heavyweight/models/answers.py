"""Greedy answers of the servers to the same questions, side by side.

The 16-bit artefacts hold the same weights, so their answers begin alike; rounding may part them
later. The quantised one answers a little differently, which is the quantisation and no fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heavyweight import servers
from heavyweight.design import Arm, Model, Study
from heavyweight.models.artefacts import artefact, model_folder
from heavyweight.models.manifest import Answer, GreedyAnswers
from heavyweight.models.running import running
from heavyweight.servers.asking import post_json
from heavyweight.servers.base import Progress, ServerConfig, free_port
from heavyweight.servers.lock import SessionLock

SYSTEM = "You are a helpful assistant. Answer in one short sentence."
QUESTIONS = (
    "What is the capital of France?",
    "In 2024 a farm had 1,250 hens and sold 375 of them. How many were left?",
    "Name the four seasons of the year, in order.",
    "Was ist größer: die Erde oder der Mond? 🌍",
)
OUTPUT_TOKENS = 24
TIMEOUT_S = 300.0


def ask(model: Model, arms: Sequence[Arm], study: Study, progress: Progress) -> list[GreedyAnswers]:
    """Start the server of each arm in turn and ask it all questions.

    Args:
        model: whose artefacts were prepared.
        arms: one of each artefact.
        study: gives cores, context and seed.
        progress: gets a line for each start.

    Raises:
        NotInstalled: a server or an artefact is missing.
        NotReady: a server did not start.
        SessionBusy: a session is measuring.
    """
    by_arm = {}
    with SessionLock(progress) as lock:
        for arm in arms:
            progress(f"asking {arm.label}")
            by_arm[arm.name] = _answers_of(model, arm, study, lock)
    return [
        GreedyAnswers(
            question=question,
            output_tokens_asked=OUTPUT_TOKENS,
            answers={name: answers[place] for name, answers in by_arm.items()},
        )
        for place, question in enumerate(QUESTIONS)
    ]


def _answers_of(model: Model, arm: Arm, study: Study, lock: SessionLock) -> list[Answer]:
    prepared = artefact(model, arm.artefact)
    if prepared is None:
        raise ValueError(f"arm {arm.name} loads no artefact")
    config = ServerConfig(
        arm=arm, model=model, cores=servers.cores(study.same.cores),
        context_tokens=study.same.context_tokens, port=free_port(),
        log_path=model_folder(model) / f"answers-{arm.name}.log", seed=study.seed,
        artefact=prepared,
    )  # fmt: skip
    with running(servers.server_for(arm), config, lock) as server:
        said = [_question(server, question) for question in QUESTIONS]
        identity = server.identify()
    return [
        Answer(
            server=identity.server,
            version=identity.version,
            artefact=prepared.name,
            artefact_sha256=prepared.sha256,
            text=one["choices"][0]["message"]["content"],
            prompt_tokens=one["usage"]["prompt_tokens"],
            completion_tokens=one["usage"]["completion_tokens"],
            finish_reason=one["choices"][0]["finish_reason"],
        )
        for one in said
    ]


def _question(server: servers.Server, question: str) -> dict[str, Any]:
    body = {
        "model": server.served_model,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        "max_tokens": OUTPUT_TOKENS,
        "temperature": 0,
        "top_p": 1,
    }
    url = f"{server.base_url}/v1/chat/completions"
    answer: dict[str, Any] = post_json(url, body | server.extra_body, TIMEOUT_S)
    return answer


def unequal(answers: Sequence[GreedyAnswers]) -> list[str]:
    """What is not the same for all servers that must be: prompt tokens, output tokens, the end."""
    problems = []
    for one in answers:
        counts = {name: answer.prompt_tokens for name, answer in one.answers.items()}
        if len(set(counts.values())) > 1:
            problems.append(f"prompt tokens of {one.question!r}: {counts}")
        for name, answer in one.answers.items():
            if (answer.completion_tokens, answer.finish_reason) != (OUTPUT_TOKENS, "length"):
                problems.append(
                    f"{name} ended {one.question!r} after {answer.completion_tokens} tokens "
                    f"({answer.finish_reason})"
                )
    return problems
