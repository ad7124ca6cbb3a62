"""The emulated server: K slots, a FIFO queue, and an absolute schedule for every token."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from heavyweight import __version__
from heavyweight.emulator import faults
from heavyweight.emulator.wire import Act, Api, Write, answer

FAULT_HEADER = "X-Emulate-Fault"
TEMPLATE_TOKENS = 13  # what a chat template adds to the words of a prompt
LOADING = "model is loading"


@dataclass(frozen=True)
class Options:
    """How the server behaves.

    Args:
        api: whose manner of streaming and whose side routes.
        slots: requests worked on at once; the others wait in order of arrival.
        ttft_ms: from a free slot to the first token, in ms.
        itl_ms: between two tokens, in ms.
        model: name of the model; others are answered with 404.
        tokens_per_chunk: tokens in one chunk.
        start_s: seconds during which everything is answered with 503.
        fault: one of :data:`heavyweight.emulator.faults.NAMES`.
        fault_every: the fault hits each n-th request; 1: all.
        log: file for one JSON line a request, on CLOCK_MONOTONIC.
    """

    api: Api = "ollama"
    slots: int = 1
    ttft_ms: float = 20.0
    itl_ms: float = 2.0
    model: str = "emulated"
    tokens_per_chunk: int = 1
    start_s: float = 0.0
    fault: str | None = None
    fault_every: int = 1
    log: Path | None = None


async def _until(due_ns: int) -> None:
    """Sleep to an absolute time, so that late wake-ups never add up."""
    while (left_ns := due_ns - time.perf_counter_ns()) > 0:
        await asyncio.sleep(left_ns / 1e9)


def _reset(transport: asyncio.Transport | None) -> None:
    """Break the connection with a TCP reset rather than an orderly end."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Emulator:
    """The web application and its state."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._slots = asyncio.Semaphore(options.slots)  # FIFO
        self._started_ns = time.perf_counter_ns()
        self.in_flight = 0
        self.running = 0
        self.served = 0
        self._log: TextIO | None = options.log.open("a", encoding="utf-8") if options.log else None

    def app(self) -> web.Application:
        """The routes of the server that is imitated."""
        app = web.Application(middlewares=[self._while_loading])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/emulator/state", self._state)
        if self.options.api == "ollama":
            app.router.add_get("/api/version", self._version)
            app.router.add_get("/api/tags", self._tags)
        else:
            app.router.add_get("/version", self._version)
            app.router.add_get("/health", self._health)
            app.router.add_get("/metrics", self._metrics)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _app: web.Application) -> None:
        if self._log:
            self._log.close()

    @web.middleware
    async def _while_loading(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if time.perf_counter_ns() - self._started_ns < self.options.start_s * 1e9:
            return web.json_response({"error": {"message": LOADING}}, status=503)
        return await handler(request)

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": __version__})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _tags(self, _request: web.Request) -> web.Response:
        name = self.options.model
        return web.json_response({"models": [{"name": name, "model": name}]})

    async def _models(self, _request: web.Request) -> web.Response:
        entry = {"id": self.options.model, "object": "model", "owned_by": "emulator"}
        return web.json_response({"object": "list", "data": [entry]})

    async def _state(self, _request: web.Request) -> web.Response:
        state = {"in_flight": self.in_flight, "running": self.running, "served": self.served}
        return web.json_response(state)

    async def _metrics(self, _request: web.Request) -> web.Response:
        label = f'{{engine="0",model_name="{self.options.model}"}}'
        waiting = self.in_flight - self.running
        return web.Response(
            text=f"vllm:num_requests_running{label} {float(self.running)}\n"
            f"vllm:num_requests_waiting{label} {float(waiting)}\n"
        )

    def _fault(self, request: web.Request) -> str | None:
        """The fault of this request: ordered by its header, or by the options."""
        if name := request.headers.get(FAULT_HEADER):
            return name
        options = self.options
        due = options.fault and (self.served + self.in_flight) % options.fault_every == 0
        return options.fault if due else None

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        read_ns = time.perf_counter_ns()
        self.in_flight += 1
        try:
            fault = self._fault(request)
            body = await request.json()
            if body.get("model") != self.options.model:
                return web.json_response({"error": {"message": "no such model"}}, status=404)
            if fault in faults.STATUS:
                status, headers = faults.STATUS[fault]
                return web.json_response(
                    {"error": {"message": fault}}, status=status, headers=headers
                )
            if fault in faults.BREAKS:
                return await self._break(request, faults.BREAKS[fault])
            return await self._stream(request, body, fault, read_ns)
        finally:
            self.in_flight -= 1
            self.served += 1

    async def _break(self, request: web.Request, data: bytes) -> web.StreamResponse:
        """Write raw bytes past the web framework, then reset the connection."""
        if request.transport and data:
            request.transport.write(data)
            await asyncio.sleep(0.01)  # so that the bytes arrive before the reset
        _reset(request.transport)
        return web.Response()

    def _writes(self, body: dict[str, Any], fault: str | None) -> list[Write]:
        words = sum(len(str(message["content"]).split()) for message in body["messages"])
        tokens = int(body.get("max_completion_tokens") or body.get("max_tokens") or 16)
        writes = answer(
            self.options.api,
            self.options.model,
            number=self.served + self.in_flight,
            prompt_tokens=words + TEMPLATE_TOKENS,
            output_tokens=max(1, tokens // 2) if fault == "short" else tokens,
            tokens_per_chunk=self.options.tokens_per_chunk,
            with_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )
        return faults.STREAM[fault](writes) if fault in faults.STREAM else writes

    async def _stream(
        self, request: web.Request, body: dict[str, Any], fault: str | None, read_ns: int
    ) -> web.StreamResponse:
        """Wait for a slot, then write each part when it is due."""
        writes = self._writes(body, fault)
        stamps: list[int] = []
        admitted_ns = None
        kind = "application/json" if fault == "wrong-type" else "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": kind})
        try:
            async with self._slots:
                self.running += 1
                try:
                    admitted_ns = time.perf_counter_ns()
                    first_ns = admitted_ns + int(self.options.ttft_ms * 1e6)
                    for write in writes:
                        await _until(first_ns + int(write.step * self.options.itl_ms * 1e6))
                        if not response.prepared:
                            await response.prepare(request)
                        stamps.append(time.perf_counter_ns())
                        if not await self._write(request, response, write.data):
                            return response
                finally:
                    self.running -= 1
            if not response.prepared:
                await response.prepare(request)
            await response.write_eof()
        finally:
            self._record(request, read_ns, admitted_ns, stamps, writes)
        return response

    async def _write(
        self, request: web.Request, response: web.StreamResponse, data: bytes | Act
    ) -> bool:
        """Carry out one write; False: the stream is over."""
        if data is Act.RESET:
            _reset(request.transport)
            return False
        if data is Act.STALL:
            await asyncio.Event().wait()  # until the client goes away
        assert isinstance(data, bytes)
        await response.write(data)
        return True

    def _record(
        self,
        request: web.Request,
        read_ns: int,
        admitted_ns: int | None,
        stamps: list[int],
        writes: list[Write],
    ) -> None:
        """One line of the log: when the request was read and each part was written."""
        if self._log is None:
            return
        line = {
            "request_id": request.headers.get("X-Request-Id"),
            "read_ns": read_ns,
            "admitted_ns": admitted_ns,
            "write_ns": stamps,
            "write_tokens": [write.tokens for write in writes[: len(stamps)]],
            "ended_ns": time.perf_counter_ns(),
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


async def serve(options: Options, host: str, port: int, ready: asyncio.Future[int]) -> None:
    """Serve until cancelled.

    Args:
        options: how the server behaves.
        host: address to listen on.
        port: 0 takes a free one.
        ready: receives the port.
    """
    runner = web.AppRunner(
        Emulator(options).app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        ready.set_result(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
