"""AIPerf's profile_export.jsonl: one load, all chunks; its summary beside it tells the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import accumulate

from pydantic import Field

from heavyweight.errors import BadInput
from heavyweight.importing.told import (
    Load,
    Milliseconds,
    Nanoseconds,
    Part,
    Rate,
    Row,
    Told,
    Users,
    Word,
    failure,
    row,
    told_of,
)
from heavyweight.records import ErrorClass

REMEDY = "write it with `aiperf profile --export-level records`"
PHASE = "profiling"
SUMMARY = "_aiperf.json"
CLOSED = "concurrency"
OTHERWISE = {
    "sent_ns": "when the tool began the request; connecting is after it",
    "chunk_ns": "arrivals by the tool's durations, from sent_ns on",
    "done_ns": "the last chunk, to which the tool counts its latency; of a failure: when it "
    "was given up",
    "prompt_tokens": "the server's count where it was used, else the tool's own",
    "completion_tokens": "the server's count where it was used, else the tool's own",
}
MISSING = {
    "due_ns": "latency counts from sending, also at a given rate: what a request waited in the "
    "client is not in it",
    "chunk_ns of failures": "how far a request came that failed is null",
}


class Number(Part):
    """A metric of one value."""

    value: Milliseconds


class Numbers(Part):
    """A metric of several values."""

    value: list[Milliseconds]


class Metrics(Part):
    """The metrics of a request that are read; ms and tokens."""

    time_to_first_token: Number | None = None
    request_latency: Number | None = None
    inter_chunk_latency: Numbers | None = None
    input_sequence_length: Number | None = None
    output_sequence_length: Number | None = None


class Metadata(Part):
    """A request's own."""

    x_request_id: Word
    request_start_ns: Nanoseconds
    request_end_ns: Nanoseconds | None = None
    was_cancelled: bool = False
    benchmark_phase: Word = PHASE


class Failed(Part):
    """Why a request failed."""

    code: int | None = None
    type: str | None = None
    message: str | None = None


class Record(Part):
    """One line."""

    metadata: Metadata
    metrics: Metrics
    error: Failed | None = None

    def row(self, asked: int | None = None) -> Row:
        """This request as here; times in ns since 1970."""
        about, seen = self.metadata, self.metrics
        sent = about.request_start_ns
        made = row(request_id=about.x_request_id, sent_ns=sent, output_tokens_asked=asked)
        if about.was_cancelled:
            cut = {"error": ErrorClass.ABANDONED.value, "error_detail": "cancelled"}
            return made | cut | {"done_ns": about.request_end_ns}
        if self.error is not None or seen.request_latency is None:
            why = self.error or Failed(message="it has no latency")
            words = ": ".join(filter(None, (why.type, why.message)))
            return made | failure(words, why.code) | {"done_ns": about.request_end_ns}
        first, last_ms = seen.time_to_first_token, seen.request_latency.value
        return made | {
            "chunk_ns": None if first is None else _chunks(sent, first.value, last_ms, seen),
            "done_ns": sent + round(last_ms * 1e6),
            "prompt_tokens": _count(seen.input_sequence_length),
            "completion_tokens": _count(seen.output_sequence_length),
        }


class Length(Part):
    """Of prompts or answers, tokens."""

    mean: float = Field(ge=0, le=2**31 - 1, allow_inf_nan=False)
    stddev: float = 0.0

    @property
    def tokens(self) -> int | None:
        """The one length that all have; None: they differ."""
        return None if self.stddev else round(self.mean)


class Prompts(Part):
    """Lengths that were asked for."""

    isl: Length | None = None
    osl: Length | None = None


class Dataset(Part):
    """Where prompts came from."""

    prompts: Prompts | None = None


class Phase(Part):
    """How requests were scheduled."""

    name: Word = PHASE
    type: Word | None = None
    concurrency: Users | None = None
    rate: Rate | None = None


class Model(Part):
    """That was asked for."""

    name: Word


class Models(Part):
    """All that were."""

    items: tuple[Model, ...] = ()


class Endpoint(Part):
    """How the server was spoken to."""

    type: Word | None = None


class Config(Part):
    """What was asked of the tool."""

    models: Models = Models()
    endpoint: Endpoint = Endpoint()
    datasets: tuple[Dataset, ...] = ()
    phases: tuple[Phase, ...] = ()


class Average(Part):
    """A metric of all requests."""

    avg: Milliseconds


class Summary(Part):
    """What is read of the summary."""

    aiperf_version: Word | None = None
    request_count: Average | None = None
    input_config: Config = Config()


def _chunks(sent: int, first_ms: float, last_ms: float, seen: Metrics) -> list[int | None]:
    """Arrivals of all chunks; a null stands for those that are not told."""
    if seen.inter_chunk_latency is not None:
        after = accumulate([first_ms, *seen.inter_chunk_latency.value])
        return [sent + round(ms * 1e6) for ms in after]
    first, last = (sent + round(ms * 1e6) for ms in (first_ms, last_ms))
    return [first] if first == last else [first, None, last]


def _count(found: Number | None) -> int | None:
    return None if found is None or found.value >= 2**31 else round(found.value)


def records(data: bytes, name: str) -> list[Record]:
    """The lines of a file.

    Raises:
        BadInput: one is no record.
    """
    found = []
    for place, line in enumerate(data.splitlines(), 1):
        if line.strip():
            found.append(told_of(Record, "aiperf", line, f"{name}, line {place},", REMEDY))
    return found


def read(data: bytes, name: str, sibling: Callable[[str], bytes | None] = lambda _: None) -> Told:
    """Read the records of a profile, and the summary that lies beside them.

    Args:
        data: the file.
        name: of the file.
        sibling: reads a file beside it, by name; None: there is none.

    Raises:
        BadInput: it is none, or the summary is that of another profile.
    """
    lines = [one for one in records(data, name) if one.metadata.benchmark_phase == PHASE]
    beside, missing = {}, dict(MISSING)
    summary = Summary()
    other = name.removesuffix(".jsonl") + SUMMARY
    text = sibling(other)
    if text is None:
        missing[other] = "it was not beside the file: the load, lengths, model and version, too"
    else:
        summary = told_of(Summary, "aiperf", text, other, "move it away, or restore it")
        beside[other] = hashlib.sha256(text).hexdigest()
        good = sum(one.error is None and not one.metadata.was_cancelled for one in lines)
        if summary.request_count and round(summary.request_count.avg) != good:
            raise BadInput(
                f"{other} tells of {summary.request_count.avg:g} requests, {name} of {good}",
                "the summary of the same profile", "move it away, or restore it",
            )  # fmt: skip
    asked = summary.input_config
    prompts = (asked.datasets[0].prompts if len(asked.datasets) == 1 else None) or Prompts()
    tokens = None if prompts.osl is None else prompts.osl.tokens
    phase = next((one for one in asked.phases if one.name == PHASE), Phase())
    closed = phase.type == CLOSED
    load = Load(
        rows=[one.row(tokens) for one in lines],
        users=phase.concurrency if closed else None,
        rate_per_s=None if closed else phase.rate,
        arrivals=None if closed or phase.rate is None else phase.type,
        api=asked.endpoint.type,
        prompt_tokens=None if prompts.isl is None else round(prompts.isl.mean),
        output_tokens=tokens,
    )
    models = asked.models.items
    return Told("aiperf", [load], summary.aiperf_version,
                models[0].name if len(models) == 1 else None,
                beside=beside, missing=missing, otherwise=OTHERWISE)  # fmt: skip
