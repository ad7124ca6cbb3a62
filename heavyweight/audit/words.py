"""Sentences that exclude each other, and where the numbers stood before."""

from __future__ import annotations

import re
from dataclasses import dataclass

from heavyweight.article import Article
from heavyweight.article.beside import printed
from heavyweight.article.tables import Origin
from heavyweight.audit.finding import Finding, listed, people, table_by
from heavyweight.tables import NOTHING

NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?")
LOADS = re.compile(r"\bat ((?:\d+(?!,?\d)(?:, )?)+)")  # "at 1, 10, 50 users"


def sentences(article: Article) -> Finding:
    """Sentences that cannot both hold."""
    set_up = next(row.ollama for row in article.system if row.what == "set-up")
    promise = next(row.when for row in article.decision if "minutes" in row.when)
    least, limit = _numbers(set_up)[0], _numbers(promise)[0]
    pairs = [(two.on, two.one, two.another) for two in article.sentences]
    if least >= limit:
        pairs.insert(0, ("Ollama's set-up", set_up.partition(",")[0], promise))
    return Finding(
        id="sentences",
        title="Sentences that exclude each other",
        severity="contradiction",
        formula="two sentences of the article on one thing, in our words",
        sentence=" ".join(
            f"Of {what} the article says {one}, and elsewhere {other}."
            for what, one, other in pairs
        ),
        table=table_by(
            ({"on": what, "one place": one, "another": other} for what, one, other in pairs), "on"
        ),
    )


@dataclass(frozen=True)
class Figure:
    """A published number: what it is, of which load (None: of none), tok/s or ms."""

    what: str
    server: str
    users: int | None
    value: float
    unit: str

    def stands_in(self, source: Origin) -> bool:
        """Whether a source has the number, in its unit and for its load."""
        return any(
            self.unit == unit and self.users in users and self.value in values
            for unit, users, values in map(_clause, source.says.split(";"))
        )


def figures(article: Article) -> list[Figure]:
    """All throughputs and times that the article prints, ratios left out."""
    found = []
    for row in article.throughput:
        for server, value, each in (
            ("vLLM", row.vllm_tok_s, row.vllm_per_request_tok_s),
            ("Ollama", row.ollama_tok_s, row.ollama_per_request_tok_s),
        ):
            what = f"throughput of {people(row.users)}"
            found += [
                Figure(what, server, row.users, v, "tok/s") for v in (value, each) if v is not None
            ]
    for late in article.latency:
        found += [
            Figure(late.title, server, late.users, ms, "ms")
            for server, ms in (("vLLM", late.vllm_ms), ("Ollama", late.ollama_ms))
        ]
    cold = article.cold_start
    return found + [
        Figure("cold start", server, None, s * 1e3, "ms")
        for server, s in (("vLLM", cold.vllm_s), ("Ollama", cold.ollama_s))
    ]


def origin(article: Article) -> Finding:
    """Where each number stood before the article, and whether whom it credits has it."""
    dated = [s for s in article.sources if s.date and s.date < article.article.date]
    dated.sort(key=lambda source: source.date or article.article.date)
    first = {f: next((s for s in dated if f.stands_in(s)), None) for f in figures(article)}
    known = {f: s for f, s in first.items() if s is not None}
    none = list(dict.fromkeys(f.what for f, s in first.items() if s is None))
    sentence = (
        "".join(_found(article, s, known) for s in dict.fromkeys(known.values()))
        + " ".join(_credited(article, known))
        + (f" In no source that was seen: {listed(none)}." if none else "")
    )
    return Finding(
        id="origin",
        title="Older numbers under another name",
        severity="unsupported",
        formula="the earliest dated source that has the number, in its unit (tok/s, ms) and for its"
        " users",
        sentence=sentence,
        table=table_by((_line(f, s) for f, s in first.items()), "number"),
    )


def _found(article: Article, source: Origin, known: dict[Figure, Origin]) -> str:
    """How many numbers a source has, when, and on what."""
    date = source.date or article.article.date
    mine = [f for f, s in known.items() if s is source]
    return (
        f"{len(mine)} of {len(figures(article))} published numbers stood in {source.publisher}'s "
        f'"{source.title}" {(article.article.date - date).days} days before, for another GPU: '
        f"{source.setting.partition(',')[0]}, not {article.article.setting.partition(',')[0]}. "
    )


def _credited(article: Article, known: dict[Figure, Origin]) -> list[str]:
    """What is with the sources that the article names."""
    said = []
    for source in article.sources:
        if source.publisher not in article.article.credited_to:
            continue
        if source.date is None:
            said.append(f"{source.publisher}, credited too, was {source.finding}.")
        elif source not in known.values():
            setting = source.setting.partition(",")[0]
            said.append(
                f"{source.publisher}, which the article credits, has none of them: it measured on "
                f"{setting} and published on {source.date}."
            )
    return said


def _line(figure: Figure, source: Origin | None) -> dict[str, str]:
    value = f"{printed(figure.value)} {figure.unit}"
    return {
        "number": f"{figure.what}, {figure.server}",
        "published": value,
        "first found with": source.publisher if source else "no source seen",
        "on": f"{source.date}" if source else NOTHING,
        "GPU there": source.setting.partition(",")[0] if source else NOTHING,
    }


def _clause(text: str) -> tuple[str, set[int], set[float]]:
    """A clause of what a source says: its unit, the loads it names, its values in tok/s or ms."""
    unit = "tok/s" if "tok/s" in text else "ms"
    scale = 1e3 if re.search(r"\d s\b", text) else 1.0
    users = {int(n) for part in LOADS.findall(text) for n in re.findall(r"\d+", part)}
    rest = LOADS.sub(" ", text)
    return unit, users, {round(n * scale, 6) for n in _numbers(rest)}


def _numbers(text: str) -> list[float]:
    return [float(n.replace(",", "")) for n in NUMBER.findall(text)]
