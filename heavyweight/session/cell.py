"""One cell of a session: its load, and beside it what the machine and the server do meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from heavyweight import load
from heavyweight.load.address import is_loopback
from heavyweight.load.bound import told
from heavyweight.paths import ELSEWHERE
from heavyweight.servers import Server
from heavyweight.telemetry.recorder import Recorder


def measure_cell(server: Server, spec: load.LoadSpec, report: load.OnProgress | None) -> Path:
    """Measure one cell, with its telemetry beside it.

    A cell that was finished just when it was interrupted is kept, and so is its telemetry.

    Args:
        server: that the load goes to.
        spec: of the load.
        report: is told how far it is.

    Returns:
        The cell's file.
    """
    host = urlsplit(spec.base_url).hostname or ""
    if not is_loopback(host):
        print(told(spec).replace(host, ELSEWHERE))  # names of machines are not kept
    with Recorder.of(server) as recorder:
        try:
            return load.measure(spec, report)
        finally:
            with _interrupts_held():
                beginning = str(spec.cell["cell_id"])[:12]
                for path in spec.out_dir.glob(f"*-{beginning}.parquet"):
                    recorder.write(path)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """An interrupt that comes while inside takes effect at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
