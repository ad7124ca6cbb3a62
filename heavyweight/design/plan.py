"""A plan: loads, sessions and blocks in random order.

The plan exists before the first request. Every random choice has a stream of its own, spawned from
the study's seed, so that adding a load or an arm does not move the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heavyweight.design.study import Profile, Study
from heavyweight.kinds import EXPERIMENTS
from heavyweight.text import count_of


@dataclass(frozen=True)
class Load:
    """One closed loop.

    Args:
        users: concurrent ones.
        prompt_tokens: length that its prompts aim at.
        output_tokens: asked of every request.
        place: of its lengths in the profile, from 0; each place has prompts of its own.
    """

    users: int
    prompt_tokens: int
    output_tokens: int
    place: int = 0

    def __str__(self) -> str:
        users = count_of(self.users, "user")
        return f"{users}, {self.prompt_tokens} in, {self.output_tokens} out"


@dataclass(frozen=True)
class PlannedSession:
    """One session of one arm, and its loads in the order in which they run."""

    block: int
    order: int
    arm: str
    loads: tuple[Load, ...]
    experiment: str = "session"
    rates: int = 0  # open loops after the closed ones

    @property
    def name(self) -> str:
        """The session's folder."""
        return session_name(self.block, self.arm)

    @property
    def users(self) -> tuple[int, ...]:
        """Users of its loads, each once, in the order in which they come."""
        return tuple(dict.fromkeys(load.users for load in self.loads))

    @property
    def loaded(self) -> bool:
        """Whether all that it measures is closed loops that are known before."""
        return EXPERIMENTS[self.experiment].loads == "closed"

    @property
    def cells(self) -> int:
        """How many loads are measured; 1 for all else that an experiment does."""
        return len(self.loads) + self.rates or 1


@dataclass(frozen=True)
class PlannedCalibration:
    """The client's own error at a study's loads: once for each run, before its first session."""

    users: tuple[int, ...]
    cells: int  # loads in all settings
    rates: tuple[float, ...] = ()
    name: str = "instrument"
    arm: str = "instrument"


Step = PlannedCalibration | PlannedSession


def session_name(block: int, arm: str) -> str:
    """Folder of a session inside its run."""
    return f"b{block:02d}-{arm}"


def stream(seed: int, *dimension: str | int) -> np.random.Generator:
    """An independent random stream for one named dimension of the study.

    Args:
        seed: the study's seed.
        dimension: what the stream is for, for instance ``("arms", block)``; text is hashed.
    """
    key = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in dimension]
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(key)))


def loads(study: Study, profile: Profile, users: Sequence[int] = ()) -> list[Load]:
    """The closed loops of a profile: each number of users with each pair of lengths.

    Args:
        study: has the length of prompts where the profile names none.
        profile: what is measured.
        users: in place of the profile's.
    """
    pairs = profile.lengths or [(study.same.prompt_tokens, profile.output_tokens)]
    return [
        Load(n, asked, answered, place)
        for n in users or profile.users
        for place, (asked, answered) in enumerate(pairs)
    ]


def load_order(seed: int, block: int, arm: str, planned: Sequence[Load]) -> tuple[Load, ...]:
    """The loads of one session in their random order."""
    order = stream(seed, "loads", block, arm).permutation(len(planned))
    return tuple(planned[i] for i in order)


def plan(study: Study, profile: Profile) -> list[PlannedSession]:
    """All sessions in the order in which they run: block by block, arms in random order."""
    sessions, planned = [], loads(study, profile)
    rates = len(profile.open.fractions) if profile.open else 0
    for block in range(1, profile.blocks + 1):
        order = stream(study.seed, "arms", block).permutation(len(profile.arms))
        for place, index in enumerate(order, start=1):
            arm = profile.arms[index]
            mine = load_order(study.seed, block, arm, planned)
            sessions.append(PlannedSession(block, place, arm, mine, profile.experiment, rates))
    return sessions
