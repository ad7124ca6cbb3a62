"""Prompts: the same for every arm, unlike each other from their first words on."""

from __future__ import annotations

import inspect
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavyweight.workload import RESERVED, TASK_TOKENS, WORDS, _name, prompt, prompts


def test_a_prompt_depends_on_its_place_only() -> None:
    assert prompt(1, 2, 50, 7, 64) == prompt(1, 2, 50, 7, 64)
    assert set(inspect.signature(prompt).parameters) == {
        "seed", "block", "users", "index", "prompt_tokens", "schedule"
    }  # fmt: skip


def test_a_load_is_the_sequence_of_its_prompts() -> None:
    assert list(islice(prompts(1, 2, 8, 64), 5)) == [prompt(1, 2, 8, i, 64) for i in range(5)]


def test_the_parts_of_a_load_share_its_prompts_out() -> None:
    whole = list(islice(prompts(1, 2, 8, 64), 12))
    for part in range(3):
        assert list(islice(prompts(1, 2, 8, 64, part, 3), 4)) == whole[part::3]


def test_no_prompt_occurs_twice_in_a_session() -> None:
    texts, starts, ids = set(), set(), set()
    count = 0
    for users in (0, 1, 4, 8, 50):
        for one in islice(prompts(20260519, 1, users, 64), 400):
            count += 1
            texts.add((one.messages[0]["content"], one.messages[1]["content"]))
            starts.add(one.messages[0]["content"].partition(":")[0])
            ids.add(one.prompt_id)
    for key in (7, 8, 2**32 - 1):  # schedules of open loops
        for one in (prompt(20260519, 1, 0, index, 64, key) for index in range(400)):
            count += 1
            texts.add((one.messages[0]["content"], one.messages[1]["content"]))
            starts.add(one.messages[0]["content"].partition(":")[0])
            ids.add(one.prompt_id)
    assert len(texts) == len(starts) == len(ids) == count


@given(
    st.integers(0, 2**64 - 1),
    st.lists(
        st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
        min_size=2, max_size=2, unique=True,
    ),
)  # fmt: skip
def test_names_are_unique_for_every_key(key: int, places: list[tuple[int, int]]) -> None:
    first, second = (_name(key, *place) for place in places)
    assert first != second


def test_neighbours_differ_in_their_first_word() -> None:
    firsts = [one.messages[0]["content"].split()[0] for one in islice(prompts(1, 1, 50, 64), 256)]
    assert len(set(firsts)) == 256


def test_blocks_and_seeds_change_the_prompts() -> None:
    starts = {
        prompt(seed, block, 8, 0, 64).messages[0]["content"]
        for seed in range(5)
        for block in range(1, 6)
    }
    assert len(starts) == 25


@pytest.mark.parametrize("tokens", [64, 80, 500])
def test_the_length_follows_what_is_asked(tokens: int) -> None:
    def words(asked: int) -> int:
        return sum(len(m["content"].split()) for m in prompt(1, 1, 1, 0, asked).messages)

    assert words(tokens) - words(TASK_TOKENS + 1) == tokens - TASK_TOKENS - 1


def test_there_is_always_a_system_message() -> None:
    assert [m["role"] for m in prompt(1, 1, 1, 0, 1).messages] == ["system", "user"]


def test_the_words_are_plain_and_no_two_are_alike() -> None:
    assert len(set(WORDS)) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize("place", [(-1, 0), (4096, 0), (1, -1), (1, 2**20)])
def test_places_without_a_name_of_their_own_are_refused(place: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        prompt(1, 1, *place, 64)


def test_nobody_asks_the_prompts_of_another() -> None:
    """Those of no load are told apart by their index alone."""
    places = [index for indices in RESERVED.values() for index in indices]
    assert len(places) == len(set(places))
