"""What there is: the kinds of server and the experiments, each declared here once.

Both halves of the study read these tables. CONTRIBUTING.md adds one of each as an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""Of a run, an arm, a model or a profile: folders are named by them, and lead nowhere else."""

Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A commit of a repository: no branch, whose files change."""


@dataclass(frozen=True)
class ServerKind:
    """A kind of server, as ``server`` of an arm in study.toml names it.

    Args:
        title: its name for a reader.
        adapter: the class that starts and asks it, MODULE:CLASS.
        started: whether the study starts and stops it; if not, it runs at a URL of the user's.
        installable: whether ``heavyweight servers install`` fetches it; its arms then say a version
            and slots.
        imitates: whether it only imitates timing: its data is never evidence.
        idle_path: where it tells how many requests are in flight, in vLLM's words or as JSON
            ``{"in_flight": 0}``; None: nowhere.
    """

    title: str
    adapter: str
    started: bool = True
    installable: bool = False
    imitates: bool = False
    idle_path: str | None = None


SERVERS = {
    "ollama": ServerKind(
        title="Ollama",
        adapter="heavyweight.servers.ollama:OllamaServer",
        installable=True,
    ),
    "vllm": ServerKind(
        title="vLLM",
        adapter="heavyweight.servers.vllm:VllmServer",
        installable=True,
        idle_path="/metrics",
    ),
    "openai": ServerKind(
        title="OpenAI API",
        adapter="heavyweight.servers.openai:OpenaiServer",
        started=False,
    ),
    "emulated": ServerKind(
        title="emulated",
        adapter="heavyweight.servers.emulated:EmulatedServer",
        imitates=True,
        idle_path="/emulator/state",
    ),
}
"""Kinds of server, by the name that arms have in study.toml."""


@dataclass(frozen=True)
class Experiment:
    """What one profile measures, by the notebook of the experiment's name.

    Args:
        loads: ``closed``: closed loops that are known before, one cell each; ``open``: also open
            loops at rates that follow from them, so that its profiles have a table ``open``;
            ``none``: no load is planned, the session itself knows what it measures.
        analyses: the notebooks of ``analysis/`` that its page is made of, in their order.
    """

    loads: Literal["closed", "open", "none"]
    analyses: tuple[str, ...]


VERDICTS = "verdicts"
"""The analysis of the claims; the page of an experiment that has it begins with their count."""

EXPERIMENTS = {
    "session": Experiment(
        loads="closed",
        analyses=(
            VERDICTS, "throughput", "latency", "scaling", "precision", "instrument", "audit",
        ),
    ),
    "mechanisms": Experiment(loads="none", analyses=("mechanisms",)),
    "coldstart": Experiment(loads="none", analyses=("coldstart",)),
    "memory": Experiment(loads="closed", analyses=("memory",)),
    "openloop": Experiment(loads="open", analyses=("openloop", "instrument")),
    "lengths": Experiment(loads="closed", analyses=("lengths", "instrument")),
    "parallel": Experiment(
        loads="closed", analyses=("parallel", "throughput", "latency", "instrument")
    ),
}  # fmt: skip
"""Experiments by the name that profiles have in study.toml; ``session`` is the study itself."""


def started(server: str) -> bool:
    """Whether the study starts that kind of server; of a kind that is unknown here: yes."""
    return server not in SERVERS or SERVERS[server].started
