"""One connection: requests in, answers out, past any web framework."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING

from heavyweight.emulator import http
from heavyweight.emulator.stream import Stream

if TYPE_CHECKING:
    from heavyweight.emulator.server import Emulator

_BEFORE_RESET_S = 0.01  # so that the bytes arrive before the reset
_LINGER_NOT = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Requests of one client, one after the other.

    Args:
        emulator: answers them.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._read_ns = 0
        self._busy = self._last = self._told = False
        self.stream: Stream | None = None
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have every byte that the socket does not take at once told."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        self._emulator.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or this side has closed."""
        self._transport = None
        self._emulator.connections.discard(self)
        stream, self.stream = self.stream, None
        if stream and not self._emulator.options.stubborn:
            stream.end()

    def data_received(self, data: bytes) -> None:
        """Bytes came; a request is read when its last one is."""
        self._read_ns = time.perf_counter_ns()
        self._data += data
        if not self._busy:
            self._next()
        self._emulator.clock.run_if_due()

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self.paused = True

    def resume_writing(self) -> None:
        """The socket took all."""
        self.paused = False
        if self.stream:
            self.stream.resume()

    def _next(self) -> None:
        """Answer the next request, where one is complete."""
        if self._busy or not self._data or self._transport is None:
            return
        try:
            request = http.parse(self._data)
        except http.BadRequest as error:
            self._last = True
            self.answer(http.short_json(error.status, {"error": {"message": str(error)}}))
            return
        if request is None:
            if not self._told and http.wants_continue(self._data):
                self._told = True
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        del self._data[: request.size]
        self._told = False
        self._busy = True
        self._last = not request.keep_alive
        self._emulator.handle(self, request, self._read_ns)

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket at once; without a connection, drop them."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def answer(self, data: bytes) -> None:
        """Write a whole answer."""
        self._busy = True
        self.write(data)
        self.answered()

    def answered(self, close: bool = False) -> None:
        """An answer is complete: end the connection, or take the next request."""
        self.stream = None
        if close or self._last:
            self.close()
            return
        self._busy = False
        if self._data:
            asyncio.get_running_loop().call_soon(self._next)

    def close(self) -> None:
        """End the connection in good order."""
        if self._transport is not None:
            self._transport.close()

    def reset(self, later: bool = False) -> None:
        """Break the connection with a TCP reset, or a little later, so that bytes arrive before."""
        if later:
            asyncio.get_running_loop().call_later(_BEFORE_RESET_S, self.reset)
            return
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._transport.abort()
