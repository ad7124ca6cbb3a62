"""A connection that stamps what passes: one look at the clock for each read, nothing parsed.

What was learnt from aiohttp 3.14 (client_proto.py, connector.py, streams.py):

- ``ResponseHandler.data_received`` is the first Python code that sees an arrival. The stamp is
  taken there, one for a read.
- Its parser is given the head of an answer. A body in chunked framing, as every language model's
  stream is, goes past it: its bytes are kept as they came, and deframed after the cell. At the end
  the parser is given an empty last chunk, so that the connection is as aiohttp expects it.
- Any other body (a length, or the connection's end) stays in aiohttp's ``StreamReader`` until it
  has ended: a reader task per stream would cost a wake-up per token.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from array import array
from bisect import bisect_left
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader

from heavyweight.load.apis import Api
from heavyweight.load.framing import BLANK, Frames
from heavyweight.records import ErrorClass

BODY_LIMIT = 64 * 2**20  # bytes of one answer; more is no answer of a language model
LAST_CHUNK = b"0\r\n\r\n"
_HEAD_END = re.compile(rb"\n\r?\n")  # as aiohttp's parser reads it


class Exchange:
    """One request and its answer, as raw as they came.

    Args:
        request_id: sent as X-Request-Id.
        prompt_id: which prompt.
        payload: the request's bytes, head and body.
        api: how the answer is to be read.
    """

    __slots__ = (
        "_frames", "_future", "_plain", "api", "content_type", "detail", "done_ns", "due_ns",
        "error", "event_ns", "events", "handed_ns", "headers_ns", "model", "payload", "prompt_id",
        "raw", "read_ns", "reader", "request_id", "retry_after", "sent_ns", "stamps", "status",
        "totals", "user",
    )  # fmt: skip

    def __init__(self, request_id: str, prompt_id: str, payload: bytes, api: Api) -> None:
        self.request_id, self.prompt_id, self.payload = request_id, prompt_id, payload
        self.api = api
        self.model = ""  # that was asked for; empty: any
        self.user = 0
        self.due_ns = self.done_ns = self.read_ns = 0
        self.sent_ns: int | None = None
        self.handed_ns: int | None = None
        self.headers_ns: int | None = None
        self.status: int | None = None
        self.content_type = ""
        self.retry_after: str | None = None
        self.stamps = array("q")  # time of each read that brought bytes of the body
        self.totals = array("q")  # length of the body after it, in its framing
        self.raw = bytearray()  # the body in its framing
        self.reader: StreamReader | None = None
        self.events = 0  # marks of events seen in the raw reads: for time-outs and the display
        self.event_ns = 0  # the read that brought the last one
        self.error: ErrorClass | None = None
        self.detail = ""
        self._frames: Frames | None = None
        self._plain = b""  # a body without chunked framing
        self._future: asyncio.Future[None] | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer ended or failed."""
        return self.done_ns != 0

    @property
    def kept_bytes(self) -> int:
        """Bytes that this answer takes in memory, roughly."""
        plain = 0 if self.framed else self.received_bytes
        return len(self.raw) + plain + 16 * len(self.stamps)

    @property
    def received_bytes(self) -> int:
        """Length of the body so far, in its framing."""
        return self.totals[-1] if self.totals else 0

    def head(self, message: RawResponseMessage, reader: StreamReader) -> None:
        """The head of the answer came, with the reader of its body."""
        self.headers_ns = self.read_ns
        self.status = message.code
        self.content_type = message.headers.get("Content-Type", "")
        self.retry_after = message.headers.get("Retry-After")
        self.reader = reader
        if message.chunked and not message.compression and not reader.is_eof():
            self._frames = Frames()

    @property
    def framed(self) -> bool:
        """Whether the body comes in chunked framing and is kept so."""
        return self._frames is not None

    @property
    def is_all(self) -> bool:
        """Whether nothing came behind the end of the framed body."""
        return self._frames is not None and self._frames.end == len(self.raw)

    def take(self, data: bytes) -> bool:
        """Keep a read of a framed body.

        Returns:
            Whether the body is complete, is no framing at all, or is too long to be kept.
        """
        self.stamps.append(self.read_ns)
        before = len(self.raw)
        self.raw += data
        self.totals.append(len(self.raw))
        # A mark may be split between two reads.
        if events := self.raw.count(self.api.mark, max(0, before - len(self.api.mark) + 1)):
            self.events += events
            self.event_ns = self.read_ns
        if not self.raw.endswith(BLANK):
            return len(self.raw) > BODY_LIMIT
        assert self._frames is not None
        return self._frames.walk(self.raw) or bool(self._frames.problem)

    def note(self) -> None:
        """Keep the time of the last read and the length of a body that aiohttp reads."""
        assert self.reader is not None
        total = self.reader.total_bytes
        if total > self.received_bytes:
            self.stamps.append(self.read_ns)
            self.totals.append(total)

    def finish(self, error: ErrorClass | None = None, detail: str = "") -> None:
        """The answer ended, or failed; only the first call counts."""
        if self.finished:
            return
        if self._frames is not None:
            error, detail = self._judged(self._frames, error, detail)
        elif self.reader is not None:
            self.note()  # one read can bring text and break the connection
            # The reader refuses to give what it holds once its connection broke, so the pieces
            # are taken from its buffer.
            self._plain = b"".join(getattr(self.reader, "_buffer", ()))  # none: no body by status
        if error is ErrorClass.TOO_LONG:  # nothing of it is kept
            self.raw, self._plain = bytearray(), b""
            self.stamps, self.totals = array("q"), array("q")
            self._frames = None
        self.done_ns = self.read_ns if error is None else time.perf_counter_ns()
        self.error, self.detail = error, detail
        self.reader = None
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def _judged(
        self, frames: Frames, error: ErrorClass | None, detail: str
    ) -> tuple[ErrorClass | None, str]:
        """What the framing says of the end of the answer."""
        if len(self.raw) > BODY_LIMIT:
            return ErrorClass.TOO_LONG, f"an answer of more than {BODY_LIMIT} bytes"
        if frames.walk(self.raw):  # whole, whatever the connection did then
            self.read_ns = self.stamps[bisect_left(self.totals, frames.end)]
            return None, ""
        if frames.problem:
            return ErrorClass.MALFORMED, f"not HTTP: {frames.problem}"
        return error or ErrorClass.RESET, detail

    @property
    def body(self) -> bytes:
        """The answer without its framing, as far as it came."""
        if self._frames is None:
            return self._plain
        self._frames.walk(self.raw)
        return self._frames.body(self.raw)

    def arrival_ns(self, end: int) -> int:
        """When the body's first ``end`` bytes were there: the time of the read that ended them."""
        behind = end if self._frames is None else self._frames.raw_end(end)
        return self.stamps[bisect_left(self.totals, behind)]

    async def wait(self) -> None:
        """Wait until the answer ended or failed."""
        if not self.finished:
            self._future = asyncio.get_running_loop().create_future()
            await self._future


class TimedProtocol(ResponseHandler):
    """aiohttp's protocol of a connection, with a stamp on each read."""

    exchange: Exchange | None = None
    _before = b""  # the last bytes of a head that is not complete

    def data_received(self, data: bytes) -> None:
        """Stamp; keep a framed body as it comes; let aiohttp see all else."""
        now_ns = time.perf_counter_ns()
        exchange = self.exchange
        if exchange is None:
            super().data_received(data)
            return
        if exchange.done_ns:  # given up: the connection is about to be closed
            return
        exchange.read_ns = now_ns
        if exchange._frames is None:
            self._unframed(exchange, data, now_ns)
        elif exchange.take(data):
            self._framed_end(exchange)

    def _unframed(self, exchange: Exchange, data: bytes, now_ns: int) -> None:
        """Bytes of a head, or of a body that has no chunked framing."""
        while data and self.exchange is exchange:
            if exchange._frames is not None:
                if exchange.take(data):
                    self._framed_end(exchange)
                return
            head = data
            if exchange.reader is None:  # aiohttp is given the head alone
                window = self._before + data
                match = _HEAD_END.search(window)
                end = match.end() - len(self._before) if match else len(data)
                self._before = b"" if match else window[-3:]
                head = data[:end]
            data = data[len(head) :]
            super().data_received(head)
            if exchange.reader is not None and exchange._frames is None:
                exchange.note()
                if events := head.count(exchange.api.mark):
                    exchange.events += events
                    exchange.event_ns = now_ns
                if exchange.reader is not None and exchange.reader.is_eof():
                    self._end()

    def _framed_end(self, exchange: Exchange) -> None:
        """The framed body is complete, or is no framing."""
        self.exchange = None
        exchange.finish()
        if exchange.error is None and exchange.is_all:
            super().data_received(LAST_CHUNK)
        else:
            self.force_close()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """The head of an answer came; called by aiohttp inside ``data_received``."""
        message, reader = data
        if self.exchange is None:  # of a proxy that was asked for a tunnel
            super().feed_data(data, size)
        elif self.exchange.reader is not None:  # an answer behind the answer
            self.force_close()
        elif message.code >= 200:  # 1xx: the answer is still to come
            self.exchange.head(message, reader)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """The connection broke, or what came is not HTTP."""
        super().set_exception(exc, *cause)
        self._end(exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection ended; for an answer without a length that is its proper end."""
        # aiohttp reports every end of a connection as a failure, so it is judged here.
        exchange, self.exchange = self.exchange, None
        now_ns = time.perf_counter_ns()
        super().connection_lost(exc)
        if exchange is None:
            return
        if not exchange.finished:
            exchange.read_ns = now_ns
        if exchange.reader is not None and not exchange.framed and exchange.reader.is_eof():
            exchange.finish()
        else:
            exchange.finish(ErrorClass.RESET, repr(exc) if exc else "the connection was closed")

    def _end(self, exc: BaseException | None = None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if exc is None or (exchange.reader is not None and exchange.reader.is_eof()):
            exchange.finish()  # whole; what came behind it is not its own
        elif isinstance(exc, HttpProcessingError):
            exchange.finish(ErrorClass.MALFORMED, f"not HTTP: {exc!r}")
        else:
            exchange.finish(ErrorClass.RESET, repr(exc))


class TimedConnector(aiohttp.TCPConnector):
    """aiohttp's pool of connections, with :class:`TimedProtocol` on each."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factory = functools.partial(TimedProtocol, loop=self._loop)  # type: ignore[assignment]
