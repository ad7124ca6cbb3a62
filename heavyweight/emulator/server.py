"""The emulated server: routes, requests and their answers."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from typing import Any

from heavyweight import __version__
from heavyweight.emulator import faults, http, paging, plan
from heavyweight.emulator.clock import Clock
from heavyweight.emulator.connection import Connection
from heavyweight.emulator.engine import Engine
from heavyweight.emulator.log import Log
from heavyweight.emulator.options import Options
from heavyweight.emulator.stream import Stream

__all__ = ["FAULT_HEADER", "Emulator", "Options", "serve"]

FAULT_HEADER = "X-Emulate-Fault"
CRASHED = 70  # exit status of a crash on order
TEMPLATE_TOKENS = 13  # what a chat template adds to the words of a prompt
LOADING = "model is loading"
BUSY = "server busy, please try again.  maximum pending requests exceeded"
_OUTPUT_TOKENS = 16  # where the request does not say
_MOST_TOKENS = 1_000_000
_BAD_GATEWAY = b"<html><body><h1>502 Bad Gateway</h1></body></html>"

_NOT_A_REQUEST = (
    ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError
)  # fmt: skip

KINDS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/api/chat": "ollama-chat",
    "/api/generate": "ollama-generate",
}


class Emulator:
    """The server's state.

    Args:
        options: how it behaves.
        loop: the loop of events that it lives in.
    """

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.options = options
        self.clock = Clock(loop)
        self.engine = Engine(options, self.clock, self._ended)
        self.connections: set[Connection] = set()
        self._log = Log(options.log, lambda: self.clock.next_ns) if options.log else None
        self._started_ns = time.perf_counter_ns()
        self._prefix = secrets.token_hex(8)
        self._received = 0
        self._leaked: list[bytes] = []
        self.in_flight = 0
        self.served = 0
        self._tokens = self._prompt_tokens_total = 0  # of streams that are over

    def handle(self, connection: Connection, request: http.Request, read_ns: int) -> None:
        """Answer a request, now or in the course of time."""
        if read_ns - self._started_ns < self.options.start_s * 1e9:
            connection.answer(self._error(request.path, 503, LOADING))
        elif request.path not in KINDS:
            connection.answer(self._side(request))
        elif request.method != "POST":
            connection.answer(http.short_json(405, {"error": "method not allowed"}))
        else:
            self._generate(connection, request, read_ns)

    def _side(self, request: http.Request) -> bytes:
        """The routes that generate nothing."""
        name = self.options.model
        answers: dict[str, Any] = {
            "/v1/models": {
                "object": "list",
                "data": [{"id": name, "object": "model", "owned_by": "emulator"}],
            },
            "/api/version": {"version": __version__},
            "/version": {"version": __version__},
            "/api/tags": {"models": [{"name": name, "model": name}]},
        }
        if request.path in answers:
            return http.short_json(200, answers[request.path])
        if request.path == "/emulator/state":
            return http.short_json(200, self._state())
        if request.path == "/health":
            return http.short(200, b"")
        if request.path == "/metrics":
            return http.short(200, self._metrics().encode(), "text/plain; version=0.0.4")
        return http.short_json(404, {"error": {"message": "no such route"}})

    @property
    def tokens(self) -> int:
        """Written until now."""
        return self._tokens + sum(c.stream.written for c in self.connections if c.stream)

    @property
    def prompt_tokens(self) -> int:
        """Of the prompts that were answered with a token until now."""
        live = [c.stream.prompt_tokens for c in self.connections if c.stream and c.stream.written]
        return self._prompt_tokens_total + sum(live)

    def _state(self) -> dict[str, int]:
        engine = self.engine
        return {
            "in_flight": self.in_flight,
            "running": engine.running,
            "waiting": engine.waiting,
            "served": self.served,
            "tokens": self.tokens,
            "late_max_ns": self.clock.late_ns,
        }

    def _metrics(self) -> str:
        label = f'{{engine="0",model_name="{self.options.model}"}}'
        known: dict[str, float] = {
            "num_requests_running": self.engine.running,
            "num_requests_waiting": self.engine.waiting,
            "generation_tokens_total": self.tokens,
            "prompt_tokens_total": self.prompt_tokens,
        }
        told = ""
        if self.options.api == "vllm":
            at_work = [c.stream for c in self.connections if c.stream and c.stream.at_work]
            known["kv_cache_usage_perc"] = paging.usage(one.cached_tokens for one in at_work)
            told = paging.config()
        lines = (f"vllm:{name}{label} {float(value)}\n" for name, value in known.items())
        return told + "".join(lines)

    def _error(self, path: str, status: int, message: str, **headers: str) -> bytes:
        """An answer that says why there is none: a bare text on Ollama's own routes."""
        if status == 502:
            return http.short(status, _BAD_GATEWAY, "text/html")
        error: Any = message
        if not path.startswith("/api/"):
            kind = "api_error" if status >= 500 else "invalid_request_error"
            error = {"message": message, "type": kind, "param": None, "code": status}
        return http.short_json(status, {"error": error}, headers)

    def _leak(self) -> None:
        """Keep memory that was written to: what is only asked for takes none."""
        if len(self._leaked) * faults.LEAK_BYTES < faults.LEAK_MOST_BYTES:
            self._leaked.append(b"x" * faults.LEAK_BYTES)

    def _generate(self, connection: Connection, request: http.Request, read_ns: int) -> None:
        """Answer a request for text, as its fault has it."""
        self._received += 1
        self.in_flight += 1
        options = self.options
        fault = request.headers.get(FAULT_HEADER.lower())
        if fault is None and self._received % options.fault_every == 0:
            fault = options.fault
            if fault == faults.CRASH:
                os._exit(CRASHED)
            if fault == faults.LEAK:
                self._leak()
                fault = None
        request_id = request.headers.get("x-request-id")
        stream = Stream(self.engine, connection, read_ns, request_id)
        refused = self._refuse(request.path, fault)
        if refused is None:
            try:
                ask, prompt_tokens = self._ask(request, fault)
            except _NOT_A_REQUEST as error:
                refused = 400, f"not a request: {error}", {}
            else:
                if ask.model != options.model:
                    refused = 404, f"model '{ask.model}' not found", {}
        if refused is not None:
            status, message, headers = refused
            stream.status = status
            stream.end()
            connection.answer(self._error(request.path, status, message, **headers))
        elif fault in faults.BREAKS:
            data = faults.BREAKS[fault]
            stream.end()
            connection.write(data.replace(b"%b", ask.content_type))
            connection.reset(later=bool(data))
        else:
            connection.stream = stream
            if fault != "stall-headers":
                value = plan.value_of(ask, self._received, self._prefix)
                stream.set_plan(ask, value, prompt_tokens)
                self.engine.submit(stream, request.body)

    def _refuse(self, path: str, fault: str | None) -> tuple[int, str, dict[str, str]] | None:
        """The status, reason and headers of a request that is refused before it is looked at."""
        if fault is not None and fault not in faults.NAMES:
            return 400, f"no such fault: {fault}", {}
        if fault in faults.STATUS:
            status, headers = faults.STATUS[fault]
            return status, LOADING if status == 503 else fault, headers
        if self.engine.full:
            return 503, BUSY, {}
        return None

    def _ask(self, request: http.Request, fault: str | None) -> tuple[plan.Ask, int]:
        """What the request asks for, and the tokens of its prompt.

        Raises:
            One of _NOT_A_REQUEST: it is not a request of this route.
        """
        body = json.loads(request.body)
        kind = KINDS[request.path]
        is_native = kind.startswith("ollama")
        if is_native:
            asked = (body.get("options") or {}).get("num_predict")
        else:
            asked = body.get("max_completion_tokens") or body.get("max_tokens")
        tokens = int(asked or _OUTPUT_TOKENS)
        tokens = min(tokens, _MOST_TOKENS) if tokens > 0 else _OUTPUT_TOKENS
        if fault in faults.LENGTHS:
            tokens = faults.LENGTHS[fault](tokens)
        prompt_tokens = max(1, self._prompt_tokens(kind, body))
        ask = plan.Ask(
            api=self.options.api,
            kind=kind,
            model=str(body.get("model")),
            prompt_digits=len(str(prompt_tokens)),
            total_digits=len(str(prompt_tokens + tokens)),
            output_tokens=tokens,
            tokens_per_chunk=self.options.tokens_per_chunk,
            with_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            stream=bool(body.get("stream", is_native)),
            fault=fault,
            digits=len(str(self._received)),
            chunked=request.chunked,
        )
        return ask, prompt_tokens

    def _prompt_tokens(self, kind: str, body: dict[str, Any]) -> int:
        """One a word, and what a template adds; vLLM's /v1/completions has none."""
        if kind in ("chat", "ollama-chat"):
            words = sum(len(str(message["content"]).split()) for message in body["messages"])
            return words + TEMPLATE_TOKENS
        prompt = body.get("prompt")
        if isinstance(prompt, list):
            words = sum(len(str(part).split()) for part in prompt)
        else:
            words = len(str(prompt).split())
        bare = kind == "completions" and self.options.api == "vllm"
        return words + (0 if bare else TEMPLATE_TOKENS)

    def _ended(self, stream: Stream) -> None:
        """Count a stream that is over, in whatever way, and log it."""
        self.in_flight -= 1
        self.served += 1
        self._tokens += stream.written
        self._prompt_tokens_total += stream.prompt_tokens if stream.written else 0
        if self._log:
            self._log.add(stream.line())

    def close(self) -> None:
        """Leave the clients alone, and complete the log."""
        for connection in list(self.connections):
            if connection.stream:
                connection.stream.end()
            connection.reset()
        self.clock.close()
        if self._log:
            self._log.close()


async def serve(options: Options, host: str, port: int, ready: asyncio.Future[int]) -> None:
    """Serve until cancelled.

    Args:
        options: how the server behaves.
        host: address to listen on.
        port: 0 takes a free one.
        ready: receives the port.
    """
    loop = asyncio.get_running_loop()
    emulator = Emulator(options, loop)
    try:
        server = await loop.create_server(
            lambda: Connection(emulator), host, port, backlog=4096, reuse_address=True
        )
        try:
            ready.set_result(server.sockets[0].getsockname()[1])
            await asyncio.Event().wait()
        finally:
            server.close()
    finally:
        emulator.close()
