"""The comparison finds what differs, and nothing else."""

import ml_dtypes
import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from heavyweight.errors import BadInput
from heavyweight.models.gguf_files import write_f16
from heavyweight.models.weights import (
    Checkpoint,
    checkpoint_dtypes,
    compare,
    permuted,
    unpermuted,
)
from tests.models import tiny

K0 = "model.layers.0.self_attn.k_proj.weight"
SHA = ("a", "b")


@pytest.fixture(scope="module")
def f16(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    source = tiny.write_gguf(folder / "source.gguf")
    write_f16(source, folder / "f16.gguf", tiny.END_IDS, tiny.NEVER_ID)
    return folder / "f16.gguf"


@given(heads=st.integers(1, 5), half=st.integers(1, 6), columns=st.integers(1, 3))
def test_undoing_the_permutation_gives_the_order_of_the_rows(heads, half, columns):
    rows = np.arange(heads * 2 * half * columns).reshape(-1, columns)
    np.testing.assert_array_equal(unpermuted(rows, heads), tiny.halves_from_neighbours(rows, heads))
    np.testing.assert_array_equal(unpermuted(permuted(rows, heads), heads), rows)


def test_the_permutation_turns_one_rotation_into_the_other():
    """Scores of attention are the same: halves of a head rotated, or permuted neighbours."""
    rng = np.random.default_rng(3)
    size, angle = 8, rng.uniform(0, 6, 4)
    wq, wk, x = rng.normal(size=(size, 5)), rng.normal(size=(size, 5)), rng.normal(size=(2, 5))

    def turned(v, position, first, second):
        c, s = np.cos(angle * position), np.sin(angle * position)
        out = np.empty_like(v)
        out[first], out[second] = v[first] * c - v[second] * s, v[first] * s + v[second] * c
        return out

    def score(q, k, first, second):
        return turned(q @ x[0], 7, first, second) @ turned(k @ x[1], 2, first, second)

    halves = score(wq, wk, slice(0, 4), slice(4, 8))
    neighbours = score(permuted(wq, 1), permuted(wk, 1), slice(0, 8, 2), slice(1, 8, 2))
    assert halves == pytest.approx(neighbours)


def test_the_same_weights_pass(f16, tmp_path):
    check = compare(f16, tiny.write_checkpoint(tmp_path / "c"), SHA)
    assert check.passed
    assert check.problems == []
    assert check.tensors == 20
    assert check.values == sum(v.size for v in tiny.checkpoint_tensors().values())
    assert check.max_relative_difference <= 2**-7
    assert check.different_values < 0.06 * check.values  # rounded twice: one in thirty-two or so
    assert (check.gguf_sha256, check.checkpoint_sha256) == SHA
    assert check.text().startswith("yes: 20 tensors")


def test_weights_that_are_both_bf16_are_equal(tmp_path, f16):
    checkpoint = tiny.write_checkpoint(tmp_path / "c")
    values = Checkpoint(checkpoint, GGUFReader(f16)).as_gguf
    write_f16(f16, tmp_path / "from.gguf", [tiny.NEVER_ID], 0, values)
    check = compare(tmp_path / "from.gguf", checkpoint, SHA)
    assert check.passed
    assert check.different_values == 0
    assert check.max_abs_difference == 0.0


@pytest.mark.parametrize(
    "change",
    [
        lambda k: k * np.float32(1.05),
        lambda k: k[::-1],
        lambda k: k[[1, 0, *range(2, len(k))]],  # two rows exchanged
        lambda k: permuted(k, tiny.KV_HEADS),  # left as llama.cpp has it
        lambda k: np.where(np.arange(k.size).reshape(k.shape) == 77, np.nan, k),
        lambda k: np.where(np.arange(k.size).reshape(k.shape) == 77, k + 0.01, k),
    ],
)
def test_other_values_are_found(f16, tmp_path, change):
    values = tiny.checkpoint_tensors()[K0].astype(np.float32)
    changed = np.ascontiguousarray(change(values)).astype(ml_dtypes.bfloat16)
    check = compare(f16, tiny.write_checkpoint(tmp_path / "c", {K0: changed}), SHA)
    assert not check.passed
    assert len(check.problems) == 1
    assert check.problems[0].startswith("blk.0.attn_k.weight: ")
    assert check.text().startswith("NO: ")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({K0: None}, "blk.0.attn_k.weight: not in the checkpoint"),
        ({"lm_head.weight": np.ones((32, 64), np.float16)}, "output.weight: not in the GGUF"),
        ({K0: np.ones((8, 8), np.float16)}, "(32, 64) in the GGUF, (8, 8) there"),
    ],
)
def test_tensors_that_do_not_correspond_are_found(f16, tmp_path, changed, problem):
    check = compare(f16, tiny.write_checkpoint(tmp_path / "c", changed), SHA)
    assert not check.passed
    assert len(check.problems) == 1
    assert problem in check.problems[0]


def test_a_checkpoint_in_several_files_is_read(f16, tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    values = list(tiny.checkpoint_tensors().items())
    save_file(dict(values[:9]), folder / "model-00001-of-00002.safetensors")
    save_file(dict(values[9:]), folder / "model-00002-of-00002.safetensors")
    assert compare(f16, folder, SHA).passed
    assert checkpoint_dtypes(folder) == {"BF16": 20}


def test_a_folder_without_weights_is_refused(f16, tmp_path):
    with pytest.raises(BadInput, match="no safetensors"):
        compare(f16, tmp_path, SHA)


def test_an_architecture_that_is_not_known_is_refused(tmp_path):
    path = tiny.write_gguf(tmp_path / "x.gguf", arch="marvel")
    with pytest.raises(BadInput, match="unknown architecture marvel"):
        compare(path, tiny.write_checkpoint(tmp_path / "c"), SHA)


@pytest.mark.parametrize("changed", [{K0: None}, {K0: np.ones((8, 8), np.float16)}])
def test_values_for_a_gguf_must_all_be_there(f16, tmp_path, changed):
    values = Checkpoint(tiny.write_checkpoint(tmp_path / "c", changed), GGUFReader(f16)).as_gguf
    with pytest.raises(BadInput, match=r"blk\.0\.attn_k\.weight"):
        write_f16(f16, tmp_path / "from.gguf", [tiny.NEVER_ID], 0, values)
