"""The kernel's side: start the load generator, relay its progress, take its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heavyweight.errors import Stopped, StudyError
from heavyweight.load.spec import STOPPED, LoadSpec

POLL_S = 0.25
GRACE_S = 10.0  # for the load to discard its cell after a stop

OnProgress = Callable[[dict[str, Any]], None]


def measure(spec: LoadSpec, on_progress: OnProgress | None = None) -> Path:
    """Measure one cell in a process of its own.

    Args:
        spec: what to measure.
        on_progress: called about four times a second with phase, done, errors, in_flight,
            live_tok_s and elapsed_s; in an open loop also with due (requests so far) and late
            (of them, sent more than 1 ms after they were due).

    Returns:
        The cell's file.

    Raises:
        Stopped: the user asked to stop; the cell is discarded.
        StudyError: the cell could not be measured or written; the message is the load's own.
    """
    with tempfile.TemporaryDirectory(prefix="heavyweight-") as folder:
        progress = spec.progress_path or Path(folder, "progress.json")
        progress.unlink(missing_ok=True)
        spec = spec.model_copy(update={"progress_path": progress, "parent_pid": os.getpid()})
        file = Path(folder, "spec.json")
        file.write_text(spec.model_dump_json(), encoding="utf-8")
        with Path(folder, "out").open("w+") as out, Path(folder, "err").open("w+") as err:
            # A session of its own: a Ctrl-C reaches the kernel first, which then stops the load.
            process = subprocess.Popen(
                [sys.executable, "-m", "heavyweight.load", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                _relay(process, progress, on_progress)
            except KeyboardInterrupt as interrupt:
                raise Stopped("the cell was stopped; what was measured is discarded") from interrupt
            finally:
                _end(process)
                progress.unlink(missing_ok=True)
            out.seek(0)
            err.seek(0)
            return _answer(process.returncode, out.read(), err.read())


def _relay(process: subprocess.Popen[bytes], file: Path, on_progress: OnProgress | None) -> None:
    """Hand on the progress until the process ends."""
    while True:
        try:
            process.wait(POLL_S)
            return
        except subprocess.TimeoutExpired:
            pass
        if on_progress is not None:
            try:
                state = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            on_progress(state)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that the process is gone, whatever happened in this one."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answer(code: int, out: str, err: str) -> Path:
    if code == 0:
        return Path(out.strip().splitlines()[-1])
    message = err.strip().splitlines()[-1] if err.strip() else "it said nothing"
    if code == STOPPED:
        raise Stopped(message)
    raise StudyError(f"the load generator failed (exit code {code}): {message}")
