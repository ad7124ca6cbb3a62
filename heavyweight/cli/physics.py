"""heavyweight physics: what a GPU can do with a model at most, without measuring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heavyweight.cli.output import AsJson, console, emit, table
from heavyweight.errors import BadInput

if TYPE_CHECKING:
    from heavyweight.physics import Architecture, Gpu

LOADS = ("1", "4", "8", "50")  # the article's
UNKNOWN = "unknown"


def physics(
    more: Annotated[
        list[str] | None, typer.Argument(metavar="USERS", help="More of --users.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="A GPU of data/hardware.toml; or any, with its numbers.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model of data/models.toml.")] = None,
    users: Annotated[
        list[str] | None,
        typer.Option(help="Concurrent users: 1 8 50, or 1,8,50; empty: 1 4 8 50."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="fp16 (as it comes), bf16, fp8, q8 (Q8_0) or q4 (Q4_K_M).")
    ] = None,
    bits: Annotated[
        float | None, typer.Option(help="Bits a weight, in place of --weights.")
    ] = None,
    context: Annotated[
        int, typer.Option(help="Tokens of each user, whose KV cache is read; 0: not counted.")
    ] = 0,
    prompt: Annotated[int, typer.Option(help="Tokens of the prompt that is read.")] = 512,
    config: Annotated[
        Path | None, typer.Option(help="A config.json of Hugging Face, in place of --model.")
    ] = None,
    bandwidth_gb_s: Annotated[
        float | None, typer.Option(help="Memory bandwidth of another GPU, 10^9 bytes/s.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option(help="Its memory as sold, 2^30 bytes each.")
    ] = None,
    tflops: Annotated[
        float | None, typer.Option(help="Its peak at 16 bits, dense, 10^12 FLOP/s.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="The known GPUs and models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a GPU can do with a model at most: upper bounds, from its sheet, without a machine.

    No server is faster, whatever its name, unless it decodes speculatively.
    """
    from heavyweight.physics import bound, load_models, read_config

    if listed:
        _list(as_json)
        return
    if (model is None) == (config is None):
        raise BadInput(
            "--model and --config" if model else "no model",
            "one of --model NAME and --config path/to/config.json",
            "heavyweight physics --list names the known ones",
        )
    loads = _loads(users, more)
    bits = _bits(weights, bits)
    given = {"memory_bandwidth_gb_s": bandwidth_gb_s, "memory_gb": memory_gb, "fp16_tflops": tflops}
    card = _card(gpu, {name: value for name, value in given.items() if value is not None})
    what = read_config(config) if config else load_models().model(str(model))
    bounds = [bound(card, what, load, context, bits=bits) for load in loads]
    said = _said(card, what, bits, context, prompt)
    if as_json:
        rows = [vars(b) | {"tok_s": b.tok_s, "limited_by": b.limited_by} for b in bounds]
        emit(said | {"bounds": rows})
        return
    _print_said(said, card, what)
    table(
        ["users", "tok/s", "tok/s a user", "limited by", "compute alone, tok/s",
         *_fit_head(context)],
        [
            [b.users, _number(b.tok_s), _number(b.tok_s / b.users), b.limited_by,
             _number(b.compute_tok_s), *_fit(b, context)]
            for b in bounds
        ],
        "All users together, at most",
    )  # fmt: skip
    console.print(
        "Upper bounds, without speculative decoding: tok/s = users x steps/s, or "
        f"FLOP/s / (2 x parameters read), the smaller. {_cache_counted(context)} "
        "Activations and the runtime take memory too.",
        markup=False,
    )


def _loads(users: list[str] | None, more: list[str] | None) -> list[int]:
    """The loads, of ``--users 1 8 50`` as of ``--users 1,8,50``."""
    if more and not users:
        raise BadInput(f"{' '.join(more)} without --users", "--users 1 8 50", "say --users")
    texts = [one for text in (*(users or LOADS), *(more or ())) for one in text.split(",") if one]
    try:
        return [int(text) for text in texts]
    except ValueError as error:
        raise BadInput(
            f"--users {' '.join(texts)}", "whole numbers above 0, such as 1 8 50", "mend it"
        ) from error


def _bits(weights: str | None, bits: float | None) -> float:
    from heavyweight.physics import PRECISIONS

    if weights is not None and bits is not None:
        raise BadInput("--weights and --bits contradict each other", "one of them", "choose one")
    if bits is not None and not 0 < bits <= 32:
        raise BadInput(f"--bits {bits:g}", "above 0 and at most 32", "mend it")
    if weights is not None and weights not in PRECISIONS:
        raise BadInput(f"--weights {weights}", f"one of {', '.join(PRECISIONS)}", "choose one")
    return bits if bits is not None else PRECISIONS[weights or "fp16"]


def _card(name: str | None, given: dict[str, float]) -> Gpu:
    """A known GPU, with what is given in place of its own; or one that is in no file."""
    from heavyweight.physics import Gpu, load_hardware

    for key, value in given.items():
        if not 0 < value < float("inf"):
            raise BadInput(f"{key} {value:g}", "a number above 0", "mend it")
    if "memory_bandwidth_gb_s" in given:
        return Gpu.model_validate({"name": name or "this GPU", **given})
    if name is None:
        raise BadInput(
            "no GPU",
            "--gpu NAME, or --bandwidth-gb-s and, where they are known, --memory-gb and --tflops",
            "heavyweight physics --list names the known ones",
        )
    return load_hardware().gpu(name).model_copy(update=given)


def _said(card: Gpu, what: Architecture, bits: float, context: int, prompt: int) -> dict[str, Any]:
    """What does not depend on the load, with units in the names."""
    from heavyweight import physics

    read = physics.read_bytes_per_step(what, bits)
    return {
        "gpu": card.model_dump(mode="json"),
        "model": what.model_dump(mode="json"),
        "bits": bits,
        "context_tokens": context,
        "prompt_tokens": prompt,
        "weights_bytes": physics.weights_bytes(what, bits),
        "read_bytes_per_step": read,
        "steps_per_s": physics.steps_per_s_at_most(card, what, bits=bits),
        "kv_bytes_per_token": physics.kv_bytes_per_token(what),
        "kv_tokens_that_fit": physics.kv_tokens_that_fit(card, what, bits=bits),
        "users_that_fit": (
            physics.users_that_fit(card, what, context, bits=bits) if context else None
        ),
        "prefill_s": physics.prefill_s_at_least(card, what, prompt, bits),
        "speculative_decoding": False,
    }  # fmt: skip


def _print_said(said: dict[str, Any], card: Gpu, what: Architecture) -> None:
    from heavyweight.physics import gb, gib

    bits, kv = said["bits"], said["kv_bytes_per_token"]
    weights, read = said["weights_bytes"], said["read_bytes_per_step"]
    room = said["kv_tokens_that_fit"]
    console.print(f"{what.title or what.name} at {bits:g} bits on {card.name}", markup=False)
    rows = [
        ["weights", f"{_number(gb(weights))} GB = {_number(gib(weights))} GiB",
         f"{what.parameters:,} parameters x {bits:g} / 8 bytes"],
        ["read a step", f"{_number(gb(read))} GB",
         "the same, as the head is the embedding" if what.tied
         else "the same without the input embedding, which is looked up"],
        ["steps", f"{_number(said['steps_per_s'])} a second",
         f"{card.memory_bandwidth_gb_s:,g} GB/s / {_number(gb(read))} GB"],
        ["KV cache", f"{kv / 1024:g} KiB a token",
         f"2 x {what.layers} layers x {what.kv_heads} KV heads x {what.head_dim} x 2 bytes"],
        ["room for it", UNKNOWN if room is None else f"{room:,} tokens" if room else "none",
         "no memory size given" if room is None else
         f"({card.memory_gb:g} GiB - weights) / KV cache a token" if room else
         f"the weights do not fit into {card.memory_gb:g} GiB"],
        [f"{said['prompt_tokens']:,} tokens in", f"{said['prefill_s'] * 1e3:,.1f} ms or more",
         "2 FLOP x parameters x tokens / FLOP/s, or one reading of the weights"],
    ]  # fmt: skip
    if said["users_that_fit"] is not None:
        rows.append(["users that fit", f"{said['users_that_fit']:,}",
                     f"room / {said['context_tokens']:,} tokens each"])  # fmt: skip
    table(["", "", "from"], rows)


def _fit_head(context: int) -> list[str]:
    return ["weights and contexts", "fit"] if context else ["tokens of context a user that fit"]


def _fit(one: Any, context: int) -> list[str]:
    """Capacity: whether contexts fit, or how long they may be."""
    from heavyweight.physics import gb, gib

    fits = UNKNOWN if one.fits is None else "yes" if one.fits else "no"
    if context:
        need = one.memory_bytes
        return [f"{_number(gb(need))} GB = {_number(gib(need))} GiB", fits]
    return [fits if not one.fits else f"{one.tokens_a_user:,}"]


def _cache_counted(context: int) -> str:
    if context:
        return f"Reading {context:,} tokens of KV cache a user is counted."
    return "Reading the KV cache is not counted (--context)."


def _number(value: float | None) -> str:
    """Three significant digits, as everywhere in the study."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _list(as_json: bool) -> None:
    from heavyweight.physics import load_hardware, load_models

    gpus, models = load_hardware().gpus, load_models().models
    if as_json:
        emit({"gpus": [one.model_dump(mode="json") for one in gpus],
              "models": [one.model_dump(mode="json") for one in models]})  # fmt: skip
        return
    table(
        ["GPU", "memory, GB as sold", "bandwidth, GB/s", "FP16, TFLOP/s", "FP8, TFLOP/s", "W",
         "year", "USD/h"],
        [[g.name, f"{g.memory_gb:g}", f"{g.memory_bandwidth_gb_s:,g}", f"{g.fp16_tflops:,g}",
          g.fp8_tflops and f"{g.fp8_tflops:,g}", f"{g.tdp_w:g}", g.released,
          g.price_usd_per_hour and f"{g.price_usd_per_hour:.2f}"] for g in gpus],
        "GPUs: data/hardware.toml, with the source of each number",
    )  # fmt: skip
    table(
        ["model", "parameters", "layers", "KV heads", "head dimension", "context"],
        [[m.name, f"{m.parameters:,}", m.layers, m.kv_heads, m.head_dim, f"{m.context:,}"]
         for m in models],
        "Models: data/models.toml",
    )  # fmt: skip
