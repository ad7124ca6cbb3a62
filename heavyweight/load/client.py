"""The client: prepared requests written to aiohttp's connections, late answers ended.

``aiohttp.ClientSession.request`` costs about 0.3 ms and leaves the write to a later turn of the
loop. Here a request is prepared as bytes before it is due and written to the connection that the
connector gave, so that TLS, the pool and name resolution remain aiohttp's.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from heavyweight.load.connection import BODY_LIMIT, Exchange, TimedConnector, TimedProtocol
from heavyweight.load.spec import Timeouts
from heavyweight.records import ErrorClass


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
