"""Any server that speaks the OpenAI API and runs already: the study neither starts nor stops it."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from heavyweight.errors import NotReady, ServerError
from heavyweight.load.address import port_of, server_root
from heavyweight.paths import scrub
from heavyweight.records import ServerIdentity, ServerStart
from heavyweight.servers.asking import get_json, status_of
from heavyweight.servers.base import Server, ServerConfig
from heavyweight.text import plain

if TYPE_CHECKING:
    from heavyweight.design import Arm

RETRY_S = 0.5


class OpenaiServer(Server):
    """A server at a URL of the user's.

    Args:
        arm: with base_url, with or without its /v1.
        allow_remote: whether it may be on another machine.

    Raises:
        BadInput: no URL, or one of another machine.
    """

    kind: ClassVar[str] = "openai"
    start_timeout_s: ClassVar[float] = 10.0

    def __init__(self, arm: Arm, allow_remote: bool = False) -> None:
        super().__init__(arm, allow_remote)
        self.base_url = server_root(arm.base_url or "", allow_remote)

    def settings(self) -> dict[str, str]:
        """Nothing is known of how it was started."""
        return {
            "started": "not by the study: cores, context and slots are unknown",
            "url_sha256": hashlib.sha256(self.base_url.encode()).hexdigest(),
        }

    def command(self, config: ServerConfig) -> list[str]:
        """There is none."""
        return []

    def start(self, config: ServerConfig) -> None:
        """Nothing is started; the name of the model is settled.

        Raises:
            ServerError: it cannot be asked for its models.
        """
        self._config = config
        self._started_utc = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.extra_body = dict(self.arm.extra_body)

    def alive(self) -> bool:
        """Whether it answers."""
        return self.answers()

    def answers(self) -> bool:
        """Whether it lists its models."""
        return status_of(f"{self.base_url}/v1/models") == 200

    def ready(self, timeout_s: float | None = None) -> float:
        """Wait until it answers; ms since the call, as nobody knows when it was started.

        Raises:
            NotReady: it does not.
        """
        began = time.monotonic()
        limit_s = self.start_timeout_s if timeout_s is None else timeout_s
        while not self.answers():
            if time.monotonic() - began > limit_s:
                raise NotReady(
                    f"{self.base_url}/v1/models did not answer with 200 for {limit_s:.0f} s",
                    "a running server that speaks the OpenAI API",
                    "start it, or correct --base-url",
                )
            time.sleep(RETRY_S)
        self.served_model = self.name_of_model(self._given())
        return (time.monotonic() - began) * 1e3

    def name_of_model(self, config: ServerConfig) -> str:
        """The arm's served_model, else the only model that it serves."""
        served = self._served()
        if self.arm.served_model is not None:
            if self.arm.served_model not in served:
                raise ServerError(f"it serves {served}", self.arm.served_model, "name one of them")
            return self.arm.served_model
        if len(served) != 1:
            raise ServerError(f"it serves {served}", "one model", "name it: served_model")
        return served[0]

    def _served(self) -> list[str]:
        models = get_json(f"{self.base_url}/v1/models").get("data") or []
        return [str(model.get("id")) for model in models]

    def identify(self) -> ServerIdentity:
        """The name of the model: this API has no route for a version."""
        return ServerIdentity(server="openai", version=None, model=scrub(plain(self.served_model)))

    def stop(self) -> None:
        """Nothing is stopped."""

    def start_record(self, start_id: int) -> ServerStart:
        """What is known of a server that was found running."""
        return ServerStart(
            start_id=start_id,
            started_utc=self._started_utc,
            command=[],
            environment={},
            cores=[],
            affinity_seen=[],
            port=port_of(self.base_url),
            ready_ms=None,
            first_token_ms=None,
            first_request_ttft_ms=None,
            log=None,
        )
