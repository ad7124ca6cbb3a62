"""What a probe is, what it may use, and how trials become an answer."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from heavyweight import servers
from heavyweight.design import Arm, stream
from heavyweight.errors import ServerError
from heavyweight.experiments.footprint import Footprint
from heavyweight.experiments.streams import Answer, Ask, send
from heavyweight.setting import Setting
from heavyweight.workload import Prompt, prompt

Said = Literal["yes", "no", "unknown"]
Value = float | int | str | bool | list[float] | None
Trial = dict[str, Value]
Trials = list[Trial]

PROMPT_TOKENS = 64
BURSTS = "tokens came in bursts, so that there is no step to measure by"
REQUEST_S = 120.0  # most that one request may take
YES, ERROR = "yes", "error"  # fields of a trial: what it says, and why it says nothing


@dataclass(frozen=True)
class Observation:
    """What was seen.

    Args:
        answer: of all trials together.
        why: in one sentence.
        trials: one a trial; ``yes`` is what it says by itself, ``error`` why it says nothing.
        value: the probe's number; None: it has none.
        unit: of the number.
    """

    answer: Said
    why: str
    trials: Trials = field(default_factory=list)
    value: float | None = None
    unit: str = ""

    @property
    def yes(self) -> int:
        """Trials that say yes."""
        return sum(trial.get(YES) is True for trial in self.trials)


@dataclass(frozen=True)
class Mechanism:
    """One question that is put to a server.

    Args:
        name: of the probe.
        question: so that the answer is yes or no.
        observe: puts it.
        applies: whether it says anything of an arm.
        own_start: it starts a server of its own, while the session's is stopped.
    """

    name: str
    question: str
    observe: Callable[[Prober], Observation]
    applies: Callable[[Arm], bool] = lambda arm: True
    own_start: bool = False


@dataclass
class Prober:
    """What a probe may use: the running server, prompts of its own, and time that is bounded.

    Args:
        mechanism: whose probe it is.
        setting: the session's.
        server: of the session; not running where the probe starts its own.
        folder: the session's, for logs.
        starting: starts a server of an arm, and stops it in the end.
        at_ready: memory when the session's server was ready and had not been asked anything.
        vram_before_bytes: used on the GPUs before it was started; None: there are none.
        cap_s: nothing new is begun after it.
    """

    mechanism: Mechanism
    setting: Setting
    server: servers.Server
    folder: Path
    starting: Callable[[Arm], AbstractContextManager[servers.Server]]
    at_ready: Footprint | None = None
    vram_before_bytes: int | None = None
    cap_s: float = 300.0

    def __post_init__(self) -> None:
        name, block = self.mechanism.name, self.setting.parameters.block
        self.rng = stream(self.setting.study.seed, "mechanisms", name, block)
        self._end_s = time.monotonic() + self.cap_s
        self._prompts = 0

    @property
    def arm(self) -> Arm:
        """The session's."""
        return self.setting.arm

    def prompt(self, tokens: int = PROMPT_TOKENS) -> Prompt:
        """A prompt that nothing else in the session has; the same in all arms of the block."""
        key = zlib.crc32(f"mechanisms/{self.mechanism.name}".encode())
        index, self._prompts = self._prompts, self._prompts + 1
        seed, block = self.setting.study.seed, self.setting.parameters.block
        return prompt(seed, block, users=0, index=index, prompt_tokens=tokens, schedule=key)

    def send(
        self, *asks: Ask, server: servers.Server | None = None, model: str | None = None
    ) -> list[Answer]:
        """Put requests to the session's server, or to one of the probe's own.

        Args:
            asks: see :func:`heavyweight.experiments.streams.send`.
            server: None: the session's.
            model: another name than that of the server's model.
        """
        to = server or self.server
        name = to.served_model if model is None else model
        left_s = max(5.0, self._end_s - time.monotonic())
        return send(
            to.base_url, name, to.extra_body, asks,
            timeout_s=min(REQUEST_S, left_s), api=to.api,
            allow_remote=self.setting.parameters.allow_remote,
        )  # fmt: skip

    def tries(self, count: int) -> Iterator[int]:
        """Numbers of trials, until they are done, time is over, or the server died."""
        for number in range(count):
            if time.monotonic() > self._end_s or self._died():
                return
            yield number

    def _died(self) -> bool:
        return self.server.process is not None and not self.server.alive()


def failed(answers: Sequence[Answer]) -> str:
    """The first error among answers, in words; empty where all are good."""
    return next((answer.told for answer in answers if answer.error), "")


def checked(answers: Sequence[Answer]) -> Sequence[Answer]:
    """The same answers.

    Raises:
        ServerError: one failed.
    """
    if told := failed(answers):
        raise ServerError(f"a request failed: {told}")
    return answers


def trial(observe: Callable[[], Trial]) -> Trial:
    """One trial; where the server failed it, a trial that says why."""
    try:
        return observe()
    except ServerError as error:
        return {ERROR: str(error)}


def said(trials: Sequence[Mapping[str, object]], planned: int, needed: int) -> Said:
    """What trials say together.

    Args:
        trials: those that were made.
        planned: how many there should be.
        needed: yes: at least so many say so. no: so many say no that this cannot be reached.
    """
    yes = sum(one.get(YES) is True for one in trials)
    no = sum(one.get(YES) is False for one in trials)
    if yes >= needed:
        return "yes"
    return "no" if no > planned - needed else "unknown"


def numbers(trials: Sequence[Mapping[str, object]], name: str) -> list[float]:
    """A field of the trials that have it as a number."""
    found = [one.get(name) for one in trials]
    return [float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)]


def median(values: Sequence[float]) -> float | None:
    """The median; None where there is nothing."""
    return float(np.median(values)) if len(values) else None


def counted(trials: Sequence[Mapping[str, object]]) -> str:
    """How many trials say yes, in words, and why others say nothing."""
    of = [one for one in trials if one.get(YES) is not None]
    errors = [str(one[ERROR]) for one in trials if one.get(ERROR)]
    words = f"{sum(one[YES] is True for one in of)} of {len(of)} trials"
    return words + (f" ({len(errors)} failed: {errors[0]})" if errors else "")
