"""Whether a server starts and answers where there is no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

from heavyweight.design import Arm
from heavyweight.errors import ServerError
from heavyweight.experiments.offline import Spec, Told
from heavyweight.experiments.probes.arms import shipped
from heavyweight.experiments.probes.base import Mechanism, Observation, Prober, Trial
from heavyweight.store import write_text

START_S, ANSWER_S = 900.0, 120.0
GRACE_S = 30.0
ONLY = ["lo"]


def namespace() -> list[str] | None:
    """The words before a command that give it a network of its own; None: it is not permitted."""
    tool = shutil.which("unshare")
    if tool is None:
        return None
    for flags in (["--net"], ["--user", "--map-root-user", "--net"]):
        tried = subprocess.run([tool, *flags, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return [tool, *flags]
    return None


def offline(prober: Prober) -> Observation:
    """Start the server in a network namespace with a loopback only, ask once, and stop it."""
    words = namespace()
    if words is None:
        return Observation("unknown", "network namespaces are not permitted here")
    setting = prober.setting
    spec = Spec(
        arm=setting.arm,
        model=setting.model,
        cores=setting.cores,
        context_tokens=setting.study.same.context_tokens,
        seed=setting.study.seed,
        block=setting.parameters.block,
        log_path=prober.folder / "probe-offline.log",
        told_path=prober.folder / ".offline-told.json",
        parent_pid=os.getpid(),
        start_s=min(START_S, prober.cap_s),
    )
    file = prober.folder / ".offline.json"
    write_text(file, spec.model_dump_json())
    try:
        said = _run([*words, sys.executable, "-m", "heavyweight.experiments.offline", str(file)],
                    spec.start_s + ANSWER_S)  # fmt: skip
        if not spec.told_path.exists():
            raise ServerError(f"the start without a network failed: {said[-500:]}")
        told = Told.model_validate(json.loads(spec.told_path.read_text("utf-8")))
    finally:
        file.unlink(missing_ok=True)
        spec.told_path.unlink(missing_ok=True)
    return judged(told)


def judged(told: Told) -> Observation:
    """What the server did without a network; unknown where there was one after all."""
    seen = ", ".join(told.interfaces)
    one: Trial = {
        "yes": told.answered,
        "interfaces": seen,
        "outside": told.outside,
        "ready_ms": told.ready_ms,
        "first_token_ms": told.first_token_ms,
        "said": told.error,
    }
    if told.interfaces != ONLY or told.outside == "reached":
        return Observation(
            "unknown", f"there was a network: interfaces {seen}", [one | {"yes": None}]
        )
    if told.answered and told.first_token_ms is not None:
        return Observation(
            "yes",
            f"with {seen} as its only interface it answered, {told.first_token_ms / 1e3:.3g} s"
            " after its start",
            [one],
            told.first_token_ms / 1e3,
            "s to the first token",
        )
    return Observation("no", f"with {seen} as its only interface: {told.error}", [one])


def _run(command: Sequence[str], timeout_s: float) -> str:
    """Run it to its end; what it said. It stops its server itself when it is asked to end."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        return process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return f"it was not done after {timeout_s:.0f} s"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _asked(arm: Arm) -> bool:
    return arm.started and not shipped(arm)


OFFLINE = Mechanism(
    "offline", "Does it start and answer without a network?", offline, _asked, own_start=True
)
