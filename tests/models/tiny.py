"""A tiny model as a GGUF file and as a checkpoint, both from the same values."""

from pathlib import Path

import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType, GGUFEndian, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

from heavyweight.design import Model

BLOCKS, WIDTH, HEADS, KV_HEADS, FEED_FORWARD = 2, 64, 4, 2, 96
TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<never>",
    *(f"word{i}" for i in range(26)),
]  # fmt: skip
CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
END_IDS, NEVER_ID = [0, 2, 4], 5

MODEL = Model(
    name="tiny", title="Tiny", parameters=100_000, source="pypi", package="tiny==1",
    gguf="tiny.Q4_1.gguf", end_token_ids=END_IDS, never_token_id=NEVER_ID, chat_template="chatml",
)  # fmt: skip

SHAPES = {
    "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH * KV_HEADS // HEADS, WIDTH),
    "attn_v": (WIDTH * KV_HEADS // HEADS, WIDTH), "attn_output": (WIDTH, WIDTH),
    "ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH),
    "ffn_down": (WIDTH, FEED_FORWARD),
}  # fmt: skip
IN_CHECKPOINT = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


def tensors(seed: int = 1) -> dict[str, tuple[np.ndarray, GGMLQuantizationType]]:
    """GGUF name -> bytes as they lie in the file, and their format."""
    rng = np.random.default_rng(seed)
    made = {"token_embd.weight": (len(TOKENS), WIDTH)}
    for block in range(BLOCKS):
        made |= {f"blk.{block}.{name}.weight": shape for name, shape in SHAPES.items()}
        made |= {f"blk.{block}.{name}_norm.weight": (WIDTH,) for name in ("attn", "ffn")}
    made["output_norm.weight"] = (WIDTH,)
    found = {}
    for name, shape in made.items():
        values = rng.normal(0, 0.05, shape).astype(np.float32)
        kind = GGMLQuantizationType.F32 if len(shape) == 1 else GGMLQuantizationType.Q4_1
        if name == "token_embd.weight":
            kind = GGMLQuantizationType.Q8_0
        data = values if kind == GGMLQuantizationType.F32 else quantize(values, kind)
        found[name] = (data, kind)
    return found


def write_gguf(path: Path, arch: str = "llama", **more: int) -> Path:
    """Write the tiny model; `more` are further token ids of its metadata."""
    writer = GGUFWriter(path, arch, endianess=GGUFEndian.LITTLE)
    writer.add_name("Tiny")
    writer.add_block_count(BLOCKS)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_1)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * 6 + [1] * 26)
    writer.add_token_merges(["w o", "wo r"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for key, value in more.items():
        writer.add_uint32(f"tokenizer.ggml.{key}", value)
    for name, (data, kind) in tensors().items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def halves_from_neighbours(rows: np.ndarray, heads: int) -> np.ndarray:
    """A checkpoint's order of rows, row by row: value j of pair i of a head comes from 2i + j."""
    size = len(rows) // heads
    order = [
        head * size + 2 * (row % (size // 2)) + row // (size // 2)
        for head in range(heads)
        for row in range(size)
    ]
    return rows[order]


def checkpoint_tensors() -> dict[str, np.ndarray]:
    """The tiny model's values under the names and in the order of a checkpoint, in bfloat16."""
    found = {}
    for name, (data, kind) in tensors().items():
        values = dequantize(data, kind)
        parts = name.split(".")
        if parts[0] == "blk":
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(parts[2])
            values = halves_from_neighbours(values, heads) if heads else values
            name = f"model.layers.{parts[1]}.{IN_CHECKPOINT[parts[2]]}.weight"  # noqa: PLW2901
        else:
            place = {"token_embd": "embed_tokens", "output_norm": "norm"}[parts[0]]
            name = f"model.{place}.weight"  # noqa: PLW2901
        found[name] = np.ascontiguousarray(values).astype(ml_dtypes.bfloat16)
    return found


def write_checkpoint(folder: Path, changed: dict[str, np.ndarray | None] | None = None) -> Path:
    """Write the checkpoint; `changed` replaces tensors, None leaves them out."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {k: v for k, v in (checkpoint_tensors() | (changed or {})).items() if v is not None}
    save_file(values, folder / "model.safetensors")
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}\n')
    return folder
