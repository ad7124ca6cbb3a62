"""What is recorded while a cell runs: the quantities, and the record of the recording itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heavyweight.records.base import SCHEMA_VERSION, Record, unit

Source = Literal["process", "machine", "gpu", "server"]


@dataclass(frozen=True)
class TelemetryQuantity:
    """One quantity of the telemetry: who tells it, its name with its unit, and its meaning."""

    source: Source
    name: str
    unit: str
    meaning: str


def _of(source: Source, *told: tuple[str, str, str]) -> tuple[TelemetryQuantity, ...]:
    return tuple(TelemetryQuantity(source, *one) for one in told)


TELEMETRY_QUANTITIES: tuple[TelemetryQuantity, ...] = (
    *_of(
        "process",
        ("cpu_s", "s", "CPU time since the process was started; its slope is cores"),
        ("rss_bytes", "bytes", "resident memory; what two processes share counts for both"),
        ("threads", "", "threads"),
    ),
    *_of(
        "machine",
        ("busy_cpu_s", "s", "CPU time of all processes since the first sample"),
        ("server_cpu_s", "s", "of it, the server's; no rows: the server is not ours"),
        ("study_cpu_s", "s", "of it, the notebook's kernel, its command and the load generator"),
        ("other_cpu_s", "s", "of it, everything else; its slope is the other load in cores"),
        ("steal_s", "s", "time that the hypervisor took, since the first sample"),
        ("swap_in_bytes", "bytes", "swapped in since the first sample"),
        ("swap_out_bytes", "bytes", "swapped out since the first sample"),
        ("available_bytes", "bytes", "memory that can be had without swapping"),
        ("throttled", "", "times that heat lowered the processor's clock, since the first sample; "
         "no rows: the system does not tell"),
    ),
    *_of(
        "gpu",
        ("utilisation_percent", "%", "share of the time in which a kernel ran"),
        ("memory_busy_percent", "%", "share of the time in which its memory was read or written"),
        ("memory_used_bytes", "bytes", "memory in use, by whoever"),
        ("power_w", "W", "power that it draws"),
        ("energy_j", "J", "energy since the first sample, by its own counter"),
        ("sm_clock_mhz", "MHz", "clock of its processors"),
        ("memory_clock_mhz", "MHz", "clock of its memory"),
        ("temperature_c", "degrees C", "temperature of the chip"),
        ("clock_reasons", "", "why its clock is not higher: sum of the bits below"),
        ("processes", "", "processes that compute on it, the server's and others'"),
        ("lost", "", "1: it fell off the bus; nothing is known of it from here on"),
    ),
    *_of(
        "server",
        ("requests_running", "requests", "vLLM: requests at work"),
        ("requests_waiting", "requests", "vLLM: requests in its queue"),
        ("kv_used_fraction", "", "vLLM: share of the KV cache in use"),
        ("prefix_queries_tokens", "tokens", "vLLM: looked for in the prefix cache since its start"),
        ("prefix_hits_tokens", "tokens", "vLLM: found there since its start"),
        ("preemptions", "", "vLLM: requests that lost their place, since its start"),
        ("prompt_tokens", "tokens", "vLLM: read since its start"),
        ("generation_tokens", "tokens", "vLLM: written since its start"),
        ("models_loaded", "", "Ollama: models in memory"),
        ("models_bytes", "bytes", "Ollama: what they take by its own account"),
        ("models_vram_bytes", "bytes", "Ollama: of it, on GPUs"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class ClockReason:
    """One bit of why a GPU's clock is not higher (nvml.h, nvmlClocksEventReason*)."""

    bit: int
    words: str
    disturbs: bool
    """Whether a cell measured so is not what the hardware can do."""


CLOCK_REASONS: tuple[ClockReason, ...] = (
    ClockReason(0x001, "idle", False),
    ClockReason(0x002, "clocks set by the user", False),
    ClockReason(0x004, "power cap (software)", False),
    ClockReason(0x008, "slowdown (hardware)", True),
    ClockReason(0x010, "sync boost", False),
    ClockReason(0x020, "heat (software)", True),
    ClockReason(0x040, "heat (hardware)", True),
    ClockReason(0x080, "power brake (hardware)", True),
    ClockReason(0x100, "display clocks", False),
)


class Telemetry(Record):
    """How a cell's telemetry was recorded; kept in the metadata of its parquet."""

    schema_version: int = unit("version of this declaration", default=SCHEMA_VERSION)
    cell_id: str = unit("the cell")
    hz: float = unit("samples asked for", "1/s")
    server_hz: float = unit("how often the server itself was asked", "1/s")
    samples: int = unit("samples taken")
    missed: int = unit("samples that could not be taken in time and were left out", default=0)
    elapsed_s: float = unit("length of the recording", "s")
    cpu_s: float = unit("CPU time of the recording itself: its cost", "s")
    notes: list[str] = unit("what could not be recorded, and why", default_factory=list)
