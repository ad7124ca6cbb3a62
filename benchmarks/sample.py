"""What a client says of its requests, and what the server's log says of the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Stamps = NDArray[np.int64]
EARLY_NS = 2_000_000  # a wall clock's stamp may seem to be this much later than it was


def stamps(values: Sequence[int]) -> Stamps:
    """Whole nanoseconds as an array."""
    return np.asarray(values, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Sample:
    """The requests that succeeded, as the client reports them; times in ns of CLOCK_MONOTONIC.

    Args:
        sent_ns: from when the client counts.
        first_ns: when it saw the first token.
        end_ns: when it saw the end of the answer.
        tokens: of each answer.
        request_id: sent as X-Request-Id; None: the client sends or tells none.
        due_ns: when the request was due; None: the client does not tell.
        failed: requests that did not succeed.
        events_per_cpu_s: events for each second of the client's CPU; None: not known.
    """

    sent_ns: Stamps
    first_ns: Stamps
    end_ns: Stamps
    tokens: Stamps
    request_id: list[str] | None = None
    due_ns: Stamps | None = None
    failed: int = 0
    events_per_cpu_s: float | None = None

    def __len__(self) -> int:
        return int(self.sent_ns.size)

    @classmethod
    def read(cls, path: Path) -> Sample:
        """What a client script of this folder wrote: these fields as JSON."""
        told = json.loads(path.read_text(encoding="utf-8"))
        for name in ("sent_ns", "first_ns", "end_ns", "tokens", "due_ns"):
            told[name] = None if told[name] is None else stamps(told[name])
        return cls(**told)


@dataclass(frozen=True, eq=False)
class ServerLog:
    """The emulator's requests that got text, in the order in which they were read.

    Args:
        request_id: as the client named it; None: it did not.
        read_ns: the request's last byte was read.
        first_ns: the first text was handed to the socket.
        last_ns: the last text was.
        tokens: how many were written.
    """

    request_id: list[str | None]
    read_ns: Stamps
    first_ns: Stamps
    last_ns: Stamps
    tokens: Stamps

    @classmethod
    def read(cls, path: Path) -> ServerLog:
        """Read the log."""
        rows = []
        with path.open(encoding="utf-8") as file:
            for line in file:
                told = json.loads(line)
                written = zip(told["write_ns"], told["write_tokens"], strict=True)
                texts = [(at_ns, tokens) for at_ns, tokens in written if tokens]
                if texts:
                    total = sum(tokens for _, tokens in texts)
                    ends = texts[0][0], texts[-1][0]
                    rows.append((told["read_ns"], told["request_id"], *ends, total))
        rows.sort(key=lambda row: row[0])
        read, names, first, last, tokens = zip(*rows, strict=True) if rows else [()] * 5
        return cls(list(names), stamps(read), stamps(first), stamps(last), stamps(tokens))


def pairs(sample: Sample, log: ServerLog) -> tuple[Stamps, Stamps]:
    """Which request of the client is which of the server.

    By the id where the client tells one. Else in order: the requests as they were sent, each with
    the first one left that was read after it.

    Returns:
        Places in the sample and places in the log, one pair a request found in both.
    """
    found = []
    if sample.request_id is not None:
        places = {name: place for place, name in enumerate(log.request_id)}
        found = [(i, places[name]) for i, name in enumerate(sample.request_id) if name in places]
    else:
        place = 0
        for i in np.argsort(sample.sent_ns, kind="stable"):
            while place < log.read_ns.size and log.read_ns[place] < sample.sent_ns[i] - EARLY_NS:
                place += 1
            if place == log.read_ns.size:
                break
            found.append((int(i), place))
            place += 1
    mine, theirs = zip(*found, strict=True) if found else ((), ())
    return stamps(mine), stamps(theirs)
