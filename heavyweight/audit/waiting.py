"""The latency table: what its times say of lengths and slots, and a figure that stands twice."""

from __future__ import annotations

from heavyweight import physics
from heavyweight.article import Article
from heavyweight.article.beside import printed
from heavyweight.article.tables import Latency
from heavyweight.audit.finding import Finding, listed, table_by
from heavyweight.tables import number

CONTEXTS = (4096, 32_768)  # tokens a slot: Ollama's defaults below 24 GiB of VRAM, and up to 48


def lengths(article: Article) -> Finding:
    """How long answers can be, by Little's law."""
    late = _latency(article, "e2e", "p95")
    row = next(r for r in article.throughput if r.users == late.users)
    found = {
        "vLLM": (row.vllm_tok_s or 0, late.vllm_ms / 1e3),
        "Ollama": (row.ollama_tok_s or 0, late.ollama_ms / 1e3),
    }
    tokens = {
        server: physics.output_tokens_at_most(tok_s, response_s, late.users)
        for server, (tok_s, response_s) in found.items()
    }
    sentence = (
        f"With {late.users} users the published throughput and p95 leave a request at most "
        + listed(f"{number(n)} output tokens on {server}" for server, n in tokens.items())
        + ". Both can hold, but only for short answers, and "
        + f"{article.article.lengths}."
    )
    return Finding(
        id="lengths",
        title="Answers of a few dozen tokens",
        severity="unsupported",
        formula="tokens a request, at most = tok/s of all users x p95 (s) / users: Little's law, "
        "with the p95 as an upper bound on the mean response",
        sentence=sentence,
        table=table_by(
            (
                {"server": server, "users": str(late.users), "tok/s": printed(tok_s),
                 "p95 (s)": printed(response_s), "tokens, at most": number(tokens[server])}
                for server, (tok_s, response_s) in found.items()
            ),
            "server",
        ),
    )  # fmt: skip


def slots(article: Article, gpu: physics.Gpu, model: physics.Architecture) -> Finding:
    """How many slots Ollama's wait for the first response takes, and their KV cache.

    Args:
        article: the published tables.
        gpu: the article's.
        model: the article's.
    """
    first, late = _latency(article, "ttft", "p50"), _latency(article, "e2e", "p95")
    users, response_s, wait_s = late.users, late.ollama_ms / 1e3, first.ollama_ms / 1e3
    needed = round(physics.slots_for_wait(wait_s, response_s, users))
    short_s = wait_s * users / (users - 1)
    row = next(r for r in article.throughput if r.users == users)
    short = physics.output_tokens_at_most(row.ollama_tok_s or 1, short_s, users)
    weights_gib = physics.gib(physics.weights_bytes(model, physics.PRECISIONS["q4"]))
    cache_gib = {context: needed * _cache_gib(model, context) for context in CONTEXTS}
    sentence = (
        f"At {users} users Ollama is said to answer first after {printed(wait_s)} s and in full "
        f"within {printed(response_s)} s (p95). If requests queue for slots, so short a wait takes "
        f"about {needed} slots of {users}, though the article has requests answered one at a time; "
        f"with one slot the wait in such a response is {number(_wait(response_s, users, 1))} s. "
        f"{needed} slots need {listed(f'{number(x)} GiB' for x in cache_gib.values())} of KV cache "
        f"at {listed(f'{context:,}' for context in CONTEXTS)} tokens each, beside weights of "
        f"{number(weights_gib)} GiB on a GPU of {gpu.memory_gb:g}. One slot would do only if the "
        f"mean response were {number(short_s)} s, with {number(short)} tokens a request."
    )
    return Finding(
        id="slots",
        title="A wait too short for one slot",
        severity="contradiction" if needed > 1 else "ok",
        formula="slots = users x (1 - wait (s) / response (s)), first come first served; KV cache "
        "(GiB) = slots x tokens x KV cache a token (bytes) / 2^30",
        sentence=sentence,
        table=table_by(
            (
                {"slots": k, "wait (s)": number(_wait(response_s, users, k))}
                | {f"KV cache at {context:,} tokens (GiB)": number(k * _cache_gib(model, context))
                   for context in CONTEXTS}
                for k in sorted({1, 4, 8, needed})
            ),
            "slots",
        ),
    )  # fmt: skip


def same_figure(article: Article) -> Finding:
    """Figures that stand for two different things of one server."""
    times = [(f"{r.title}, {r.users} users", r.vllm_ms, r.ollama_ms) for r in article.latency]
    cold = article.cold_start
    times.append(("cold start", cold.vllm_s * 1e3, cold.ollama_s * 1e3))
    twice = [
        (server, ms, [name for name, *both in times if both[place] == ms])
        for place, server in enumerate(("vLLM", "Ollama"))
        for ms in dict.fromkeys(both[place] for _, *both in times)
    ]
    twice = [(server, ms, names) for server, ms, names in twice if len(names) > 1]
    sentence = " ".join(
        f"{printed(ms / 1e3)} s stands {len(names)} times for {server}: as "
        f"{listed(names)}. The one is a wait among other users, the other the loading of a model; "
        "nothing makes them equal."
        for server, ms, names in twice
    )
    return Finding(
        id="same-figure",
        title="One figure for two things",
        severity="unsupported" if twice else "ok",
        formula="times (s) of one server that are the same to the printed digits",
        sentence=sentence or "No time stands for two things.",
        table=table_by(
            (
                {"time (s)": name, "vLLM": printed(vllm / 1e3), "Ollama": printed(ollama / 1e3)}
                for name, vllm, ollama in times
            ),
            "time (s)",
        ),
    )


def _latency(article: Article, quantity: str, statistic: str) -> Latency:
    return next(r for r in article.latency if (r.quantity, r.statistic) == (quantity, statistic))


def _wait(response_s: float, users: int, slots_: int) -> float:
    return physics.wait_s(response_s, users, slots_)


def _cache_gib(model: physics.Architecture, context: int) -> float:
    return physics.gib(context * physics.kv_bytes_per_token(model))
