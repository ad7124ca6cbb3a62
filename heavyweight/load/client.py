"""The client: prepared requests written to aiohttp's connections, late answers ended.

``aiohttp.ClientSession.request`` costs about 0.3 ms and leaves the write to a later turn of the
loop. Here a request is prepared as bytes before it is due and written to the connection that the
connector gave, so that TLS, proxies, the pool and name resolution remain aiohttp's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from heavyweight.keys import expanded
from heavyweight.load.address import is_loopback, server_root
from heavyweight.load.apis import api_for
from heavyweight.load.connection import BODY_LIMIT, Exchange, TimedConnector, TimedProtocol
from heavyweight.load.spec import Timeouts
from heavyweight.records import ErrorClass
from heavyweight.workload import Prompt

WATCHED_AT_ONCE = 64

# What keeps this machine from opening a connection; the server has no part in it.
OWN_FAULTS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS})


class Client:
    """Sends prepared requests to one server.

    Args:
        base_url: of the server, with or without /v1.
        api: how requests are spoken; one of :data:`heavyweight.load.spec.Api`.
        model: name under which the server serves it.
        extra_body: further fields of each request.
        headers: further headers of each request; a value may name a variable, ``$MY_KEY``.
        timeouts: when a request has failed.
        allow_remote: whether the server may be another machine.

    Raises:
        BadInput: the address cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        api: str,
        model: str,
        extra_body: Mapping[str, Any],
        headers: Mapping[str, str],
        timeouts: Timeouts,
        allow_remote: bool = False,
    ) -> None:
        self.timeouts = timeouts
        self.api = api_for(api)
        self._model, self._extra = model, dict(extra_body)
        # Shorter than the 5 s after which servers close an idle connection: no race with that.
        self._connector = TimedConnector(limit=0, keepalive_timeout=2.0)
        address = URL(server_root(base_url, allow_remote) + self.api.path)
        proxy, credentials = _proxy(address)
        self._template = aiohttp.ClientRequest(
            "POST", address, loop=asyncio.get_running_loop(), proxy=proxy, proxy_auth=credentials
        )
        self._timeout = aiohttp.ClientTimeout(
            connect=timeouts.connect_s, sock_connect=timeouts.connect_s
        )
        fields = {
            "Host": address.host_port_subcomponent or "",
            "Content-Type": "application/json",
            "Accept": self.api.stream_types[0],
            "Accept-Encoding": "identity",
            **{name: expanded(name, value) for name, value in headers.items()},
        }
        if credentials and address.scheme == "http":
            fields["Proxy-Authorization"] = credentials.encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        target = str(address) if proxy and address.scheme == "http" else address.raw_path_qs
        self._head = f"POST {target} HTTP/1.1\r\n{lines}".encode("latin-1")
        self._name, self._count = uuid.uuid4().hex, itertools.count()  # unique, and small on disk
        self._turn = asyncio.Lock()
        self._kept_bytes = 0
        self.live: dict[Exchange, Connection] = {}

    def prepare(self, prompt: Prompt, output_tokens: int) -> Exchange:
        """A request as bytes, before it is due."""
        data = json.dumps(self.api.body(self._model, prompt, output_tokens, self._extra)).encode()
        request_id = f"{self._name}-{next(self._count):06d}"
        tail = f"X-Request-Id: {request_id}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        made = Exchange(request_id, prompt.prompt_id, self._head + tail + data, self.api)
        made.model = self._model
        return made

    async def reserve(self, exchange: Exchange) -> Connection | None:
        """A connection for a request that is not due yet.

        Returns:
            None: there is none, and the exchange has failed.
        """
        try:
            return await self._connector.connect(self._template, [], self._timeout)
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            told = f"{type(error).__name__}: no connection in {self.timeouts.connect_s:g} s"
            exchange.finish(ErrorClass.TIMEOUT_CONNECT, told)
        except (aiohttp.ClientError, OSError) as error:
            own = getattr(error, "errno", None) in OWN_FAULTS
            exchange.finish(ErrorClass.CLIENT if own else ErrorClass.REFUSED, _said(error))
        return None

    async def send(self, exchange: Exchange, connection: Connection) -> None:
        """Send a request and wait for the end of its answer; failures are in the exchange."""
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
            self._kept_bytes += exchange.kept_bytes
            if exchange.error is None and exchange.finished:
                connection.release()
            else:
                connection.close()

    async def perform(self, exchange: Exchange) -> None:
        """Get a connection, send, and wait for the end of the answer."""
        connection = await self.reserve(exchange)
        if connection is not None:
            await self.send(exchange, connection)

    def _write(self, connection: Connection, exchange: Exchange) -> None:
        protocol, transport = connection.protocol, connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the server closed the connection before the request")
        assert isinstance(protocol, TimedProtocol)
        protocol.set_response_params(read_until_eof=True, read_bufsize=BODY_LIMIT)
        protocol.exchange = exchange
        self.live[exchange] = connection
        payload, exchange.payload = exchange.payload, b""  # sent: not kept
        exchange.sent_ns = time.perf_counter_ns()
        written = _write_now(transport, payload)
        if written < len(payload):
            transport.write(payload[written:])
        exchange.handed_ns = time.perf_counter_ns()

    def watch(self, some: Iterable[Exchange] | None = None) -> int:
        """End the requests that are too late; called a few times a second.

        Args:
            some: which are looked at; None: all that are live.

        Returns:
            Bytes that their answers take in memory, roughly.
        """
        now_ns, kept_bytes = time.perf_counter_ns(), 0
        for exchange in list(self.live) if some is None else some:
            if not exchange.finished and (late := self._late(exchange, now_ns)):
                exchange.finish(*late)
            kept_bytes += exchange.kept_bytes
        return kept_bytes

    async def watch_in_turns(self) -> int:
        """Watch all live requests, a few in each turn of the loop: streams are read in between.

        Returns:
            Bytes that all answers take in memory, finished ones and live ones, roughly.
        """
        live = list(self.live)
        kept_bytes = 0
        for first in range(0, len(live), WATCHED_AT_ONCE):
            kept_bytes += self.watch(live[first : first + WATCHED_AT_ONCE])
            await asyncio.sleep(0)
        return kept_bytes + self._kept_bytes

    def _late(self, exchange: Exchange, now_ns: int) -> tuple[ErrorClass, str] | None:
        limits, sent_ns = self.timeouts, exchange.sent_ns
        assert sent_ns is not None
        if now_ns - sent_ns > limits.total_s * 1e9:
            return ErrorClass.TIMEOUT_TOTAL, f"not done after {limits.total_s:g} s"
        if not exchange.events:  # comments that keep the connection alive are none
            if now_ns - sent_ns > limits.first_s * 1e9:
                return ErrorClass.TIMEOUT_FIRST, f"no first event after {limits.first_s:g} s"
        elif now_ns - exchange.event_ns > limits.gap_s * 1e9:
            return ErrorClass.TIMEOUT_GAP, f"no event for {limits.gap_s:g} s"
        if exchange.received_bytes > BODY_LIMIT:
            return ErrorClass.TOO_LONG, f"an answer of more than {BODY_LIMIT} bytes"
        return None

    def abandon(self) -> None:
        """Give up the requests that are still in flight."""
        for exchange in list(self.live):
            exchange.finish(ErrorClass.ABANDONED, "the cell ended while it was in flight")

    async def close(self) -> None:
        """Close all connections."""
        await self._connector.close()


def _said(error: Exception) -> str:
    """An error in words, without the name and the address of the server."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    said = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _write_now(transport: asyncio.Transport, payload: bytes) -> int:
    """Hand bytes to the socket at once: uvloop's transport would wait for the turn's end.

    Returns:
        How many bytes the socket took; 0 where the transport has to do it, as with TLS.
    """
    if transport.get_extra_info("sslcontext") is not None or transport.get_write_buffer_size():
        return 0
    sock = transport.get_extra_info("socket")
    if sock is None or os.name == "nt":
        return 0
    with contextlib.suppress(BlockingIOError, InterruptedError):
        return os.write(sock.fileno(), payload)
    return 0


def _proxy(address: URL) -> tuple[URL | None, aiohttp.BasicAuth | None]:
    """The proxy that the environment names for another machine; none for this one."""
    if is_loopback(address.host or ""):
        return None, None
    try:
        return get_env_proxy_for_url(address)
    except LookupError:
        return None, None
