"""GGUF files with their end tokens suppressed: quantised as they are, or at 16 bits.

Ollama has no ``ignore_eos``. Output lengths are made equal by a copy of the file in which no token
ends an answer: the runner (llama.cpp, llama-vocab.cpp) marks end tokens by their text, and by the
ids in the metadata, so both are changed and the weights are not touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGUFReader,
    GGUFValueType,
    GGUFWriter,
    LlamaFileType,
    ReaderTensor,
)
from gguf.quants import dequantize

from heavyweight.errors import BadInput

TOKENS = "tokenizer.ggml.tokens"
EOS_ID = "tokenizer.ggml.eos_token_id"
CHAT_TEMPLATE = "tokenizer.chat_template"
FILE_TYPE = "general.file_type"

# Further keys by which a runner learns of end tokens; it treats the last three as such, too.
OTHER_END_IDS = tuple(
    f"tokenizer.ggml.{key}"
    for key in (
        "eos_token_ids", "eot_token_id", "eom_token_id",
        "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id",
    )
)  # fmt: skip

Values = Callable[[ReaderTensor], np.ndarray[Any, Any]]


def renamed(token_id: int) -> str:
    """New text of a suppressed end token: one that no runner knows and no model contains."""
    return f"<|heavyweight_{token_id}|>"


def open_gguf(path: Path) -> GGUFReader:
    """Open a GGUF file.

    Raises:
        BadInput: it is not one, or is cut off.
    """
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, OSError) as error:
        raise BadInput(
            f"{path.name} is not a whole GGUF file ({error})",
            "a GGUF file",
            "remove it; `heavyweight models prepare` fetches it again",
        ) from error


def field(reader: GGUFReader, key: str) -> Any:
    """Value of a metadata field; BadInput where the file has none."""
    found = reader.get_field(key)
    if found is None:
        raise BadInput(f"the GGUF file has no {key}", "a language model with its tokenizer")
    return found.contents()


def tensor_types(path: Path) -> dict[str, int]:
    """How many tensors the file holds in each format."""
    return dict(Counter(tensor.tensor_type.name for tensor in open_gguf(path).tensors))


def suppress_end_tokens(
    source: Path, target: Path, end_token_ids: Collection[int], never_token_id: int
) -> None:
    """Copy a GGUF file such that no token ends an answer; tensors stay as they are.

    Args:
        source: file to copy.
        target: file to write; it appears only when it is whole.
        end_token_ids: tokens whose texts are renamed.
        never_token_id: a token that is not produced; it becomes the one that ends an answer.

    Raises:
        BadInput: a token does not exist, or the tokens given leave an end token in place.
    """
    reader = open_gguf(source)
    _copy(reader, target, _edits(reader, end_token_ids, never_token_id), None)


def write_f16(
    source: Path,
    target: Path,
    end_token_ids: Collection[int],
    never_token_id: int,
    values: Values | None = None,
) -> None:
    """Copy a GGUF file with its end tokens suppressed and its matrices in float16.

    Vectors (norms) stay in float32, as in llama.cpp's own 16-bit files.

    Args:
        source: file to copy.
        target: file to write; it appears only when it is whole.
        end_token_ids: as in :func:`suppress_end_tokens`.
        never_token_id: as in :func:`suppress_end_tokens`.
        values: gives a tensor's values; by default the source's own, dequantised.

    Raises:
        BadInput: as in :func:`suppress_end_tokens`.
    """
    reader = open_gguf(source)
    edits = _edits(reader, end_token_ids, never_token_id)
    edits[FILE_TYPE] = int(LlamaFileType.MOSTLY_F16)
    _copy(reader, target, edits, values or dequantised)


def dequantised(tensor: ReaderTensor) -> np.ndarray[Any, Any]:
    """Values of a tensor in float32."""
    return dequantize(tensor.data, tensor.tensor_type)


def _edits(
    reader: GGUFReader, end_token_ids: Collection[int], never_token_id: int
) -> dict[str, Any]:
    """Changed metadata: field -> new value; None leaves the field out."""
    tokens: list[str] = field(reader, TOKENS)
    unknown = [i for i in (*end_token_ids, never_token_id) if not 0 <= i < len(tokens)]
    if unknown or never_token_id in end_token_ids:
        raise BadInput(
            f"end_token_ids {sorted(end_token_ids)}, never_token_id {never_token_id}",
            f"token ids below {len(tokens)}, and a never_token_id that is no end token",
            "correct the model in study.toml",
        )
    eos = field(reader, EOS_ID)
    if eos not in end_token_ids:
        raise BadInput(
            f"the file's own end token {eos} ({tokens[eos]}) is not in end_token_ids",
            "all tokens that end an answer",
            "add it to the model in study.toml",
        )
    for token_id in end_token_ids:
        tokens[token_id] = renamed(token_id)
    return {TOKENS: tokens, EOS_ID: never_token_id, CHAT_TEMPLATE: None} | dict.fromkeys(
        OTHER_END_IDS
    )


def _copy(reader: GGUFReader, target: Path, edits: dict[str, Any], values: Values | None) -> None:
    """Write a file with changed metadata, one tensor in memory at a time.

    Args:
        reader: the source.
        target: file to write.
        edits: as of :func:`_edits`.
        values: gives the values of tensors that are converted to 16 bits; None copies the bytes.
    """
    partial = target.with_name(target.name + ".part")
    writer = GGUFWriter(partial, arch=field(reader, "general.architecture"))
    for name, entry in reader.fields.items():
        # The writer adds its own counts and the architecture.
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = edits.get(name, entry.contents()) if name in edits else entry.contents()
        if value is None or value == []:  # the format has no empty arrays
            continue
        kind = entry.types[0]
        element = entry.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, kind, element)
    for tensor in reader.tensors:
        if values is None:
            writer.add_tensor_info(
                tensor.name, tensor.data.shape, tensor.data.dtype, tensor.n_bytes,
                tensor.tensor_type,
            )  # fmt: skip
        else:
            dtype = _plain_dtype(tensor)
            size = int(tensor.n_elements) * dtype.itemsize
            writer.add_tensor_info(tensor.name, plain_shape(tensor), dtype, size)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in reader.tensors:
            data = tensor.data if values is None else values(tensor).astype(_plain_dtype(tensor))
            writer.write_tensor_data(np.ascontiguousarray(data))
    finally:
        writer.close()
    partial.replace(target)


def plain_shape(tensor: ReaderTensor) -> tuple[int, ...]:
    """Shape of the values as numpy has it; GGUF counts dimensions the other way round."""
    return tuple(int(n) for n in reversed(tensor.shape))


def _plain_dtype(tensor: ReaderTensor) -> np.dtype[Any]:
    """float16 for matrices, float32 for vectors."""
    return np.dtype(np.float16 if len(tensor.shape) > 1 else np.float32)
