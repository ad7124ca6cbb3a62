"""A session of probes: questions with a yes or no, put to one server one after the other.

The notebook mechanisms is made of calls into this module; one execution is one session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pandas as pd

from heavyweight import servers, store
from heavyweight.design import Arm
from heavyweight.errors import ServerError
from heavyweight.experiments.footprint import Footprint, vram_used_bytes
from heavyweight.experiments.probes import Mechanism, Observation, Prober, Value, mechanisms_for
from heavyweight.models.running import running
from heavyweight.parameters import Parameters
from heavyweight.paths import scrub
from heavyweight.session import ServerSession, write_probe


class Mechanisms(ServerSession):
    """One server and the probes that say something of it; see :class:`ServerSession`.

    The server is started on the port that it comes with, where that is free.
    """

    experiments: ClassVar[frozenset[str]] = frozenset({"mechanisms"})
    unit: ClassVar[str] = "probes"

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._at_ready: Footprint | None = None
        self._vram_before: int | None = None

    @property
    def planned(self) -> list[str]:
        """Names of its probes in their order."""
        return [one.name for one in mechanisms_for(self.setting.arm)]

    @property
    def missing(self) -> list[str]:
        """Names of the probes that are still to be made."""
        done = {probe.probe for probe in store.SessionFolder(self.path).probes()}
        return [name for name in self.planned if name not in done]

    def _left(self) -> list[Mechanism]:
        missing = self.missing
        return [one for one in mechanisms_for(self.setting.arm) if one.name in missing]

    def start(self) -> pd.Series:
        """Start the server, where a missing probe needs it; see :meth:`ServerSession.start`."""
        left = self._left()
        if left and all(one.own_start for one in left):
            self.begin()
            return pd.Series(
                {"session": self.path.name, "state": "what is missing starts servers of its own"}
            )
        return super().start()

    def ask(self) -> pd.DataFrame:
        """Make every probe that is missing; each is on disk when it is done.

        A probe that the server did not survive is unknown, and says why; the server is started
        again for the next one.

        Returns:
            One row a probe: question, answer, and why.
        """
        with self._told():
            for mechanism in self._left():
                self.progress.phase(f"probe {mechanism.name}")
                if mechanism.own_start:
                    self._hold_machine()
                    self._save()
                    self._end_server()
                else:
                    self.revive()
                self._put(mechanism)
                self.progress.cell_done()
        return self.summary()

    def _put(self, mechanism: Mechanism) -> None:
        """Put one question and write down what came of it; a failure makes it unknown."""
        prober = Prober(
            mechanism, self.setting, self.server, self.path, self._running, self._at_ready,
            self._vram_before, self.setting.profile.cap_seconds,
        )  # fmt: skip
        try:
            seen = mechanism.observe(prober)
        except ServerError as error:
            seen = Observation("unknown", str(error))
        why = seen.why
        if not mechanism.own_start:
            lives = self._survived() if seen.answer == "unknown" else self.server.alive()
            why += "" if lives else "; the server died meanwhile"
        write_probe(
            self.path,
            self.record,
            mechanism.name,
            mechanism.question,
            start_id=0 if mechanism.own_start else len(self.record.starts),
            answer=seen.answer,
            yes=seen.yes,
            trials=[{key: _clean(value) for key, value in one.items()} for one in seen.trials],
            value=seen.value,
            value_unit=seen.unit,
            why=scrub(why),
        )

    @contextmanager
    def _running(self, arm: Arm) -> Iterator[servers.Server]:
        """A server of a probe's own; its log is named by how many there are."""
        assert self._lock is not None  # held by whoever asks
        logs = len(list(self.path.glob("probe-*.log*")))
        config = self.setting.server_config(
            arm, port=servers.free_port(), log_path=self.path / f"probe-{logs + 1}.log"
        )
        with running(servers.server_for(arm), config, self._lock) as server:
            yield server

    def _config(self, arm: Arm) -> servers.ServerConfig:
        """On the server's usual port, untold, where nobody listens there."""
        config = super()._config(arm)
        self._vram_before = vram_used_bytes()
        usual = self.server.usual_port
        if usual is None or self.setting.parameters.port is not None:
            return config
        try:
            servers.check_port_free(usual)
        except ServerError:
            return config
        return self.setting.server_config(
            arm, port=usual, log_path=config.log_path, default_port=True
        )

    def _remember_server(self, port: int) -> None:
        """As always; and once the server is ready, how much memory it holds before any request."""
        super()._remember_server(port)
        if self.server.process and self.server.ready_ms is not None:
            self._at_ready = Footprint.of(self.server.process.pgid, self._vram_before)

    def summary(self) -> pd.DataFrame:
        """What lies on disk for this session."""
        return pd.DataFrame(
            [
                {
                    "probe": probe.probe,
                    "question": probe.question,
                    "answer": probe.answer,
                    "value": probe.value,
                    "unit": probe.value_unit,
                    "why": probe.why,
                }
                for probe in store.SessionFolder(self.path).probes()
            ]
        )


def _clean(value: Value) -> Value:
    """A field of a trial without names of this machine, and with numbers as a reader wants them."""
    if isinstance(value, str):
        return scrub(value)
    return round(value, 6) if isinstance(value, float) else value
