"""A GGUF file whose end tokens are suppressed holds the same weights and no end token."""

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize

from heavyweight.errors import BadInput
from heavyweight.models import gguf_files
from heavyweight.models.gguf_files import renamed, suppress_end_tokens, write_f16
from tests.models import tiny

OTHER_IDS = {"eot_token_id": 2, "eom_token_id": 4, "fim_pad_token_id": 0, "fim_sep_token_id": 3}


def metadata(path):
    return {
        name: entry.contents()
        for name, entry in GGUFReader(path).fields.items()
        if not name.startswith("GGUF.")
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny.write_gguf(tmp_path_factory.mktemp("gguf") / "source.gguf", **OTHER_IDS)


@pytest.fixture(scope="module")
def suppressed(source):
    target = source.with_name("suppressed.gguf")
    suppress_end_tokens(source, target, tiny.END_IDS, tiny.NEVER_ID)
    return target


@pytest.fixture(scope="module")
def f16(source):
    target = source.with_name("f16.gguf")
    write_f16(source, target, tiny.END_IDS, tiny.NEVER_ID)
    return target


def test_tensors_are_the_same_bytes(source, suppressed):
    before, after = GGUFReader(source).tensors, GGUFReader(suppressed).tensors
    assert [t.name for t in before] == [t.name for t in after]
    for old, new in zip(before, after, strict=True):
        assert old.tensor_type == new.tensor_type
        assert list(old.shape) == list(new.shape)
        assert old.data.tobytes() == new.data.tobytes()


def test_only_what_ends_an_answer_is_changed(source, suppressed):
    before, after = metadata(source), metadata(suppressed)
    tokens = after.pop("tokenizer.ggml.tokens")
    old_tokens = before.pop("tokenizer.ggml.tokens")
    assert [i for i, (a, b) in enumerate(zip(old_tokens, tokens, strict=True)) if a != b] == [
        0,
        2,
        4,
    ]
    assert [tokens[i] for i in tiny.END_IDS] == [renamed(i) for i in tiny.END_IDS]
    assert len(set(tokens)) == len(tokens)
    assert after.pop("tokenizer.ggml.eos_token_id") == tiny.NEVER_ID
    assert before.pop("tokenizer.ggml.eos_token_id") == 2
    assert before.pop("tokenizer.chat_template") == tiny.CHAT_TEMPLATE
    for key, value in OTHER_IDS.items():
        assert before.pop(f"tokenizer.ggml.{key}") == value
    assert after == before


def test_types_of_the_metadata_are_kept(source, suppressed):
    old, new = GGUFReader(source).fields, GGUFReader(suppressed).fields
    assert {name: entry.types for name, entry in new.items()}.items() <= {
        name: entry.types for name, entry in old.items()
    }.items()


def test_f16_holds_the_dequantised_values(source, f16):
    before, after = GGUFReader(source).tensors, GGUFReader(f16).tensors
    assert [t.name for t in before] == [t.name for t in after]
    for old, new in zip(before, after, strict=True):
        values = dequantize(old.data, old.tensor_type)
        kind = np.float32 if values.ndim == 1 else np.float16
        assert new.data.dtype == kind
        assert list(old.shape) == list(new.shape)
        np.testing.assert_array_equal(new.data, values.astype(kind))
    assert gguf_files.tensor_types(f16) == {"F16": 15, "F32": 5}


def test_f16_says_that_it_is(source, f16, suppressed):
    assert metadata(f16)["general.file_type"] == 1
    assert metadata(suppressed)["general.file_type"] == metadata(source)["general.file_type"] == 3
    apart = {"general.file_type"}
    assert {k: v for k, v in metadata(f16).items() if k not in apart} == {
        k: v for k, v in metadata(suppressed).items() if k not in apart
    }


@pytest.mark.parametrize(
    ("end_ids", "never"), [([0, 2, 99], 5), ([0, 2], 99), ([0, 2, -1], 5), ([0, 2, 5], 5)]
)
def test_tokens_that_cannot_be_are_refused(source, tmp_path, end_ids, never):
    with pytest.raises(BadInput, match=r"study\.toml"):
        suppress_end_tokens(source, tmp_path / "out.gguf", end_ids, never)
    assert list(tmp_path.iterdir()) == []


def test_the_files_own_end_token_must_be_among_them(source, tmp_path):
    with pytest.raises(BadInput, match=r"end token 2 \(<\|im_end\|>\)"):
        suppress_end_tokens(source, tmp_path / "out.gguf", [0, 4], tiny.NEVER_ID)


def test_a_file_that_is_cut_off_is_told(source, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(source.read_bytes()[:2000])
    with pytest.raises(BadInput, match="is not a whole GGUF"):
        suppress_end_tokens(cut, tmp_path / "out.gguf", tiny.END_IDS, tiny.NEVER_ID)


def test_a_file_appears_only_when_it_is_whole(source, tmp_path):
    def fails(tensor):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_f16(source, tmp_path / "out.gguf", tiny.END_IDS, tiny.NEVER_ID, fails)
    assert not (tmp_path / "out.gguf").exists()
