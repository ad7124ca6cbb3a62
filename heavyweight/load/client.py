"""The client: requests written and answers stamped where the bytes pass, parsed after the cell.

What was learnt from aiohttp 3.14 (client_proto.py, connector.py, streams.py):

- ``ResponseHandler.data_received`` is the first Python code that sees an arrival. The stamp is
  taken there, one for a read, together with the body's length so far (``total_bytes``).
- ``ResponseHandler.feed_data`` hands over the head of an answer and its body's ``StreamReader``.
  The body stays in that reader's buffer: a reader task per stream would cost a wake-up per token.
- ``ClientSession.request`` costs about 0.3 ms and leaves the write to a later turn of the loop. The
  request is therefore prepared as bytes before it is due and written to the connection that the
  connector gave, so that TLS, the pool and name resolution remain aiohttp's.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
import uuid
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from heavyweight.load.spec import Timeouts
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

    def finish(self, error: ErrorClass | None = None, detail: str = "") -> None:
        """The answer ended, or failed; only the first call counts."""
        if self.finished:
            return
        self.done_ns = self.read_ns if error is None else time.perf_counter_ns()
        self.error, self.detail = error, detail
        if self.reader is not None:
            # The reader refuses to give what it holds once its connection broke, so the pieces
            # are taken from its buffer.
            self.body = b"".join(self.reader._buffer)
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
        reader = exchange.reader
        if reader is None:
            return
        total = reader.total_bytes
        if total and (not exchange.totals or total > exchange.totals[-1]):
            exchange.stamps.append(now_ns)
            exchange.totals.append(total)
            exchange.events += data.count(EVENT)
        if reader.is_eof():
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
        exchange = self.exchange
        if exchange is not None:
            exchange.read_ns = time.perf_counter_ns()
        super().connection_lost(exc)
        if exchange is not None and not exchange.finished:
            whole = exchange.reader is not None and exchange.reader.is_eof()
            self._end(None if whole else exc or ConnectionResetError("connection closed"))

    def _end(self, exc: BaseException | None = None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.finish(ErrorClass.RESET if exc else None, repr(exc) if exc else "")


class TimedConnector(aiohttp.TCPConnector):
    """aiohttp's pool of connections, with :class:`TimedProtocol` on each."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factory = functools.partial(TimedProtocol, loop=self._loop)


class Client:
    """Sends prepared requests to one URL.

    Args:
        url: where requests go.
        model: name under which the server serves it.
        extra_body: further fields of each request.
        headers: further headers of each request.
        timeouts: when a request has failed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        extra_body: Mapping[str, Any],
        headers: Mapping[str, str],
        timeouts: Timeouts,
    ) -> None:
        self.timeouts = timeouts
        self._model, self._extra = model, dict(extra_body)
        # Shorter than the 5 s after which servers close an idle connection: no race with that.
        self._connector = TimedConnector(limit=0, keepalive_timeout=2.0)
        self._template = aiohttp.ClientRequest("POST", URL(url), loop=asyncio.get_running_loop())
        self._timeout = aiohttp.ClientTimeout(
            connect=timeouts.connect_s, sock_connect=timeouts.connect_s
        )
        address = self._template.url
        fields = {
            "Host": address.host_port_subcomponent or "",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._head = f"POST {address.raw_path_qs} HTTP/1.1\r\n{lines}".encode("latin-1")
        self._turn = asyncio.Lock()
        self.live: dict[Exchange, aiohttp.connector.Connection] = {}

    def prepare(
        self, prompt_id: str, messages: tuple[dict[str, str], ...], output_tokens: int
    ) -> Exchange:
        """A request as bytes, before it is due."""
        body = {
            "model": self._model,
            "messages": messages,
            "max_tokens": output_tokens,
            "temperature": 0,
            "top_p": 1,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._extra,
        }
        data = json.dumps(body).encode()
        request_id = uuid.uuid4().hex
        tail = f"X-Request-Id: {request_id}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        return Exchange(request_id, prompt_id, self._head + tail + data)

    async def perform(self, exchange: Exchange) -> None:
        """Send a request and wait for the end of its answer; failures are in the exchange."""
        try:
            connection = await self._connector.connect(self._template, [], self._timeout)
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            exchange.finish(ErrorClass.TIMEOUT_CONNECT, repr(error))
            return
        except (aiohttp.ClientError, OSError) as error:
            exchange.finish(ErrorClass.REFUSED, repr(error))
            return
        try:
            # One request for each turn of the loop: the arrivals of live streams come between.
            async with self._turn:
                self._write(connection, exchange)
                await asyncio.sleep(0)
            await exchange.wait()
        except (aiohttp.ClientError, OSError) as error:
            exchange.finish(ErrorClass.RESET, repr(error))
        finally:
            self.live.pop(exchange, None)
            if exchange.error is None and exchange.finished:
                connection.release()
            else:
                connection.close()

    def _write(self, connection: aiohttp.connector.Connection, exchange: Exchange) -> None:
        protocol, transport = connection.protocol, connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the server closed the connection before the request")
        assert isinstance(protocol, TimedProtocol)
        protocol.set_response_params(read_until_eof=True, read_bufsize=BODY_LIMIT)
        protocol.exchange = exchange
        self.live[exchange] = connection
        exchange.sent_ns = time.perf_counter_ns()
        transport.write(exchange.payload)
        exchange.payload = b""  # sent: not kept

    def watch(self) -> None:
        """End the requests that are too late; called a few times a second."""
        now_ns = time.perf_counter_ns()
        for exchange in list(self.live):
            if late := self._late(exchange, now_ns):
                exchange.finish(*late)

    def _late(self, exchange: Exchange, now_ns: int) -> tuple[ErrorClass, str] | None:
        limits, sent_ns = self.timeouts, exchange.sent_ns
        assert sent_ns is not None
        if now_ns - sent_ns > limits.total_s * 1e9:
            return ErrorClass.TIMEOUT_TOTAL, f"not done after {limits.total_s:g} s"
        if not exchange.stamps:
            if now_ns - sent_ns > limits.first_s * 1e9:
                return ErrorClass.TIMEOUT_FIRST, f"no first chunk after {limits.first_s:g} s"
        elif now_ns - exchange.stamps[-1] > limits.gap_s * 1e9:
            return ErrorClass.TIMEOUT_GAP, f"nothing came for {limits.gap_s:g} s"
        if exchange.totals and exchange.totals[-1] > BODY_LIMIT:
            return ErrorClass.CLIENT, f"an answer of more than {BODY_LIMIT} bytes is not kept"
        return None

    def abandon(self) -> None:
        """Give up the requests that are still in flight."""
        for exchange in list(self.live):
            exchange.finish(ErrorClass.ABANDONED, "the cell ended while it was in flight")

    async def close(self) -> None:
        """Close all connections."""
        await self._connector.close()
