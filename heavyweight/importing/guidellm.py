"""GuideLLM's JSON: several loads, due times, and of each answer the first and the last chunk."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from heavyweight.importing.told import (
    Count,
    Load,
    Part,
    Rate,
    Row,
    Seconds,
    Told,
    Users,
    Word,
    failure,
    ns,
    row,
    told_of,
)
from heavyweight.records import ErrorClass

REMEDY = "write it with `guidellm run --output kind=json,path=...`"
APIS = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}
OTHERWISE = {
    "request_id": "the tool's own id; it was not sent",
    "done_ns": "of a failure: when the tool gave it up",
    "prompt_tokens": "the server's count where it gave one, else the tool's own",
    "completion_tokens": "the server's count where it gave one, else the tool's own",
}
MISSING = {
    "chunk_ns between the first and the last": "gaps between chunks (ITL) are not known; TPOT is",
    "status": "failures are of class not_told; the tool's words are in error_detail",
}


class Timings(Part):
    """When a request did what; seconds since 1970."""

    targeted_start: Seconds | None = None
    request_start: Seconds | None = None
    first_token_iteration: Seconds | None = None
    last_token_iteration: Seconds | None = None
    token_iterations: Count | None = None
    request_end: Seconds | None = None
    resolve_end: Seconds | None = None


class Info(Part):
    """A request as the scheduler saw it."""

    timings: Timings = Timings()
    error: str | None = None


class Request(Part):
    """One request."""

    request_id: Word | None = None
    response_id: Word | None = None
    request_args: str | None = None
    info: Info = Info()
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None

    def asked(self) -> int | None:
        """Tokens asked for; None: not told."""
        try:
            body = json.loads(self.request_args or "{}")["body"]
            asked = body.get("max_completion_tokens") or body.get("max_tokens")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return asked if isinstance(asked, int) and 0 < asked < 2**31 else None

    def row(self, error: Row | None) -> Row:
        """This request as here; times in ns since 1970.

        Args:
            error: columns of a request that failed; None: it succeeded.
        """
        at = self.info.timings
        ended = at.request_end if at.request_end is not None else at.resolve_end
        made = row(
            request_id=self.request_id, response_id=self.response_id,
            output_tokens_asked=self.asked(), due_ns=_ns(at.targeted_start),
            sent_ns=_ns(at.request_start), chunk_ns=_chunks(at), done_ns=_ns(ended),
        )  # fmt: skip
        if error is not None:
            return made | error
        if not made["chunk_ns"]:
            return made | {"error": ErrorClass.EMPTY.value, "error_detail": "no token came"}
        return made | {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.output_tokens,
        }  # fmt: skip


class Requests(Part):
    """The requests of a benchmark, by how they ended."""

    successful: tuple[Request, ...] = ()
    errored: tuple[Request, ...] = ()
    incomplete: tuple[Request, ...] = ()

    def rows(self) -> list[Row]:
        """One row a request; times in ns since 1970."""
        cut = {"error": ErrorClass.ABANDONED.value, "error_detail": "not complete at the end"}
        return [
            *(one.row(None) for one in self.successful),
            *(one.row(failure(one.info.error or "")) for one in self.errored),
            *(one.row(cut) for one in self.incomplete),
        ]


class Strategy(Part):
    """How requests were scheduled."""

    type_: Word | None = None
    streams: Users | None = None
    rate: Rate | None = None
    max_concurrency: Count | None = None


class Backend(Part):
    """How the server was spoken to."""

    model: Word | None = None
    request_format: Word | None = None


class Config(Part):
    """How a benchmark was made."""

    strategy: Strategy = Strategy()
    backend: Backend = Backend()


class Benchmark(Part):
    """One load."""

    requests: Requests
    config: Config = Config()

    def load(self, prompt_tokens: int | None) -> Load:
        """Closed: streams. Open: a rate."""
        rows, how = self.requests.rows(), self.config.strategy
        asked = {one["output_tokens_asked"] for one in rows}
        api = self.config.backend.request_format
        shared: dict[str, Any] = {
            "rows": rows, "api": APIS.get(api or "", api), "prompt_tokens": prompt_tokens,
            "output_tokens": asked.pop() if len(asked) == 1 else None,
        }  # fmt: skip
        if how.type_ == "synchronous":
            return Load(users=1, **shared)
        if how.rate is not None:
            return Load(rate_per_s=how.rate, arrivals=how.type_, **shared)
        users = how.streams or (how.max_concurrency if how.type_ == "throughput" else None)
        return Load(users=users, **shared)


class Data(Part):
    """Where prompts came from."""

    prompt_tokens: Count | None = None


class Spec(Part):
    """What was asked of the tool."""

    data: tuple[Data, ...] = ()


class Asked(Part):
    """The configuration of all benchmarks."""

    spec: Spec = Spec()


class Metadata(Part):
    """Of the report."""

    guidellm_version: Word | None = None


class Report(Part):
    """What is read of a report."""

    benchmarks: list[Benchmark] = Field(min_length=1, max_length=1000)
    metadata: Metadata = Metadata()
    config: Asked = Asked()


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else ns(seconds)


def _chunks(at: Timings) -> list[int | None]:
    """The first and the last chunk, and a null for those between them."""
    first, last = _ns(at.first_token_iteration), _ns(at.last_token_iteration)
    if first is None:
        return []
    if at.token_iterations == 1 or last is None:
        return [first]
    return [first, last] if at.token_iterations == 2 else [first, None, last]


def report(data: bytes, name: str) -> Report:
    """A report as it is.

    Raises:
        BadInput: it is none.
    """
    return told_of(Report, "guidellm", data, name, REMEDY)


def read(data: bytes, name: str) -> Told:
    """Read a report.

    Args:
        data: the file.
        name: of the file.

    Raises:
        BadInput: it is none.
    """
    found = report(data, name)
    sources = found.config.spec.data
    prompt = sources[0].prompt_tokens if len(sources) == 1 else None
    loads = [one.load(prompt) for one in found.benchmarks]
    models = {one.config.backend.model for one in found.benchmarks}
    model = models.pop() if len(models) == 1 else None
    return Told("guidellm", loads, found.metadata.guidellm_version, model,
                missing=MISSING, otherwise=OTHERWISE)  # fmt: skip
