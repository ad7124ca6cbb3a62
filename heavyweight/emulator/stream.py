"""One answer on its way: which of its writes are due, and how they reach the socket."""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from heavyweight.emulator.faults import FLOOD_BYTES
from heavyweight.emulator.plan import Ask, Plan, fill, plan_of
from heavyweight.emulator.wire import Act

if TYPE_CHECKING:
    from heavyweight.emulator.connection import Connection
    from heavyweight.emulator.engine import Engine

ALL = 1 << 62  # every step is due
_BURST_BYTES = 16_384  # joined into one write where all is due at once
_DRIP_NS = 10_000_000  # the shortest pause of a drip


class Stream:
    """The answer to one request.

    Args:
        engine: gives the slot and the clock; told once when the stream is over.
        connection: where it is written to.
        read_ns: when the request's last byte was read.
        request_id: the request's own.
    """

    __slots__ = (
        "_engine", "_index", "_repeated_bytes", "_repeating", "_upto", "_waits", "admitted_ns",
        "ask", "connection", "ended_ns", "first_ns", "head", "itl_ns", "offsets_ns", "pending",
        "plan", "prompt_tokens", "queued", "read_ns", "request_id", "status", "tokens", "ttft_ns",
        "value", "write_ns", "written",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        connection: Connection,
        read_ns: int,
        request_id: str | None,
    ) -> None:
        self._engine, self.connection = engine, connection
        self.read_ns, self.request_id = read_ns, request_id
        self.plan: Plan | None = None  # None: nothing is ever written
        self.head = b""
        self.status: int | None = None
        self.ttft_ns = self.itl_ns = 0
        self.offsets_ns: list[int] | None = None  # of each step after the first token
        self.admitted_ns: int | None = None
        self.first_ns = 0
        self.ended_ns: int | None = None
        self.write_ns: list[int] = []
        self.tokens: list[int] = []
        self.written = 0  # tokens
        self.queued = False
        self.pending = True  # writes of the plan are left and will be due
        self._index = 0
        self._upto = -1
        self._waits = self._repeating = False
        self._repeated_bytes = 0

    def set_plan(self, ask: Ask, value: bytes, prompt_tokens: int) -> None:
        """What is to be written, and what replaces the marks in it."""
        self.ask, self.value, self.prompt_tokens = ask, value, prompt_tokens
        self.plan = plan_of(ask, value, prompt_tokens)
        self.head, self.status = self.plan.head, 200

    @property
    def at_work(self) -> bool:
        """Whether it has a slot."""
        return self.admitted_ns is not None and self.ended_ns is None and self.plan is not None

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values a server would keep: the newest has none yet."""
        return self.prompt_tokens + max(0, self.written - 1)

    def early_head(self) -> None:
        """Write the head as soon as the request was read, as vLLM does."""
        if self.plan and self.plan.early_head:
            self.connection.write(self.head)
            self.head = b""

    def turn(self, now_ns: int) -> int | None:
        """Write what is due on the stream's own schedule; returns when more is."""
        if self.ended_ns is not None or self.plan is None:
            return None
        if self._repeating:
            return self._again()
        if not self.pending:
            return None
        if not self.itl_ns:
            self.write(ALL)
        elif self.offsets_ns:
            self.write(bisect_right(self.offsets_ns, now_ns - self.first_ns) - 1)
        else:
            self.write((now_ns - self.first_ns) // self.itl_ns)
        if not self.pending:
            return None
        if self.connection.paused:
            self._waits = True
            return None
        if not self.itl_ns:
            return now_ns
        step = self.plan.steps[self._index]
        after_ns = self.offsets_ns[step] if self.offsets_ns else step * self.itl_ns
        return self.first_ns + after_ns

    def write(self, upto: int) -> None:
        """Write all that belongs to the steps up to this one, as far as the socket takes it."""
        plan, connection = self.plan, self.connection
        assert plan is not None
        self._upto = upto
        if connection.paused:
            return
        steps, data, tokens, mark = plan.steps, plan.data, plan.tokens, plan.mark
        burst = upto == ALL and plan.joined
        index, size = self._index, len(steps)
        while index < size and steps[index] <= upto:
            part = data[index]
            if isinstance(part, Act):
                self.pending = False
                self._act(part)
                return
            brought = tokens[index]
            index += 1
            if burst:
                parts, length = [part], len(part)
                while index < size and length < _BURST_BYTES:
                    following = data[index]
                    if isinstance(following, Act):
                        break
                    parts.append(following)
                    length += len(following)
                    brought += tokens[index]
                    index += 1
                part = b"".join(parts)
            if mark:
                part = part.replace(mark, self.value)
                if index > plan.late:
                    part = fill(part, self.ask, self.prompt_tokens, self._durations())
            if self.head:
                part, self.head = self.head + part, b""
            self._index = index
            stamp_ns = time.perf_counter_ns()
            connection.write(part)
            if brought:
                self.write_ns.append(stamp_ns)
                self.tokens.append(brought)
                self.written += brought
            if connection.paused or burst:
                break
        if index == size:
            self._complete()

    def _complete(self) -> None:
        self.pending = False
        plan = self.plan
        assert plan is not None
        if plan.repeat is not None:
            self._repeating = True
            self._engine.clock.push(time.perf_counter_ns(), self)
            return
        self._finish()

    def _finish(self) -> None:
        """End the answer in good order."""
        plan = self.plan
        assert plan is not None
        if last := self.head + plan.tail:
            self.head = b""
            self.connection.write(last)
        self.end()
        self.connection.answered(close=plan.close)

    def _again(self) -> int | None:
        """The next part of what repeats without end."""
        plan, connection = self.plan, self.connection
        assert plan is not None
        assert isinstance(plan.repeat, bytes)
        if connection.paused:
            self._waits = True
            return None
        part = plan.repeat.replace(plan.mark, self.value) if plan.mark else plan.repeat
        stamp_ns = time.perf_counter_ns()
        connection.write(part)
        self.write_ns.append(stamp_ns)
        self.tokens.append(plan.repeat_tokens)
        self.written += plan.repeat_tokens
        if plan.drips:
            return stamp_ns + max(_DRIP_NS, self.itl_ns)
        self._repeated_bytes += len(part)
        if self._repeated_bytes >= FLOOD_BYTES:
            self._finish()
            return None
        return stamp_ns

    def resume(self) -> None:
        """Go on, since the socket takes more."""
        if self._waits:
            self._waits = False
            self._engine.clock.push(time.perf_counter_ns(), self)
        elif self.pending and self.admitted_ns is not None:
            self.write(self._upto)

    def _act(self, act: Act) -> None:
        """Do what stands in the place of bytes."""
        if self.head:
            self.connection.write(self.head)
            self.head = b""
        if act is Act.STALL:
            return
        if act is Act.UNFRAMED:
            self.connection.write(b"ZZ\r\nnot a chunk\r\n")
        self.end()
        if act is Act.CLOSE:
            self.connection.answered(close=True)
        else:
            self.connection.reset(later=act is Act.UNFRAMED)

    def _durations(self) -> tuple[int, int, int, int]:
        """Of Ollama's own: total, load, prompt_eval and eval, in ns."""
        assert self.admitted_ns is not None
        now_ns = time.perf_counter_ns()
        first_ns = min(now_ns, self.admitted_ns + self.ttft_ns)
        return now_ns - self.read_ns, 0, first_ns - self.admitted_ns, now_ns - first_ns

    def end(self) -> None:
        """It is over, in whatever way: free the slot and tell the log."""
        if self.ended_ns is None:
            self.pending = False
            self.ended_ns = time.perf_counter_ns()
            self._engine.leave(self)

    def line(self) -> dict[str, Any]:
        """Its line of the log."""
        return {
            "request_id": self.request_id,
            "read_ns": self.read_ns,
            "admitted_ns": self.admitted_ns,
            "write_ns": self.write_ns,
            "write_tokens": self.tokens,
            "ended_ns": self.ended_ns,
            "status": self.status,
        }
