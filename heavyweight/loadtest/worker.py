"""What runs inside a worker of Dask: its clock, and one part of a load in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from distributed import get_worker
from distributed.comm.addressing import get_address_host

from heavyweight import __version__, load
from heavyweight.load.spec import LoadSpec
from heavyweight.loadtest.clocks import clock_name, serve_clock

_at_work: set[str] = set()


def hello() -> dict[str, str]:
    """Who this worker is: its clock, and the version of this package there."""
    return {"clock": clock_name(), "version": __version__}


def start() -> float:
    """How long a load generator takes to start here, in seconds."""
    began_s = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import heavyweight.load.process"],
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return time.monotonic() - began_s


def open_clock(token: str) -> tuple[str, int]:
    """Serve this worker's clock on the address at which Dask reaches it."""
    host = get_address_host(get_worker().address)
    return host, serve_clock(host, token)


def make_part(spec_json: str, trace: bytes | None, key: str, topic: str) -> dict[str, Any]:
    """Make one part of a load.

    Args:
        spec_json: of :class:`heavyweight.load.LoadSpec`; its folder is replaced.
        trace: content of the file of arrivals, which need not be on this machine.
        key: of this task: when it is cancelled, or its client is gone, the load stops.
        topic: under which progress is told.

    Returns:
        The part's file as bytes, and the CPU time of this worker meanwhile, in seconds.

    Raises:
        Stopped: it was cancelled.
        StudyError: it could not be measured.
    """
    _at_work.add(key)
    try:
        return _make_part(spec_json, trace, key, topic)
    finally:
        _at_work.discard(key)


def at_work(keys: list[str]) -> bool:
    """Whether one of these tasks still runs in this worker, cancelled or not."""
    return not _at_work.isdisjoint(keys)


def _make_part(spec_json: str, trace: bytes | None, key: str, topic: str) -> dict[str, Any]:
    worker, me = get_worker(), psutil.Process()
    used_s = sum(me.cpu_times()[:2])

    def tell(state: dict[str, Any]) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state in ("cancelled", "released", "forgotten"):
            raise KeyboardInterrupt  # as if the user had pressed Ctrl-C here
        worker.log_event(topic, {**state, "part": spec.part})

    with tempfile.TemporaryDirectory(prefix="heavyweight-") as folder:
        spec = LoadSpec.model_validate_json(spec_json)
        changes: dict[str, Any] = {"out_dir": Path(folder)}
        if trace is not None and spec.arrivals is not None and spec.arrivals.trace is not None:
            copy = Path(folder, spec.arrivals.trace.name)
            copy.write_bytes(trace)
            changes["arrivals"] = spec.arrivals.model_copy(update={"trace": copy})
        file = load.measure(spec.model_copy(update=changes), tell)
        return {"file": file.read_bytes(), "cpu_s": sum(me.cpu_times()[:2]) - used_s}
