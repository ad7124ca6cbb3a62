"""The experiment coldstart: from a restart to ready, to the first token and to full speed.

One session is one arm in one block. A first start is not recorded: it fills the compile cache and
reads all files, so that "warm" is warm. Then the server is started once under each condition, in
random order, and each start is in session.json when it is done.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from heavyweight import design, load
from heavyweight.design import Arm
from heavyweight.errors import BadInput
from heavyweight.experiments import disk
from heavyweight.load.first import PROMPT_TOKENS
from heavyweight.parameters import Parameters
from heavyweight.paths import cache_dir, scrub
from heavyweight.records import ColdStart, ServerStart
from heavyweight.servers.lock import stop_left_over
from heavyweight.servers.phases import cache_said, phases_of
from heavyweight.servers.watching import WatchedLog
from heavyweight.session import ServerSession
from heavyweight.workload import prompt

REQUESTS = 8  # after the first one, until the server is at full speed
FULL_SPEED = 0.9  # of the median of the second half of them
PROMPTS = 0xC01D  # key of their prompts: no loop of any session has it
EMPTY_CACHE = "compile-cold-"  # folders in the study's cache while such a start runs
EAGER = "--enforce-eager"


@dataclass(frozen=True)
class Condition:
    """With what a start begins.

    Args:
        name: as in session.json.
        disk: whether files may be in the page cache.
        compiled: compile cache: filled, empty, not used, or the server has none.
    """

    name: str
    disk: Literal["warm", "cold"] = "warm"
    compiled: Literal["warm", "cold", "eager", "none"] = "none"

    def __str__(self) -> str:
        return self.name


def conditions_of(arm: Arm) -> list[Condition]:
    """All conditions of an arm; only vLLM compiles.

    Raises:
        BadInput: the study does not start the arm's server.
    """
    if not arm.started:
        raise BadInput(
            f"arm {arm.name!r} is a server that the study does not start",
            "one that it starts and stops",
            "choose an arm of Ollama or of vLLM",
        )
    if arm.server != "vllm":
        return [Condition("warm"), Condition("disk cold", disk="cold")]
    if EAGER in arm.flags:
        return [Condition("warm", compiled="eager"), Condition("disk cold", "cold", "eager")]
    return [
        Condition("warm", compiled="warm"),
        Condition("disk cold", disk="cold", compiled="warm"),
        Condition("compile cold", compiled="cold"),
        Condition("eager", compiled="eager"),
    ]


class ColdstartSession(ServerSession):
    """One arm, started once under each condition; see :class:`ServerSession`.

    The server is asked nothing before its first request, so that the way to the first token holds
    nothing of the study's own.
    """

    experiments: ClassVar[frozenset[str]] = frozenset({"coldstart"})
    unit: ClassVar[str] = "starts"
    asks_first: ClassVar[bool] = False

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._files = self.server.files()
        if self.setting.artefact:
            self._files.append(self.setting.artefact.path)
        self._prepared = False
        self._answers: list[load.Answer] = []
        self._disk_read_bytes: int | None = None
        if self._left_out and not self.record.left_out:
            self.record = self.record.model_copy(update={"left_out": self._left_out})

    @property
    def _left_out(self) -> dict[str, str]:
        """Conditions that cannot be made here, and why."""
        if disk.can_drop():
            return {}
        why = "this system lets nobody empty its page cache"
        return {one.name: why for one in conditions_of(self.setting.arm) if one.disk == "cold"}

    @property
    def planned(self) -> Sequence[Condition]:
        """The conditions in their random order."""
        arm, left_out = self.setting.arm, self._left_out
        found = [one for one in conditions_of(arm) if one.name not in left_out]
        seed, block = self.setting.study.seed, self.setting.parameters.block
        order = design.stream(seed, "coldstart", block, arm.name).permutation(len(found))
        return [found[place] for place in order]

    @property
    def missing(self) -> list[Condition]:
        """The conditions without a finished start, in their order."""
        done = {start.cold.condition for start in self.record.starts if start.cold}
        return [one for one in self.planned if one.name not in done]

    def start(self) -> pd.Series:
        """A start that is not recorded: it fills the compile cache and reads all files once.

        Returns:
            What answered; nothing is started where nothing is missing.
        """
        if not self.missing:
            stop_left_over()
            return pd.Series({"session": self.path.name, "state": "measured already"})
        self.begin()
        with self._told():
            self._prepare()
        identity = self.record.identity
        return pd.Series(
            {
                "session": self.path.name,
                "server": identity and f"{identity.server} {identity.version or ''}".strip(),
                "model": identity and identity.model,
                "conditions": ", ".join(map(str, self.missing)),
                "left out": "; ".join(f"{name}: {why}" for name, why in self._left_out.items()),
            }
        )

    def measure(self) -> pd.DataFrame:
        """Start the server under each condition that is missing; each is on disk when it is done.

        Returns:
            One row a condition; see :meth:`summary`.
        """
        with self._told():
            for condition in self.missing:
                if not self._prepared:
                    self._prepare()
                self._save(starts=[*self.record.starts, self._measured(condition)], complete=False)
                self.progress.cell_done()
        return self.summary()

    def _prepare(self) -> None:
        self._timed_start()
        self._end_server()
        self._prepared = True

    def _measured(self, condition: Condition) -> ServerStart:
        """One start, timed until the server is at full speed, and stopped."""
        with self._arm(condition) as arm:
            dropped = disk.drop(self._files) if condition.disk == "cold" else ""
            with WatchedLog(self._next_log()) as log:
                start = self._timed_start(arm)
            spawned_ns = self.server.spawned_ns
            self._end_server()
        assert spawned_ns is not None
        assert start.ready_ms is not None
        assert start.first_token_ms is not None
        assert start.first_request_ttft_ms is not None
        speeds = [answer.tok_s for answer in self._answers]
        at_speed = full_speed_at(speeds)
        ended_ms = [(answer.last_ns - spawned_ns) / 1e6 for answer in self._answers]
        cold = ColdStart(
            condition=condition.name,
            disk=condition.disk,
            dropped=dropped,
            compiled=condition.compiled,
            phases_ms=phases_of(
                self.setting.arm.server,
                log.lines(),
                spawned_ns=spawned_ns,
                ready_ms=start.ready_ms,
                sent_ms=start.first_token_ms - start.first_request_ttft_ms,
                first_ms=start.first_token_ms,
            ),
            full_speed_ms=None if at_speed is None else ended_ms[at_speed],
            speeds_tok_s=speeds,
            disk_read_bytes=self._disk_read_bytes,
            cache_said=scrub(cache_said(log.lines())),
        )
        return start.model_copy(update={"cold": cold})

    @contextmanager
    def _arm(self, condition: Condition) -> Iterator[Arm]:
        """The arm under a condition; an empty compile cache lasts as long as its start."""
        arm = self.setting.arm
        if condition.compiled == "eager" and EAGER not in arm.flags:
            yield arm.model_copy(update={"flags": [*arm.flags, EAGER]})
        elif condition.compiled == "cold":
            self._hold_machine()  # so that no other session uses such a folder
            for left in cache_dir().glob(f"{EMPTY_CACHE}*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=EMPTY_CACHE, dir=cache_dir()) as folder:
                empty = {
                    "VLLM_CACHE_ROOT": folder,
                    "TORCHINDUCTOR_CACHE_DIR": str(Path(folder, "inductor")),
                    "TRITON_CACHE_DIR": str(Path(folder, "triton")),
                }
                yield arm.model_copy(update={"env": arm.env | empty})
        else:
            yield arm

    def _after_first_token(self) -> None:
        """Requests one after the other, before anything else is asked of the server."""
        server, setting = self.server, self.setting
        if server.process:
            self._disk_read_bytes = disk.read_bytes(server.process.pgid)
        seed, block = setting.study.seed, setting.parameters.block
        self._answers = load.one_by_one(
            server.base_url,
            server.served_model,
            server.extra_body,
            [
                prompt(seed, block, users=1, index=index, prompt_tokens=PROMPT_TOKENS,
                       schedule=PROMPTS)
                for index in range(REQUESTS)
            ],
            setting.profile.output_tokens,
            what="a request after the first one",
        )  # fmt: skip

    def summary(self) -> pd.DataFrame:
        """The starts that lie on disk: times in ms, and how they were begun."""
        rows = [
            {
                "condition": start.cold.condition,
                "page cache": start.cold.dropped or "warm",
                "compile cache": start.cold.compiled,
                "ready_ms": round(start.ready_ms or 0),
                "first_token_ms": round(start.first_token_ms or 0),
                "full_speed_ms": start.cold.full_speed_ms and round(start.cold.full_speed_ms),
                "tok_s": round(start.cold.speeds_tok_s[-1], 1),
                "log": start.log,
            }
            for start in self.record.starts
            if start.cold
        ]
        return pd.DataFrame(rows)


def full_speed_at(speeds_tok_s: Sequence[float]) -> int | None:
    """Place of the first request that is at full speed: 90% of the median of the second half.

    Returns:
        Its place, from 0; None: there is none.
    """
    if not speeds_tok_s:
        return None
    usual = statistics.median(speeds_tok_s[len(speeds_tok_s) // 2 :])
    return next((place for place, v in enumerate(speeds_tok_s) if v >= FULL_SPEED * usual), None)
