"""Seeds -> prompts: pure, without a clock and without I/O.

A prompt is a function of (seed, block, load, index) and never of the arm, so that every arm of a
block works on the same prompts. Both servers keep the prefixes of prompts in a cache: each prompt
starts with words of its own, and none occurs twice in a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

# 256 words, each one token in the vocabularies of the studied models when a space precedes it.
_WORDS = """
able about above across action active actual address after again age agree air allow alone along
also always among amount angle animal answer appear apple area arm army around arrive art ask
attack baby back balance ball band bank bar base basic basket bath bear beat beauty become bed
before begin behind believe bell below best better between big bird birth black block blood blue
board boat body bone book border born both bottle bottom box boy branch brave bread break breath
bridge bright bring broken brother brown brush build burn bus busy butter button buy cake call
calm camera camp can capital captain car card care carry case cat catch cause center central
century certain chain chair chance change chapter cheap check cheese chest chief child choice
church circle city claim class clay clean clear clock close cloth cloud coal coast coat code
coffee cold color come common company complete control cook cool copper copy corn corner cost
cotton count country course court cover cow credit crime cross crowd crown cry culture cup
current curve custom cut dance danger dark date daughter dead deal dear death debt deep degree
desk detail device dirty disk doctor dog door double doubt down dream dress drink drive drop dry
dust duty early earth east easy edge effect egg eight either empty end enemy energy engine
enough equal error even event ever every exact example expert express eye face fact fair faith
fall false family famous far farm fast father fear field fight figure fill film final find fine
"""
WORDS = tuple(_WORDS.split())

TASK_TOKENS = 54  # chat template, name and task without further words (measured on SmolLM2)
INDEX_BITS = 20  # requests of one load

RESERVED = {
    "starts": range(0, 900),  # the first request after each start of a session's server
    "offline": range(900, 1_000),
    "kv_cache": range(1_000, 2_000),
    "contributing": range(2_000, 3_000),  # the example of CONTRIBUTING.md
    "settling": range(3_000, 4_000),  # those that wait for a server to be idle
}
"""Who asks prompts of no load (users = 0), and their indices: none is asked twice in a session."""

SYSTEM = "{name}: this is your name. You are a patient teller of long stories."
TASK = "Tell a very long story with many different scenes about these things, one after the other:"


@dataclass(frozen=True)
class Prompt:
    """One chat prompt.

    Args:
        prompt_id: the same in every arm.
        messages: a system message and a user's, in the form of the chat API.
    """

    prompt_id: str
    messages: tuple[dict[str, str], dict[str, str]]


def _name(key: int, users: int, index: int) -> str:
    """Words that no other prompt of the session has.

    (users, index) is a number of 32 bits, four words of 256. Multiplying it by an odd key and
    adding the key's upper half, modulo 2**32, is a bijection, so no two prompts get one name.
    """
    number = (users << INDEX_BITS | index) & 0xFFFFFFFF
    mixed = (number * (key & 0xFFFFFFFF | 1) + (key >> 32)) & 0xFFFFFFFF
    # The lowest byte changes with every index: it comes first, where a prefix cache looks.
    return " ".join(WORDS[mixed >> shift & 0xFF] for shift in (0, 8, 16, 24))


def prompt(
    seed: int, block: int, users: int, index: int, prompt_tokens: int, schedule: int | None = None
) -> Prompt:
    """The prompt of one request.

    Args:
        seed: of the study.
        block: from 1.
        users: the load, below 4,096; 0: the first request after a server's start.
        index: of the request in its load, from 0, below 2**20.
        prompt_tokens: length to aim at, template included, in tokens; the shortest is about 54.
        schedule: of an open loop, its key; None: a closed loop.

    Raises:
        ValueError: users or index is out of range, so that the name would not be unique.
    """
    if not 0 <= users < 1 << (32 - INDEX_BITS) or not 0 <= index < 1 << INDEX_BITS:
        raise ValueError(f"users {users} or index {index} is out of range")
    # One key for all closed loops of a block, one for each schedule: names are unique among them.
    of = () if schedule is None else (schedule,)
    key = int(np.random.SeedSequence((seed, block, *of)).generate_state(1, np.uint64)[0])
    draw = np.random.default_rng(np.random.SeedSequence((seed, block, users, index, *of)))
    things = draw.integers(len(WORDS), size=max(1, prompt_tokens - TASK_TOKENS))
    name = _name(key, users, index)
    load = f"n{users:04d}" if schedule is None else f"r{schedule:08x}"
    return Prompt(
        prompt_id=f"b{block:02d}-{load}-{index:06d}",
        messages=(
            {"role": "system", "content": SYSTEM.format(name=name)},
            {"role": "user", "content": f"{TASK} {' '.join(WORDS[i] for i in things)}."},
        ),
    )


def prompts(
    seed: int,
    block: int,
    users: int,
    prompt_tokens: int,
    part: int = 0,
    parts: int = 1,
    first: int = 0,
) -> Iterator[Prompt]:
    """The prompts of one closed loop, or of a part of it, in the order in which they are sent.

    ``first`` is the index of the whole loop's first one: loops of one session that have the same
    number of users have other ones, so that none of their prompts begins like another.
    """
    indices = count(first + part, parts)
    return (prompt(seed, block, users, index, prompt_tokens) for index in indices)
