"""The Modelfile: the chat format that the checkpoint's own template has, and greedy decoding.

An Ollama template is spelled out here for each chat format, with the renamed texts of the
suppressed end tokens, so that both servers see the same tokens for the same messages. The formats
hold for a system message followed by a user's message, which is what the study sends: without a
system message some checkpoints insert one of their own.
"""

from __future__ import annotations

from pathlib import Path

from heavyweight.design import Model
from heavyweight.errors import BadInput
from heavyweight.models.gguf_files import renamed

# "{end}" is the token that ends a message. llama.cpp adds the first token of llama3 by itself.
# chatml: run here, with SmolLM2. llama3, granite, qwen3: from the templates of their checkpoints
# (tokenizer_config.json); not run here: the weights need a GPU machine.
CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}{end}\n{{ end }}"
    "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}{end}\n{{ end }}"
    "<|im_start|>assistant\n{{ .Response }}{end}\n"
)
TEMPLATES = {
    "chatml": CHATML,
    "qwen3": CHATML,  # it may think first; what it thinks are tokens like others
    "llama3": (
        "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
        "{{ .System }}{end}{{ end }}"
        "{{ if .Prompt }}<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}{end}{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{{ .Response }}{end}"
    ),
    "granite": (
        "{{ if .System }}<|start_of_role|>system<|end_of_role|>{{ .System }}{end}\n{{ end }}"
        "{{ if .Prompt }}<|start_of_role|>user<|end_of_role|>{{ .Prompt }}{end}\n{{ end }}"
        "<|start_of_role|>assistant<|end_of_role|>{{ .Response }}{end}\n"
    ),
}

# Which of the end tokens ends a message.
MESSAGE_END = {"chatml": 2, "llama3": 128009, "granite": 0, "qwen3": 151645}

# Greedy, on the OpenAI route too, which cannot set repeat_penalty (1.1 unless set). The context is
# not set here but by the server's environment, so that one file serves every study.
PARAMETERS = {"temperature": "0", "top_p": "1", "repeat_penalty": "1"}


def template(model: Model) -> str:
    """Ollama's template for the model's chat format, with the renamed end token.

    Raises:
        BadInput: the model names no chat format, or its end token is not among those suppressed.
    """
    if model.chat_template is None:
        known = ", ".join(TEMPLATES)
        raise BadInput(f"model {model.name} names no chat_template", f"one of {known}")
    end = MESSAGE_END[model.chat_template]
    if end not in model.end_token_ids:
        raise BadInput(
            f"end_token_ids of {model.name} are {model.end_token_ids}",
            f"{end} among them, which ends a message of {model.chat_template}",
            "correct the model in study.toml",
        )
    return TEMPLATES[model.chat_template].replace("{end}", renamed(end))


def modelfile(model: Model, gguf: Path) -> str:
    """Text of the Modelfile that serves a GGUF file whose end tokens are suppressed."""
    lines = [f"FROM {gguf}", f'TEMPLATE """{template(model)}"""']
    lines += [f"PARAMETER {name} {value}" for name, value in PARAMETERS.items()]
    return "\n".join(lines) + "\n"
