"""vLLM's published throughput against the memory of the GPU."""

from __future__ import annotations

from heavyweight import physics
from heavyweight.article import Article
from heavyweight.article.beside import printed
from heavyweight.audit.finding import Finding, listed, people, table_by
from heavyweight.audit.throughput import mixed_row
from heavyweight.tables import number


def roofline(
    article: Article, gpu: physics.Gpu, other: physics.Gpu, model: physics.Architecture
) -> Finding:
    """vLLM's published totals against what the memory of a GPU allows at 16 bits.

    Args:
        article: the published tables.
        gpu: the article's.
        other: a second one, where the numbers are older.
        model: the article's.
    """
    totals = published_totals(article)
    most = {users: physics.bound(gpu, model, users).tok_s for users in totals}
    above = {users: tok_s for users, tok_s in totals.items() if tok_s > most[users]}
    below = {users: tok_s for users, tok_s in totals.items() if users not in above}
    mixed = mixed_row(article)
    each = mixed.vllm_per_request_tok_s or 0
    rows = [(users, printed(tok_s), tok_s) for users, tok_s in totals.items()]
    rows.append((mixed.users, f"{printed(each)} x {mixed.users}", each * mixed.users))
    read_gb = physics.gb(physics.read_bytes_per_step(model))
    sentence = (
        f"A decode step of {model.title} at 16 bits reads {number(read_gb)} GB of weights, and the "
        f"memory of the {gpu.name} moves {gpu.memory_bandwidth_gb_s:,g} GB/s: "
        f"{listed(totals)} users can have at most {listed(map(number, most.values()))} tok/s "
        f"together, whatever the server, unless it decodes speculatively. Published for vLLM are "
        f"{listed(map(printed, totals.values()))}: "
        + (f"{listed(map(printed, above.values()))} cannot be" if above else "all of them can be")
        + (f", {listed(map(printed, below.values()))} can. " if above and below else ". ")
        + _elsewhere(article, other, model, *next(iter(totals.items())))
        + f"{printed(each)} tok/s to each of {mixed.users} users would take "
        f"{number(each * read_gb)} GB/s, {each * read_gb / gpu.memory_bandwidth_gb_s:.1f} times "
        f"what the {gpu.name} has."
    )
    return Finding(
        id="roofline",
        title="Faster than the memory of the GPU",
        severity="impossible" if above else "ok",
        formula="at most (tok/s) = users x memory bandwidth (bytes/s) / weights read in a step "
        "(bytes); KV cache and compute left out, which only lower it; no speculative decoding",
        sentence=sentence,
        table=table_by((_row(*row, gpu, other, model) for row in rows), "users"),
    )


def published_totals(article: Article) -> dict[int, float]:
    """vLLM's published totals by users, tok/s."""
    return {r.users: r.vllm_tok_s for r in article.throughput if r.vllm_tok_s is not None}


def _row(
    users: int, said: str, tok_s: float, gpu: physics.Gpu, other: physics.Gpu,
    model: physics.Architecture,
) -> dict[str, object]:  # fmt: skip
    row: dict[str, object] = {"users": users, "published (tok/s)": said}
    for one in (gpu, other):
        most = physics.bound(one, model, users).tok_s
        row |= {
            f"{one.name}, at most": number(most),
            f"{one.name}, share of it": f"{tok_s / most:.0%}",
            f"{one.name}, judged": "impossible" if tok_s > most else "possible",
        }
    return row


def _elsewhere(
    article: Article, other: physics.Gpu, model: physics.Architecture, users: int, tok_s: float
) -> str:
    """The same for another GPU, and whose number it is there."""
    most = physics.bound(other, model, users).tok_s
    whose = next((s.publisher for s in article.sources if other.name in s.setting), None)
    return (
        f"On the {other.name}"
        + (f", where {whose} has the same number" if whose else "")
        + f", {people(users)} can have {number(most)}: {printed(tok_s)} is "
        + ("above that too. " if tok_s > most else "below that. ")
    )
