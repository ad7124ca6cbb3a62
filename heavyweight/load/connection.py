"""A connection that stamps what passes: one look at the clock for each read, nothing parsed.

What was learnt from aiohttp 3.14 (client_proto.py, connector.py, streams.py):

- ``ResponseHandler.data_received`` is the first Python code that sees an arrival. The stamp is
  taken there, one for a read, together with the body's length so far (``total_bytes``).
- ``ResponseHandler.feed_data`` hands over the head of an answer and its body's ``StreamReader``.
  The body stays in that reader's buffer: a reader task per stream would cost a wake-up per token.
"""

from __future__ import annotations

import asyncio
import functools
import time
from array import array
from bisect import bisect_left
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader

from heavyweight.records import ErrorClass

BODY_LIMIT = 64 * 2**20  # bytes of one answer; more is no answer of a language model
EVENT = b"data: "


class Exchange:
    """One request and its answer, as raw as they came.

    Args:
        request_id: sent as X-Request-Id.
        prompt_id: which prompt.
        payload: the request's bytes, head and body.
    """

    __slots__ = (
        "_future", "body", "content_type", "detail", "done_ns", "due_ns", "error", "events",
        "headers_ns", "payload", "prompt_id", "read_ns", "reader", "request_id", "retry_after",
        "sent_ns", "stamps", "status", "totals", "user",
    )  # fmt: skip

    def __init__(self, request_id: str, prompt_id: str, payload: bytes) -> None:
        self.request_id, self.prompt_id, self.payload = request_id, prompt_id, payload
        self.user = 0
        self.due_ns = self.done_ns = self.read_ns = 0
        self.sent_ns: int | None = None
        self.headers_ns: int | None = None
        self.status: int | None = None
        self.content_type = ""
        self.retry_after: str | None = None
        self.stamps = array("q")  # time of each read that brought bytes of the body
        self.totals = array("q")  # length of the body after it
        self.reader: StreamReader | None = None
        self.body = b""
        self.events = 0  # lines of data seen in the raw reads; for the display only
        self.error: ErrorClass | None = None
        self.detail = ""
        self._future: asyncio.Future[None] | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer ended or failed."""
        return self.done_ns != 0

    def note(self) -> None:
        """Keep the time of the last read and the body's length, where the body has grown."""
        assert self.reader is not None
        total = self.reader.total_bytes
        if total > (self.totals[-1] if self.totals else 0):
            self.stamps.append(self.read_ns)
            self.totals.append(total)

    def finish(self, error: ErrorClass | None = None, detail: str = "") -> None:
        """The answer ended, or failed; only the first call counts."""
        if self.finished:
            return
        self.done_ns = self.read_ns if error is None else time.perf_counter_ns()
        self.error, self.detail = error, detail
        if self.reader is not None:
            self.note()  # one read can bring text and break the connection
            # The reader refuses to give what it holds once its connection broke, so the pieces
            # are taken from its buffer.
            self.body = b"".join(getattr(self.reader, "_buffer", ()))  # none: no body by status
            self.reader = None
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def arrival_ns(self, end: int) -> int:
        """When the body's first ``end`` bytes were there: the time of the read that ended them."""
        return self.stamps[bisect_left(self.totals, end)]

    async def wait(self) -> None:
        """Wait until the answer ended or failed."""
        if not self.finished:
            self._future = asyncio.get_running_loop().create_future()
            await self._future


class TimedProtocol(ResponseHandler):
    """aiohttp's protocol of a connection, with a stamp on each read."""

    exchange: Exchange | None = None

    def data_received(self, data: bytes) -> None:
        """Stamp, let aiohttp parse the framing, note how long the body is now."""
        now_ns = time.perf_counter_ns()
        exchange = self.exchange
        if exchange is None:
            super().data_received(data)
            return
        exchange.read_ns = now_ns
        super().data_received(data)
        if exchange.reader is not None:
            exchange.note()
            exchange.events += data.count(EVENT)
            if exchange.reader.is_eof():
                self._end()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """The head of an answer came; called by aiohttp inside ``data_received``."""
        message, reader = data
        exchange = self.exchange
        if exchange is None or message.code < 200:  # 1xx: the answer is still to come
            return
        exchange.headers_ns = exchange.read_ns
        exchange.status = message.code
        exchange.content_type = message.headers.get("Content-Type", "")
        exchange.retry_after = message.headers.get("Retry-After")
        exchange.reader = reader

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
        exchange.read_ns = now_ns
        if exchange.reader is not None and exchange.reader.is_eof():
            exchange.finish()
        else:
            exchange.finish(ErrorClass.RESET, repr(exc) if exc else "the connection was closed")

    def _end(self, exc: BaseException | None = None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if exc is None:
            exchange.finish()
        elif isinstance(exc, HttpProcessingError):
            exchange.finish(ErrorClass.MALFORMED, f"not HTTP: {exc!r}")
        else:
            exchange.finish(ErrorClass.RESET, repr(exc))


class TimedConnector(aiohttp.TCPConnector):
    """aiohttp's pool of connections, with :class:`TimedProtocol` on each."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factory = functools.partial(TimedProtocol, loop=self._loop)  # type: ignore[assignment]
