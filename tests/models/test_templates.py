"""Both servers see the same text for the same messages."""

import re
from pathlib import Path

import jinja2
import pytest

from heavyweight.design import load_study
from heavyweight.errors import BadInput
from heavyweight.models.gguf_files import renamed
from heavyweight.models.templates import MESSAGE_END, modelfile, template
from heavyweight.paths import study_root

# What the checkpoints' own templates say of a system and a user message; from their
# tokenizer_config.json, without the branches for tools and documents.
CHECKPOINTS = {
    "smollm2-135m": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama-3.1-8b": (
        "{{- bos_token }}{%- set date_string = '26 Jul 2024' %}"
        "{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
        "{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}"
        "{{- 'Cutting Knowledge Date: December 2023\n' }}"
        "{{- 'Today Date: ' + date_string + '\n\n' }}{{- system_message }}{{- '<|eot_id|>' }}"
        "{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + "
        "'<|end_header_id|>\n\n' + message['content']|trim + '<|eot_id|>' }}{%- endfor %}"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    ),
    "qwen3-8b": (
        "{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}"
        "{%- for message in messages[1:] %}{{- '<|im_start|>' + message.role + '\n' + "
        "message.content + '<|im_end|>' + '\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
        "{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
    ),
    "granite-3.3-8b": (
        "{{- '<|start_of_role|>system<|end_of_role|>' + messages[0]['content'] + "
        "'<|end_of_text|>\n' }}{%- for message in messages[1:] %}{{- '<|start_of_role|>' + "
        "message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}"
        "{%- endfor %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}"
    ),
}
END_TEXT = {"smollm2-135m": "<|im_end|>", "llama-3.1-8b": "<|eot_id|>",
            "qwen3-8b": "<|im_end|>", "granite-3.3-8b": "<|end_of_text|>"}  # fmt: skip
STUDY = load_study(study_root(Path(__file__)) / "study.toml")
MODELS = [model for model in STUDY.models.values() if model.source != "none"]


def as_ollama_would(text: str, **values: str) -> str:
    """Render the part of Go's template language that the study uses, up to the response."""
    text = text[: text.index("{{ .Response }}")]
    text = re.sub(
        r"\{\{ if \.(\w+) \}\}(.*?)\{\{ end \}\}",
        lambda m: m[2] if values.get(m[1]) else "",
        text,
        flags=re.S,
    )
    return re.sub(r"\{\{ \.(\w+) \}\}", lambda m: values[m[1]], text)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_the_template_says_what_the_checkpoints_template_says(model):
    messages = [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": 'What is {{ this }}, "that" & <|x|>?'},
    ]
    theirs = jinja2.Template(CHECKPOINTS[model.name], keep_trailing_newline=True).render(
        messages=messages, add_generation_prompt=True, bos_token=""
    )  # llama.cpp adds the first token by itself
    ours = as_ollama_would(template(model), System=messages[0]["content"], Prompt="PROMPT")
    ours = ours.replace("PROMPT", messages[1]["content"])
    end = renamed(MESSAGE_END[model.chat_template])
    assert ours == theirs.replace(END_TEXT[model.name], end)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_every_model_of_the_study_can_be_served(model):
    text = modelfile(model, Path("/models/x.gguf"))
    assert text.startswith("FROM /models/x.gguf\n")
    assert END_TEXT[model.name] not in text
    assert text.count('"""') == 2
    for line in ("temperature 0", "top_p 1", "repeat_penalty 1"):
        assert f"\nPARAMETER {line}\n" in text
    assert "stop" not in text
    assert "{end}" not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [({"chat_template": None}, "no chat_template"), ({"end_token_ids": [0, 4]}, "2 among them")],
)
def test_a_model_without_its_chat_format_is_refused(change, said):
    model = STUDY.model("smollm2-135m").model_copy(update=change)
    with pytest.raises(BadInput, match=said):
        template(model)
