"""The model: whether another one is served on demand, and in which data type it is loaded."""

from __future__ import annotations

from heavyweight.design import Arm
from heavyweight.errors import ServerError
from heavyweight.experiments.probes.arms import started
from heavyweight.experiments.probes.base import Mechanism, Observation, Prober, Trials
from heavyweight.experiments.streams import Ask
from heavyweight.models import load_manifest
from heavyweight.servers.asking import get_json, post_json
from heavyweight.servers.base import Server

OUTPUT_TOKENS = 8
HALF_PRECISION = frozenset({"float16", "F16"})
NOT_FOUND = 404


def swap(prober: Prober) -> Observation:
    """Ask for the server's own model, for another of the study's, and for the first one again."""
    server = prober.server
    names = [server.served_model, _another(prober), server.served_model]
    if names[1] is None:
        return Observation("unknown", "only one model of this study is known to Ollama")
    trials: Trials = []
    group = server.process.pgid if server.process else None
    for name in names:
        (answer,) = prober.send(Ask(prober.prompt(), OUTPUT_TOKENS), model=name)
        if answer.error and answer.status is None:
            raise ServerError(f"it did not answer: {answer.told}")
        trials.append(
            {
                "answered": answer.error is None,
                "model": str(name),
                "status": answer.status,
                "ttft_ms": None if answer.error else answer.ttft_ms,
                "said": answer.told,
                "loaded": _loaded(server),
            }
        )
    _forget(server, str(names[1]))
    same = server.alive() and (server.process is None or server.process.pgid == group)
    if not same:
        return Observation("unknown", "the server died meanwhile", trials)
    times = [f"{t['ttft_ms']:.0f} ms" for t in trials if isinstance(t["ttft_ms"], float)]
    failed = next((one for one in trials if not one["answered"]), None)
    if failed is not None and failed is trials[0]:
        return Observation("unknown", f"its own model failed: {failed['said']}", trials)
    trials[1]["yes"] = failed is None  # the one trial of a change, there and back
    if failed is not None:
        return Observation("no", f"asked for {failed['model']}, it said {failed['said']}", trials)
    first_swap = trials[1]["ttft_ms"]
    assert isinstance(first_swap, float)
    return Observation(
        "yes",
        f"{names[0]}, {names[1]} and {names[0]} again were answered by one start;"
        f" first tokens after {', '.join(times)}",
        trials,
        first_swap,
        "ms to the other model's first token",
    )


def _another(prober: Prober) -> str | None:
    """A name that is not the server's own: of another artefact of the same weights."""
    known = load_manifest(prober.setting.model).artefacts.values()
    own = prober.setting.artefact.name if prober.setting.artefact else None
    names = [one.ollama_name for one in known if one.ollama_name and one.name != own]
    if names or prober.arm.server == "ollama":
        return names[0] if names else None
    return f"{prober.server.served_model}-another"


def _loaded(server: Server) -> int | None:
    """How many models Ollama holds; None: it is another server."""
    if server.kind != "ollama":
        return None
    return len(get_json(f"{server.base_url}/api/ps").get("models") or [])


def _forget(server: Server, name: str) -> None:
    """Unload the other model, so that what comes after runs alone."""
    if server.kind == "ollama":
        post_json(f"{server.base_url}/api/generate", {"model": name, "keep_alive": 0})


def dtype(prober: Prober) -> Observation:
    """Read in which data type the server, told of none, says that it loaded the weights."""
    detail = prober.server.identify().detail
    found = detail.get("dtype") or detail.get("quantisation")
    artefact = prober.setting.artefact
    holds = artefact.dtypes if artefact else {}
    if not found:
        return Observation("unknown", "it does not say its data type")
    yes = found in HALF_PRECISION
    made_of = ", ".join(f"{count} tensors {name}" for name, count in sorted(holds.items()))
    return Observation(
        "yes" if yes else "no",
        f"it says {found}; the file that it was given holds {made_of or 'weights'}",
        [{"yes": yes, "said": found, "artefact": made_of}],
    )


def _untold(arm: Arm) -> bool:
    return arm.server == "ollama" or (arm.server == "vllm" and arm.dtype is None)


SWAP = Mechanism("swap", "Does it answer for two models in turn without a restart?", swap, started)
DTYPE = Mechanism(
    "dtype", "Does it load the weights as float16 when it is told no data type?", dtype, _untold
)
