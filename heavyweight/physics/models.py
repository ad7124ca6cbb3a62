"""Architectures of dense models: data/models.toml, or a config.json of Hugging Face."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from heavyweight.errors import BadInput
from heavyweight.paths import study_root
from heavyweight.physics.names import pick
from heavyweight.toml import Strict, read_toml

# Model types whose layers are Llama's: grouped attention and a gated MLP of three matrices.
LIKE_LLAMA = ("granite", "llama", "mistral", "phi3", "qwen2", "qwen3")


class Architecture(Strict):
    """A dense decoder in the manner of Llama; the fields are explained in data/models.toml."""

    name: str
    title: str = ""
    parameters: int = Field(gt=0)
    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    intermediate: int = Field(gt=0)
    vocab: int = Field(gt=0)
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    context: int = Field(gt=0)
    source: str

    @property
    def table_parameters(self) -> int:
        """Of the input embedding; the output head has as many."""
        return self.vocab * self.hidden

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads do not share {self.kv_heads} KV heads evenly")
        if self.parameters != count_parameters(self):
            raise ValueError(
                f"{self.parameters} parameters stated, {count_parameters(self)} counted"
            )
        return self


class Models(Strict):
    """models.toml."""

    schema_: Literal[1] = Field(alias="schema")
    models: list[Architecture] = Field(min_length=1)

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [model.name for model in self.models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"model {twice[0]} stands twice")
        return self

    @cached_property
    def by_name(self) -> dict[str, Architecture]:
        """The models by their names."""
        return {model.name: model for model in self.models}

    def model(self, name: str) -> Architecture:
        """The model of that name; BadInput with the nearest name where there is none."""
        return pick("model", name, self.by_name, "data/models.toml")


def count_parameters(model: Any) -> int:
    """Parameters of a decoder in the manner of Llama, counted matrix by matrix.

    A layer has query and output (hidden x heads x head_dim each), key and value (hidden x kv_heads
    x head_dim each), three matrices of the gated MLP (hidden x intermediate) and two norms
    (hidden); biases and norms of the heads where the model has them. To the layers come the input
    embedding, the output head if it is not the same table, and the last norm (Touvron et al. 2023,
    "LLaMA: Open and Efficient Foundation Language Models", section 2.2; Ainslie et al. 2023 for
    grouped attention).
    """
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    layer = 2 * model.hidden * queries + 2 * model.hidden * keys
    layer += 3 * model.hidden * model.intermediate + 2 * model.hidden
    layer += (queries + 2 * keys) * model.qkv_bias + 2 * model.head_dim * model.qk_norm
    tables = model.vocab * model.hidden * (1 if model.tied else 2)
    return int(model.layers * layer + tables + model.hidden)


def load_models(path: Path | None = None) -> Models:
    """Read and check models.toml.

    Args:
        path: of the file; data/models.toml of the study by default.

    Raises:
        BadInput: the file is missing or does not fit; the message names the place.
    """
    return read_toml(path or study_root() / "data" / "models.toml", Models)


def read_config(path: Path) -> Architecture:
    """The architecture in a config.json of Hugging Face; its parameters are counted.

    Raises:
        BadInput: no such file, not JSON, a field is missing, or a model that is not a dense
            decoder in the manner of Llama.
    """
    expected = f"the config.json of a dense model of type {', '.join(LIKE_LLAMA)}"
    remedy = "take the file from the model's page on Hugging Face"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path.name}: {error.strerror}", expected, remedy) from error
    except ValueError as error:
        raise BadInput(f"{path.name} is not JSON: {error}", expected, remedy) from error
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind not in LIKE_LLAMA:
        raise BadInput(
            f"{path.name} describes a model of type {kind!r}, which is not counted here",
            expected,
            "describe it in data/models.toml, if its layers are the same",
        )
    if "quantization_config" in raw:
        raise BadInput(
            f"{path.name} describes quantised weights",
            "the config.json of the unquantised model",
            "take that one, and say what the weights are with --weights q4, q8 or fp8",
        )
    try:
        fields = {
            "name": str(raw.get("_name_or_path") or path.absolute().parent.name),
            "layers": raw["num_hidden_layers"],
            "hidden": raw["hidden_size"],
            "heads": raw["num_attention_heads"],
            "kv_heads": raw.get("num_key_value_heads") or raw["num_attention_heads"],
            "head_dim": raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"],
            "intermediate": raw["intermediate_size"],
            "vocab": raw["vocab_size"],
            "tied": bool(raw.get("tie_word_embeddings", False)),
            "qkv_bias": kind == "qwen2",
            "qk_norm": kind == "qwen3",
            "context": raw["max_position_embeddings"],
            "source": path.name,
        }
        counted = count_parameters(Architecture.model_construct(**fields))
        return Architecture(parameters=counted, **fields)
    except KeyError as error:
        raise BadInput(f"{path.name} has no {error.args[0]}", expected, remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path.name}: {where}: {first['msg']}", expected, remedy) from error
    except (TypeError, ZeroDivisionError) as error:
        raise BadInput(
            f"{path.name} has sizes that are no whole numbers above 0", expected, remedy
        ) from error
