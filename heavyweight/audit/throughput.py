"""The throughput table against itself."""

from __future__ import annotations

from itertools import pairwise

from heavyweight import physics
from heavyweight.article import Article
from heavyweight.article.beside import printed
from heavyweight.article.tables import Throughput
from heavyweight.audit.finding import APART, Finding, listed, people, table_by
from heavyweight.tables import number


def mixed_row(article: Article) -> Throughput:
    """The row with numbers per request."""
    return next(r for r in article.throughput if r.ollama_per_request_tok_s is not None)


def ollama_totals(article: Article) -> dict[int, float]:
    """Ollama's published totals by users, tok/s."""
    return {r.users: r.ollama_tok_s for r in article.throughput if r.ollama_tok_s is not None}


def eight_users(article: Article) -> Finding:
    """The row that mixes totals and numbers per request, against itself."""
    row = mixed_row(article)
    vllm, ollama = row.vllm_per_request_tok_s or 0, row.ollama_per_request_tok_s or 0
    total, advantage = row.vllm_tok_s or 0, printed(row.advantage)
    left, mine = total / row.advantage, ollama * row.users
    pairs = [
        ("vLLM's total", f"{printed(vllm)} x {row.users}", vllm * row.users, printed(total), total),
        ("Ollama's total", f"{printed(ollama)} x {row.users}", mine,
         f"{printed(total)} / {advantage}", left),
        ("advantage per request", f"{printed(vllm)} / {printed(ollama)}", vllm / ollama,
         advantage, row.advantage),
        ("advantage in total", f"{printed(total)} / {printed(mine)}", total / mine,
         advantage, row.advantage),
    ]  # fmt: skip
    agree = [abs(first / second - 1) <= APART for _, _, first, _, second in pairs]
    sentence = (
        f"{row.users} requests at {printed(vllm)} tok/s each are {number(vllm * row.users)} tok/s, "
        f"not the {printed(total)} in total that stand beside them. {row.users} at "
        f"{printed(ollama)} each are {number(mine)} for Ollama, "
        f"{'more' if mine > total else 'less'} than vLLM's {printed(total)}, while the printed "
        f"{advantage}x would leave Ollama {number(left)}. {advantage} is {printed(vllm)} / "
        f"{printed(ollama)}: an advantage per request that is called one in total."
    )
    return Finding(
        id="eight-users",
        title=f"The row of {row.users} users against itself",
        severity="ok" if all(agree) else "contradiction",
        formula="total (tok/s) = users x tok/s per request; advantage = vLLM's total / Ollama's; "
        f"more than {APART:.0%} apart is a contradiction",
        sentence=sentence,
        table=table_by(
            (
                {"quantity": name, "from": one, "gives": number(first), "but from": other,
                 "it is": number(second), "agree": "yes" if same else "no"}
                for (name, one, first, other, second), same in zip(pairs, agree, strict=True)
            ),
            "quantity",
        ),
    )  # fmt: skip


def ratios(article: Article) -> Finding:
    """Whether the printed advantages are the quotients of the printed numbers."""
    rows: list[dict[str, object]] = []
    right: list[int] = []
    wrong: list[int] = []
    each: list[int] = []
    for row in article.throughput:
        per_request = row.ollama_tok_s is None
        above = row.vllm_per_request_tok_s if per_request else row.vllm_tok_s
        below = row.ollama_per_request_tok_s if per_request else row.ollama_tok_s
        if above is None or below is None:
            continue
        text = printed(row.advantage)
        decimals = len(text.partition(".")[2])
        agrees = f"{above / below:.{decimals}f}" == f"{row.advantage:.{decimals}f}"
        (right if agrees else wrong).append(row.users)
        each += [row.users] if per_request else []
        rows.append(
            {
                "users": row.users,
                "from": f"{printed(above)} / {printed(below)}" + " per request" * per_request,
                "quotient": f"{above / below:.3f}",
                "printed": text,
                "agree": "yes" if agrees else "no",
            }
        )
    sentence = (
        "The printed advantages are the quotients of the printed numbers, rounded, at "
        f"{listed(right)} users"
        + (f", and not at {listed(wrong)}" if wrong else "")
        + (f"; at {listed(each)} of numbers per request" if each else "")
        + "."
    )
    return Finding(
        id="ratios",
        title="Rounding of the advantages",
        severity="contradiction" if wrong else "ok",
        formula="advantage = vLLM (tok/s) / Ollama (tok/s), rounded to the printed digits",
        sentence=sentence,
        table=table_by(rows, "users"),
    )


def readings(article: Article) -> dict[str, dict[int, float]]:
    """Ollama's total by users, tok/s, once for each way to read the row without a total."""
    row = mixed_row(article)
    each, total = row.ollama_per_request_tok_s or 0, row.vllm_tok_s or 0
    ways = {
        f"{printed(each)} per request x {row.users}": each * row.users,
        f"{printed(total)} / {printed(row.advantage)}": total / row.advantage,
        f"{printed(each)} in total": each,
    }
    known = ollama_totals(article)
    return {way: dict(sorted((known | {row.users: x}).items())) for way, x in ways.items()}


def shape(article: Article) -> Finding:
    """Whether Ollama's throughput by users is a curve that a server can have."""
    mixed, curves = mixed_row(article), readings(article)
    rows, falls = [], []
    for way, curve in curves.items():
        users = list(curve)
        before, after = min(pairwise(users), key=lambda step: curve[step[1]] / curve[step[0]])
        fall = curve[after] / curve[before] - 1
        falls += [f"{curve[before]:,.0f} to {curve[after]:,.0f}"] if fall < -APART else []
        rows.append(
            {
                f"row of {mixed.users} read as": way,
                **{f"{people(n)} (tok/s)": f"{curve[n]:,.0f}" for n in users},
                "largest fall": f"{fall:.0%}, {before} to {people(after)}",
            }
        )
    sentence = (
        "Ollama's published totals are "
        + listed(f"{printed(x)} tok/s at {people(n)}" for n, x in ollama_totals(article).items())
        + f"; the row of {mixed.users} users can mean "
        + " or ".join(f"{curve[mixed.users]:,.0f}" for curve in curves.values())
        + f". In {len(falls)} of {len(curves)} readings throughput falls where users are added"
        + (f" (from {' or '.join(falls)})" if falls else "")
        + ". A server with a fixed number of slots keeps what it gives while more users queue."
    )
    return Finding(
        id="shape",
        title="A curve that rises and falls",
        severity="unsupported" if len(falls) == len(curves) else "ok",
        formula="with k slots min(users, k) requests are answered at once: the total (tok/s) rises "
        f"up to k users and then stays; a fall of up to {APART:.0%} is let pass",
        sentence=sentence,
        table=table_by(rows, f"row of {mixed.users} read as"),
    )


def one_slot(article: Article) -> Finding:
    """How much batching a throughput above that of one user takes."""
    totals = ollama_totals(article)
    single = totals[min(totals)]
    slots = {n: physics.slots_needed(tok_s, single) for n, tok_s in totals.items()}
    several = {n: k for n, k in slots.items() if k > 1 + APART}
    sentence = (
        "A server that answers one request after the other, as the article says of Ollama, gives "
        f"all its users together what it gives to one: about {printed(single)} tok/s. "
        + listed(f"{printed(totals[n])} at {n} users" for n in several)
        + f" take the work of at least {listed(f'{k:.1f}' for k in several.values())} requests at "
        "once."
        if several
        else f"All of Ollama's totals are what one slot gives: about {printed(single)} tok/s."
    )
    return Finding(
        id="one-slot",
        title="More than one slot can give",
        severity="contradiction" if several else "ok",
        formula="slots at least = total (tok/s) / tok/s of one user alone: a request in a batch is "
        "not faster than alone",
        sentence=sentence,
        table=table_by(
            (
                {"users": n, "Ollama, published (tok/s)": printed(totals[n]),
                 "one slot, about (tok/s)": printed(single), "slots, at least": f"{k:.2f}"}
                for n, k in slots.items()
            ),
            "users",
        ),
    )  # fmt: skip
