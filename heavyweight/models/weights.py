"""Whether a GGUF file and a checkpoint hold the same weights, and the way from one to the other."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFReader, ReaderTensor, get_tensor_name_map
from safetensors import safe_open

from heavyweight.errors import BadInput
from heavyweight.models.gguf_files import dequantised, field, open_gguf, plain_shape
from heavyweight.records import Record, unit

# Architectures whose attn_q and attn_k llama.cpp permutes, since it rotates neighbouring values
# where the checkpoint's code rotates the two halves of a head.
PERMUTED = ("llama", "granite")

# Tensors that a GGUF file may hold beside the checkpoint's: computed from the configuration.
COMPUTED = ("rope_freqs.weight",)

BF16_STEP = 2.0**-7  # largest relative distance of two neighbouring bfloat16 values
F16_STEP = 2.0**-24  # distance of two neighbouring subnormal float16 values
F16_NORMAL = 2.0**-14  # below it float16 loses digits, so relative distances say nothing

Array = np.ndarray[Any, Any]


class WeightsCheck(Record):
    """Comparison of the F16 GGUF with the bf16 checkpoint, after rounding to bfloat16."""

    gguf_sha256: str = unit("checksum of the GGUF file")
    checkpoint_sha256: str = unit("checksum of the checkpoint")
    tensors: int = unit("tensors compared")
    values: int = unit("values compared")
    different_values: int = unit("values that differ after rounding to bfloat16")
    max_abs_difference: float = unit("largest difference after rounding")
    max_relative_difference: float = unit(
        "the same, relative to the value, where it is at least 2^-14"
    )
    max_abs_difference_unrounded: float = unit("largest difference as the files hold the values")
    problems: list[str] = unit("tensors that are missing, of another shape, or too different")
    passed: bool = unit("no problems: all values at most one step of their formats apart")

    def text(self) -> str:
        """The result in one line."""
        differ = self.different_values / max(1, self.values)
        return (
            f"{'yes' if self.passed else 'NO'}: {self.tensors} tensors, {self.values:,} values; "
            f"after rounding to bfloat16 {differ:.2%} differ, by at most "
            f"{self.max_abs_difference:.3g} (relative {self.max_relative_difference:.2g}, where "
            f"one step is at most {BF16_STEP:.2g})"
        ) + "".join(f"; {problem}" for problem in self.problems[:3])


def permuted(weights: Array, heads: int) -> Array:
    """Rows as llama.cpp orders them (convert_hf_to_gguf.py, LlamaModel.permute).

    Args:
        weights: rows of attn_q or attn_k as a checkpoint has them.
        heads: attention heads of that tensor.
    """
    half = weights.shape[0] // heads // 2
    shape = weights.shape
    return weights.reshape(heads, 2, half, *shape[1:]).swapaxes(1, 2).reshape(shape)


def unpermuted(weights: Array, heads: int) -> Array:
    """Rows as a checkpoint orders them: undoes :func:`permuted`."""
    half = weights.shape[0] // heads // 2
    shape = weights.shape
    return weights.reshape(heads, half, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def permuted_heads(reader: GGUFReader, tensor_name: str) -> int | None:
    """Heads of a tensor whose rows are permuted; None for all others."""
    arch = field(reader, "general.architecture")
    if arch not in PERMUTED:
        return None
    if ".attn_q." in tensor_name:
        return int(field(reader, f"{arch}.attention.head_count"))
    if ".attn_k." in tensor_name:
        return int(field(reader, f"{arch}.attention.head_count_kv"))
    return None


class Checkpoint:
    """The tensors of a folder of safetensors files, found by their names in a GGUF file.

    Args:
        folder: holds one or several files.
        reader: the GGUF file of the same model; says architecture and number of blocks.

    Raises:
        BadInput: no safetensors there, or an architecture that the gguf package does not know.
    """

    def __init__(self, folder: Path, reader: GGUFReader) -> None:
        self._reader = reader
        self._files = sorted(folder.glob("*.safetensors"))
        if not self._files:
            raise BadInput(f"no safetensors in {folder.name}", "a checkpoint")

    @cached_property
    def _places(self) -> dict[str, tuple[Path, str]]:
        """GGUF name -> file and name in it."""
        arch_name = field(self._reader, "general.architecture")
        arch = next((a for a in MODEL_ARCH if MODEL_ARCH_NAMES[a] == arch_name), None)
        if arch is None:
            raise BadInput(f"unknown architecture {arch_name}", "one that llama.cpp has")
        blocks = int(field(self._reader, f"{arch_name}.block_count"))
        names = get_tensor_name_map(arch, blocks)
        places = {}
        for path in self._files:
            with safe_open(path, "numpy") as file:
                for name in file.keys():  # noqa: SIM118 (not a mapping)
                    gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
                    if gguf_name is not None:
                        places[gguf_name] = (path, name)
        return places

    def names(self) -> set[str]:
        """GGUF names of the tensors that the checkpoint holds."""
        return set(self._places)

    def values(self, gguf_name: str) -> Array:
        """One tensor as it lies in the file."""
        path, name = self._places[gguf_name]
        with safe_open(path, "numpy") as file:
            return np.asarray(file.get_tensor(name))

    def as_gguf(self, tensor: ReaderTensor) -> Array:
        """Values in float32 as a GGUF file orders them; computed tensors come from the GGUF."""
        if tensor.name in COMPUTED:
            return dequantised(tensor)
        if tensor.name not in self.names():
            raise BadInput(
                f"the checkpoint has no {tensor.name}", "the model from which the GGUF was made"
            )
        values = self.values(tensor.name).astype(np.float32)
        if values.shape != plain_shape(tensor):
            raise BadInput(
                f"{tensor.name} is {values.shape} in the checkpoint",
                f"{plain_shape(tensor)} as in the GGUF",
            )
        heads = permuted_heads(self._reader, tensor.name)
        return values if heads is None else permuted(values, heads)


def checkpoint_dtypes(folder: Path) -> dict[str, int]:
    """How many tensors a checkpoint holds in each format."""
    found: Counter[str] = Counter()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            found.update(file.get_slice(name).get_dtype() for name in file.keys())  # noqa: SIM118
    return dict(found)


def compare(gguf_file: Path, checkpoint: Path, sha256: tuple[str, str]) -> WeightsCheck:
    """Compare all tensors of an F16 GGUF file with a bf16 checkpoint.

    Both were rounded from the same values, to 11 and to 8 significant bits. Rounding the former to
    8 bits as well must give the latter, but for values that lay near the middle of two
    neighbours: those may come out one step apart.

    Args:
        gguf_file: the F16 GGUF file.
        checkpoint: folder of the checkpoint.
        sha256: checksums of the two, kept with the result.
    """
    reader = open_gguf(gguf_file)
    other = Checkpoint(checkpoint, reader)
    problems, tensors, values, different = [], 0, 0, 0
    largest = relative = unrounded = 0.0
    in_gguf = {tensor.name for tensor in reader.tensors} - set(COMPUTED)
    problems += [f"{name}: not in the GGUF" for name in sorted(other.names() - in_gguf)]
    for tensor in reader.tensors:
        if tensor.name in COMPUTED:
            continue
        if tensor.name not in other.names():
            problems.append(f"{tensor.name}: not in the checkpoint")
            continue
        ours, theirs = dequantised(tensor), other.values(tensor.name).astype(np.float32)
        if ours.shape != theirs.shape:
            problems.append(f"{tensor.name}: {ours.shape} in the GGUF, {theirs.shape} there")
            continue
        heads = permuted_heads(reader, tensor.name)
        if heads is not None:
            ours = unpermuted(ours, heads)
        rounded = ours.astype(ml_dtypes.bfloat16).astype(np.float32)
        apart, size = np.abs(rounded - theirs), np.abs(theirs)
        tensors, values = tensors + 1, values + apart.size
        different += int(np.count_nonzero(apart))
        largest = max(largest, float(apart.max()))
        unrounded = max(unrounded, float(np.abs(ours - theirs).max()))
        normal = size >= F16_NORMAL
        if normal.any():
            relative = max(relative, float((apart[normal] / size[normal]).max()))
        # `not <=` also catches a value that is not a number.
        far = int(np.count_nonzero(~(apart <= np.maximum(BF16_STEP * size, F16_STEP))))
        if far:
            problems.append(f"{tensor.name}: {far} values too far apart")
    return WeightsCheck(
        gguf_sha256=sha256[0],
        checkpoint_sha256=sha256[1],
        tensors=tensors,
        values=values,
        different_values=different,
        max_abs_difference=largest,
        max_relative_difference=relative,
        max_abs_difference_unrounded=unrounded,
        problems=problems,
        passed=not problems,
    )
