"""The study's JSON records: a run, its sessions, their starts of a server, and their cells."""

from __future__ import annotations

from typing import Literal

from heavyweight.records.base import SCHEMA_VERSION, Machine, Record, Software, unit
from heavyweight.records.columns import NS
from heavyweight.records.imported import Imported, Tool


class ServerIdentity(Record):
    """What answered on the port: checked, not assumed."""

    server: str = unit("kind of server")
    version: str | None = unit(
        "version as the server itself said; null: it has no such route", default=None
    )
    model: str = unit("name under which the model is served")
    model_digest: str | None = unit("sha256 of the artefact that was loaded", default=None)
    detail: dict[str, str] = unit(
        "what else it said (quantisation, context, ...)", default_factory=dict
    )


class ColdStart(Record):
    """What a start of the experiment coldstart was begun with, and where its time went."""

    condition: str = unit("name of the condition, one of each in a session")
    disk: Literal["warm", "cold"] = unit("whether files may have been in the page cache")
    dropped: str = unit("how the page cache was dropped (drop_caches, fadvise); empty: it was not")
    compiled: Literal["warm", "cold", "eager", "none"] = unit(
        "compile cache: filled, empty, not used, or the server has none"
    )
    phases_ms: dict[str, float] = unit(
        "parts of the way from spawn to the first token, in their order; they add up to it", "ms"
    )
    full_speed_ms: float | None = unit(
        "spawn to the end of the first request that was as fast as later ones; null: not reached",
        "ms",
        default=None,
    )
    speeds_tok_s: list[float] = unit(
        "tokens/s of each request after the first, one after the other",
        "tok/s",
        default_factory=list,
    )
    disk_read_bytes: int | None = unit(
        "read from the disk by the server's processes up to the first token; null: not told",
        "bytes",
        default=None,
    )
    cache_said: str = unit(
        "what the server's log says of its compile cache (loaded, filled, refused: why); empty:"
        " nothing",
        default="",
    )


class ServerStart(Record):
    """One start of a session's server."""

    start_id: int = unit("1 for the first start of the session")
    started_utc: str = unit("when, ISO 8601")
    command: list[str] = unit("the command line, scrubbed")
    environment: dict[str, str] = unit("the variables that the study set, scrubbed")
    cores: list[int] = unit("processors that the server was bound to")
    affinity_seen: list[int] = unit("processors that its processes were found on")
    port: int = unit("port on 127.0.0.1")
    pgid: int | None = unit("process group; null: not ours", default=None)
    niceness: int | None = unit(
        "lowered priority, so that the client never waits for a core; null: not ours", default=None
    )
    ready_ms: float | None = unit("spawn to ready", "ms")
    first_token_ms: float | None = unit("spawn to the first token of the first request", "ms")
    first_request_ttft_ms: float | None = unit("TTFT of that first request alone", "ms")
    log: str | None = unit("file name of the server's log", default=None)
    commit: str | None = unit(
        "commit of the code that started it; null: not a checkout, or not recorded", default=None
    )
    clean: bool | None = unit(
        "whether that checkout had no changes; null: as the commit", default=None
    )
    open_ports: list[int] = unit(
        "ports on which it listened on other addresses than the loopback's", default_factory=list
    )
    cold: ColdStart | None = unit(
        "experiment coldstart: with what it was begun; else null", default=None
    )


class MachineLoad(Record):
    """What ran on the machine between the start and the end of a cell's window."""

    elapsed_s: float = unit("length of the observation", "s")
    server_cpu_s: float | None = unit("CPU time of the server's processes; null: not ours", "s")
    client_cpu_s: float = unit("CPU time of the load generator", "s")
    other_cpu_s: float = unit("CPU time of everything else but the study's kernel", "s")
    steal_s: float = unit("time that the hypervisor took", "s")
    swapped_bytes: int = unit("swapped in or out", "bytes")
    server_rss_bytes: int | None = unit(
        "resident memory of the server's processes at the end", "bytes"
    )
    client_rss_bytes: int | None = unit(
        "resident memory of the load generator at the end; null: not recorded",
        "bytes",
        default=None,
    )
    suspended_s: float | None = unit(
        "time that the machine slept; null: the system does not tell", "s", default=None
    )
    clock_set_s: float | None = unit(
        "by how much the wall clock was set forward or back, besides sleep; null: not recorded",
        "s",
        default=None,
    )


class Cell(Record):
    """One load in one session; kept in the metadata of its requests parquet."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    cell_id: str = unit("hash of all that defines the cell")
    run: str = unit("run")
    session: str = unit("session: folder inside the run")
    arm: str = unit("arm")
    server: str | None = unit("kind of server; null: not told")
    model: str | None = unit("model; null: not told")
    block: int = unit("block, from 1")
    loop: Literal["closed", "open"] = unit("kind of load", default="closed")
    api: str | None = unit(
        "how requests were spoken (chat, completions, ollama-chat, ollama-generate; imported: also "
        "in the other tool's word); null: not told",
        default="chat",
    )
    users: int = unit("concurrent users of the closed loop; open loop: 0", "users")
    arrivals: str | None = unit(
        "open loop: process of the arrivals (poisson, constant, gamma, trace); closed: null",
        default=None,
    )
    rate_per_s: float | None = unit(
        "open loop: mean rate of the arrivals; closed: null", "requests/s", default=None
    )
    capacity_fraction: float | None = unit(
        "open loop: rate as a share of the capacity seen in the same session; else null",
        default=None,
    )
    parts: int = unit("load generators that made the load together", default=1)
    clock_error_ns: int | None = unit(
        "how far the clocks of the parts may be apart at most; null: one clock", "ns", default=None
    )
    output_tokens: int | None = unit("tokens asked of every request; null: not told", "tokens")
    prompt_tokens_target: int | None = unit(
        "length that the prompts aim at; null: not told", "tokens"
    )
    seed: int | None = unit("seed of the study; null: not told")
    start_id: int | None = unit("which start of the server measured it; null: not told")
    emulated: bool | None = unit("true: the server imitates; never evidence; null: not told")
    origin_monotonic_ns: int | None = unit("the origin on CLOCK_MONOTONIC; null: not told", "ns")
    origin_utc: str | None = unit("the origin, ISO 8601; null: not told")
    window_start_ns: int = unit("start of the steady window; imported: of the load", NS)
    window_end_ns: int = unit("end of the steady window; imported: of the load", NS)
    ended: Literal["complete", "cap", "errors", "memory"] = unit("why the cell ended")
    idle_after: bool | None = unit("the server was idle after the drain; null: it cannot be asked")
    machine_load: MachineLoad | None = unit("the machine while the cell ran; null: not told")
    client: dict[str, str] = unit("how the load generator ran (uvloop, collector, affinity)")
    imported: Tool | None = unit(
        "which other tool measured it; null: this study. Only where one did is anything null that"
        " is 'not told'",
        default=None,
    )


class Probe(Record):
    """One question put to a server, and what it did: probe-NAME.json of a session."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    probe: str = unit("name of the probe")
    question: str = unit("what was asked, so that the answer is yes or no")
    run: str = unit("run")
    session: str = unit("session: folder inside the run")
    arm: str = unit("arm")
    server: str = unit("kind of server")
    block: int = unit("block, from 1")
    start_id: int = unit("which start of the server was asked; 0: one of the probe's own")
    emulated: bool = unit("true: the server imitates; never evidence")
    answer: Literal["yes", "no", "unknown"] = unit("of all trials together")
    yes: int = unit("trials that say yes", default=0)
    trials: list[dict[str, float | int | str | bool | list[float] | None]] = unit(
        "what was seen in each trial; units are in the names", default_factory=list
    )
    value: float | None = unit("the probe's number over its trials; null: it has none",
                               default=None)  # fmt: skip
    value_unit: str = unit("unit of the value", default="")
    value_low: float | None = unit("lower end of the value's interval; null: it has none",
                                   default=None)  # fmt: skip
    value_high: float | None = unit("upper end of the value's interval; null: it has none",
                                    default=None)  # fmt: skip
    why: str = unit("what was seen, in one sentence")
    finished_utc: str = unit("when, ISO 8601")


class Session(Record):
    """One start of one server: session.json."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    run: str = unit("run")
    session: str = unit("session: folder inside the run")
    arm: str = unit("arm")
    server: str | None = unit("kind of server; null: not told")
    experiment: str = unit("which notebook measured it", default="session")
    block: int = unit("block, from 1")
    order: int = unit("place in the block, from 1", default=1)
    emulated: bool | None = unit("true: the server imitates; never evidence; null: not told")
    model: str | None = unit("model; null: not told")
    artefact: str | None = unit("artefact of the model that the server loads; null: not told")
    artefact_sha256: str | None = unit("its checksum; null: not ours")
    slots: int | None = unit("requests that the server may work on at once, as configured")
    context_tokens: int | None = unit("context per slot; null: not told", "tokens")
    settings: dict[str, str] = unit(
        "the arm's own flags and what cannot be the same", default_factory=dict
    )
    identity: ServerIdentity | None = unit("what answered", default=None)
    software: list[Software] = unit("programs that took part", default_factory=list)
    machine: Machine | None = unit("the machine; null: not told")
    starts: list[ServerStart] = unit("starts of the server", default_factory=list)
    deaths: int | None = unit(
        "how often the server was found dead that had been started; null: not recorded",
        default=None,
    )
    hangs: int | None = unit(
        "how often it lived, did not answer, and was stopped; null: not recorded", default=None
    )
    users_planned: list[int] = unit("loads, in the order in which they were to run", "users")
    left_out: dict[str, str] = unit(
        "what this machine does not let be measured: why", default_factory=dict
    )
    complete: bool = unit("all was measured and the stop was verified", default=False)
    finished_utc: str | None = unit("when, ISO 8601", default=None)
    imported: Imported | None = unit(
        "the other tool's file that it was read from; null: this study measured it. Only where one"
        " did is anything null that is 'not told'",
        default=None,
    )

    @property
    def machine_id(self) -> str | None:
        """Which machine it was; None: not told."""
        return None if self.machine is None else self.machine.machine_id


class Run(Record):
    """One study on one machine or several: run.json."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    run: str = unit("name of the run's folder")
    profile: str = unit("profile of study.toml; 'by-hand' for a session executed by itself")
    experiment: str = unit("which notebook measures its sessions", default="session")
    seed: int | None = unit("seed of the study; null: imported, not told")
    created_utc: str = unit("when, ISO 8601")
    commit: str | None = unit("commit of the code; null: not a checkout")
    clean: bool | None = unit("whether the checkout had no changes")
    plan_sha256: str | None = unit(
        "hash of all that was planned (arms with their flags, model, loads, URL); null: by hand",
        default=None,
    )
    emulated: bool | None = unit(
        "true: at least one arm imitates; never evidence; null: imported, not told"
    )
    blocks: int = unit("blocks planned")
    users: list[int] = unit("loads planned", "users")
    lengths: list[tuple[int, int]] = unit(
        "pairs of prompt and output tokens planned, each with every load; empty: one pair, or not"
        " known",
        "tokens",
        default_factory=list,
    )
    arms: list[str] = unit("arms planned")
    contrasts: dict[str, tuple[str, str]] = unit("name: (numerator arm, denominator arm)")
    limits: dict[str, float] = unit("limits of the validity checks, from study.toml")
    labels: dict[str, str] = unit("arm: how it is called on figures")
    imported: list[Imported] = unit(
        "other tools' files that it was read from: never evidence; empty: this study measured it",
        default_factory=list,
    )
