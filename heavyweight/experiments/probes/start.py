"""What a start brings: memory that is taken at once, the port that it comes with."""

from __future__ import annotations

from heavyweight.experiments.footprint import Footprint
from heavyweight.experiments.probes.arms import real, started
from heavyweight.experiments.probes.base import Mechanism, Observation, Prober, Trial, checked
from heavyweight.experiments.streams import Ask
from heavyweight.servers.asking import get_json

HALF = 0.5
MB = 1e6
OUTPUT_TOKENS = 8


def memory(prober: Prober) -> Observation:
    """Compare the memory of the ready server with that after its first token.

    Memory is that of the GPUs where there are any, else PSS, else RSS.
    """
    server, ready = prober.server, prober.at_ready
    if server.process is None or ready is None:
        return Observation("unknown", "its processes are not known")
    asked = Footprint.of(server.process.pgid, prober.vram_before_bytes)
    taken, after = ready.taken_bytes, asked.taken_bytes
    if taken is None or after is None:
        return Observation("unknown", "the GPU does not tell what is used of its memory")
    detail = server.identify().detail
    yes = taken >= HALF * after
    kv = int(detail["kv_tokens"]) if "kv_tokens" in detail else None
    one: Trial = {"yes": yes, "kv_tokens": kv}
    for moment, seen in (("ready", ready), ("first_token", asked)):
        for name in ("rss_bytes", "pss_bytes", "vram_bytes"):
            one[f"{moment}_{name}"] = getattr(seen, name)
    return Observation(
        "yes" if yes else "no",
        f"{taken / MB:,.0f} MB when it was ready, {after / MB:,.0f} MB"
        " after the first token"
        + ("" if kv is None else f"; its KV cache has room for {kv:,} tokens"),
        [one],
        after / MB,
        "MB after the first token",
    )


def ports(prober: Prober) -> Observation:
    """Ask by the OpenAI API on the port where the server listens unless it is told."""
    server = prober.server
    usual = server.usual_port
    if server.base_url != f"http://127.0.0.1:{usual}":
        return Observation("unknown", f"port {usual} was taken, or another was asked for")
    served = [one.get("id") for one in get_json(f"{server.base_url}/v1/models").get("data") or []]
    answers = prober.send(Ask(prober.prompt(), OUTPUT_TOKENS))
    checked(answers)
    return Observation(
        "yes",
        f"started without a port, it lists {len(served)} model{'s' * (len(served) != 1)} and"
        f" streams an answer by the OpenAI API on {usual}",
        [{"yes": True, "port": usual, "models": len(served), "tokens": answers[0].tokens}],
    )


MEMORY = Mechanism(
    "memory-at-start",
    "Is at least half of the memory taken before the first request?",
    memory,
    started,
)
PORTS = Mechanism(
    "ports", "Does it answer the OpenAI API on its usual port, when it is told none?", ports, real
)
