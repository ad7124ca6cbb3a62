"""Options of a load -> what the load generator is told, and the records beside its rows."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heavyweight import keys, machine
from heavyweight.arrivals import read_trace, schedule
from heavyweight.errors import BadInput
from heavyweight.load.address import port_of
from heavyweight.load.spec import Arrivals, LoadSpec, Timeouts
from heavyweight.loadtest.target import Target
from heavyweight.records import SCHEMA_VERSION, ServerIdentity, ServerStart, Session

ARM = "load"
SECONDS = 20.0  # of the window, where neither seconds nor requests are given
LEAST_REQUESTS, LEAST_WAVES = 30, 4.0
WARMUP_S = 5.0  # open loop
CAP_S = 600.0  # closed loop: at most so long, or five times what was asked
FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Load:
    """What the user asked, besides how many users or what rate.

    Args:
        arrivals: poisson, constant, gamma or trace; None: a closed loop.
        cv: of gamma arrivals.
        trace: file of arrival times.
        requests: closed loop: least in the window; open loop: most in all, warm-up included.
        seconds: of the window: at least (closed loop) or exactly (open loop).
        warmup_s: before the window of an open loop; a closed one waits for a wave of requests.
        prompt_tokens: of each request.
        output_tokens: of each request.
        seed: of prompts and arrivals.
        extra_body: further fields of each request.
        timeouts: when a request has failed.
        allow_remote: whether the server may be on another machine.
    """

    arrivals: str | None = None
    cv: float = 2.0
    trace: Path | None = None
    requests: int | None = None
    seconds: float | None = None
    warmup_s: float | None = None
    prompt_tokens: int = 64
    output_tokens: int = 64
    seed: int = 1
    extra_body: dict[str, Any] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    allow_remote: bool = False

    def _arrivals(self, rate: float | None) -> Arrivals | None:
        if self.arrivals is None:
            return None
        window_s = self.seconds
        if window_s is None and self.requests is None and self.trace is None:
            window_s = SECONDS
        warmup_s = self.warmup_s
        if warmup_s is None:  # of unknown length: all of it is the window
            warmup_s = 0.0 if window_s is None or self.trace else WARMUP_S
        return Arrivals.model_validate(
            {
                "process": self.arrivals,
                "rate_per_s": None if self.trace else rate,
                "cv": self.cv,
                "trace": self.trace,
                "seconds": None if window_s is None else warmup_s + window_s,
                "requests": self.requests,
                "warmup_s": warmup_s,
                "drain_s": self.timeouts.total_s + 1,
            }
        )

    def spec(self, target: Target, out: Path, load: float | None, number: int = 1) -> LoadSpec:
        """One cell.

        Args:
            target: the server.
            out: folder of the cell.
            load: users, or requests per second; None: a trace.
            number: of the cell in its folder, from 1: each has prompts of its own.

        Raises:
            BadInput: it cannot be made.
        """
        closed = self.arrivals is None
        given = self.requests is not None or self.seconds is not None
        try:
            spec = LoadSpec(
                cell=self._identity(target, out, load, number),
                base_url=target.base_url,
                api=target.api,  # type: ignore[arg-type]
                model=target.model,
                extra_body=self.extra_body,
                headers=target.headers,
                users=int(load or 0) if closed else 0,
                arrivals=self._arrivals(load),
                seed=self.seed,
                block=number,
                output_tokens=self.output_tokens,
                prompt_tokens=self.prompt_tokens,
                min_requests=self.requests or LEAST_REQUESTS,
                min_waves=LEAST_WAVES if self.requests is None else 1e-9,
                min_seconds=self.seconds or (0.0 if given else SECONDS),
                cap_seconds=max(CAP_S, 5 * (self.seconds or 0.0)),
                timeouts=self.timeouts,
                server_pgid=target.pgid,
                out_dir=out,
                allow_remote=self.allow_remote,
            )
        except ValidationError as error:
            problems = "; ".join(
                e["msg"].removeprefix("Value error, ") + f" ({e['loc'][-1]})" * bool(e["loc"])
                for e in error.errors()
            )
            raise BadInput(f"no such load: {problems}", "", "heavyweight load --help") from error
        if spec.arrivals is not None:
            trace = None if spec.arrivals.trace is None else read_trace(spec.arrivals.trace)
            schedule(spec.arrivals, spec.seed, spec.block, trace)  # refuse it before it begins
        return spec

    def _identity(
        self, target: Target, out: Path, load: float | None, number: int
    ) -> dict[str, Any]:
        defines = {
            **{k: str(v) for k, v in vars(self).items()},
            "url": target.base_url,
            "api": target.api,
            "model": target.public_model,
            "version": target.version,
            "load": load,
            "number": number,
            "began": datetime.now(UTC).isoformat(),  # a load is measured again each time
            "schema": SCHEMA_VERSION,
        }
        return {
            "cell_id": hashlib.sha256(json.dumps(defines, sort_keys=True).encode()).hexdigest(),
            "run": out.name,
            "session": out.name,
            "arm": ARM,
            "server": target.server,
            "model": target.public_model,
            "emulated": target.emulated,
        }


def headers_of(lines: list[str]) -> dict[str, str]:
    """``K: V`` lines as headers; a key is the name of a variable, ``$MY_KEY``, and stays one.

    Raises:
        BadInput: one is none, or a key that was typed; its value is not repeated.
    """
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        value = value.strip()
        if not (colon and FIELD.fullmatch(name.strip())) or not keys.sendable(value):
            raise BadInput(
                f"--header {name!r} is no header" if colon else "a --header has no colon",
                "a name, a colon, a value",
                "write --header 'Authorization: Bearer $MY_KEY'",
            )
        keys.refuse_literal(name.strip(), value)
        headers[name.strip()] = value
    return headers


def extra_body_of(text: str | None) -> dict[str, Any]:
    """Further fields of each request.

    Raises:
        BadInput: no JSON object.
    """
    if not text:
        return {}
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise BadInput(f"--extra-body is no JSON: {error}", "", "mend it") from error
    if not isinstance(fields, dict):
        raise BadInput("--extra-body is no JSON object", "fields, '{\"ignore_eos\": true}'")
    return fields


def session_of(target: Target, name: str, planned: list[int]) -> Session:
    """The record of a session that neither started its server nor knows its cores."""
    return Session(
        run=name,
        session=name,
        arm=ARM,
        server=target.server,
        block=1,
        emulated=target.emulated,
        model=target.public_model,
        artefact="none",
        artefact_sha256=None,
        slots=None,
        context_tokens=None,
        settings={
            "started": "not by the study: cores, context and slots are unknown",
        },
        identity=ServerIdentity(
            server=target.server, version=target.version, model=target.public_model
        ),
        machine=machine.describe(),
        starts=[
            ServerStart(
                start_id=1,
                started_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
                command=[],
                environment={},
                cores=[],
                affinity_seen=[],
                port=port_of(target.base_url),
                pgid=target.pgid,
                ready_ms=None,
                first_token_ms=None,
                first_request_ttft_ms=None,
            )
        ],
        users_planned=planned,
    )
