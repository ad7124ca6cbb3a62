"""``vllm bench serve --save-result --save-detailed``: one load, all chunks, no due times."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Literal

from pydantic import model_validator

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

REMEDY = "write it with `vllm bench serve --save-result --save-detailed`"
APIS = {"openai-chat": "chat", "openai": "completions", "vllm": "completions"}
OTHERWISE = {
    "chunk_ns": "arrivals of events with a choice, the first of which, and the last, may have no "
    "text: TTFT is to the first event",
    "done_ns": "arrival of the last event with a choice; when the answer ended is not told",
    "prompt_tokens": "the server's count where it gave one, else the tool's own",
    "completion_tokens": "the server's count where it gave one, else the tool's own",
}
MISSING = {
    "due_ns": "latency counts from sending, also at a given rate: what a request waited in the "
    "client is not in it",
    "output_tokens_asked": "whether answers are as long as asked cannot be told",
    "request_id": "rows cannot be joined with a server's log",
    "done_ns of failures": "when a request failed is null",
    "status": "failures are of class not_told; the tool's words are in error_detail",
    "origin_utc": "the clock is the client's own",
}


class VllmBench(Part):
    """What is read of a detailed result."""

    start_times: list[Seconds]
    ttfts: list[Seconds]
    itls: list[list[Seconds]]
    output_lens: list[Count]
    errors: list[str]
    num_prompts: Count
    input_lens: list[Count] | None = None
    model_id: Word | None = None
    backend: Word | None = None
    request_rate: Rate | Literal["inf"] = "inf"
    burstiness: Rate = 1.0
    max_concurrency: Users | None = None
    ramp_up_strategy: Word | None = None

    @model_validator(mode="after")
    def _one_each(self) -> VllmBench:
        columns = (self.start_times, self.ttfts, self.itls, self.output_lens, self.errors)
        sizes = {len(column) for column in columns}
        sizes |= {len(self.input_lens)} if self.input_lens is not None else set()
        if len(sizes) != 1:
            raise ValueError(f"its columns have {sorted(sizes)} requests")
        return self

    def rows(self) -> list[Row]:
        """One row a request, in the order of the prompts; times in ns on the client's clock."""
        prompts: list[int | None] = [None] * len(self.errors)
        if self.input_lens is not None:
            prompts = [*self.input_lens]
        columns = (self.start_times, self.ttfts, self.itls, self.output_lens, prompts, self.errors)
        return [_row(*one) for one in zip(*columns, strict=True)]

    def load(self) -> Load:
        """Closed: at most so many at once. Open: a rate."""
        shared: dict[str, Any] = {
            "rows": self.rows(),
            "api": APIS.get(self.backend or "", self.backend),
            "wall_clock": False,
        }
        if self.max_concurrency is not None:
            return Load(users=self.max_concurrency, **shared)
        if self.request_rate == "inf":
            return Load(users=max(1, self.num_prompts), **shared)  # all at once, each once
        arrivals = "poisson" if self.burstiness == 1 else "gamma"
        return Load(rate_per_s=self.request_rate, arrivals=arrivals, **shared)


def _row(
    start: float, ttft: float, gaps: list[float], tokens: int, prompt: int | None, error: str
) -> Row:
    # A time to the first event of 0 is how the tool says that none came.
    events = [ns(start + after) for after in accumulate([ttft, *gaps])] if ttft > 0 else []
    made = row(sent_ns=ns(start), chunk_ns=events)
    if error:
        return made | failure(error)
    if not events:
        return made | {"error": ErrorClass.EMPTY.value, "error_detail": "no event with a choice"}
    return made | {
        "done_ns": events[-1], "prompt_tokens": prompt, "completion_tokens": tokens,
    }  # fmt: skip


def result(data: bytes, name: str) -> VllmBench:
    """A result as it is.

    Raises:
        BadInput: it is none, or it was written without --save-detailed.
    """
    return told_of(VllmBench, "vllm-bench", data, name, REMEDY)


def read(data: bytes, name: str) -> Told:
    """Read a result.

    Args:
        data: the file.
        name: of the file.

    Raises:
        BadInput: it is none, or it was written without --save-detailed.
    """
    found = result(data, name)
    missing = dict(MISSING)
    if found.max_concurrency is not None and found.request_rate != "inf":
        missing["users"] = (
            f"at most {found.max_concurrency} at once, sent at {found.request_rate:g} requests/s: "
            "how many there were is seen by their times only"
        )
    if found.ramp_up_strategy:
        missing["rate_per_s"] = f"the rate grew ({found.ramp_up_strategy[:40]})"
    return Told("vllm-bench", [found.load()], None, found.model_id,
                missing=missing, otherwise=OTHERWISE)  # fmt: skip
