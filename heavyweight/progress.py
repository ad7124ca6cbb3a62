"""Progress of a session: told by the notebook's kernel, shown by whoever started it.

The kernel writes one small JSON file in the run's folder, replaced as a whole; the runner reads it.
A stop is asked for the other way, by a file that the load generator watches. A runner that was
killed cannot ask: a session stops by itself when the command that waits for it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heavyweight.processes import runner
from heavyweight.text import count_of

STATE_FILE = ".progress.json"
STOP_FILE = ".stop"


class Progress:
    """What one session is doing.

    Args:
        run: the run's folder.
        session: name of the session.
    """

    def __init__(self, run: Path, session: str) -> None:
        self.path = run / STATE_FILE
        self.stop_path = run / STOP_FILE
        self._display: Any = None
        self.state: dict[str, Any] = {"session": session, "phase": "preparing", "error": None}

    def begin(self, cells: int, done: int, unit: str = "loads") -> None:
        """The session begins, with some of its cells measured already; a reader calls them unit."""
        self.state |= {"cells": cells, "cells_done": done, "unit": unit, "users": None}
        self._write()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """While inside, a stop interrupts this (the main) thread.

        It is asked for by the stop file, or the command that waits for this notebook is gone.
        """
        over = threading.Event()
        main, waiting = threading.get_ident(), runner()

        def watch() -> None:
            while not over.wait(0.25):
                if self.stop_path.exists() or (waiting is not None and not waiting.alive()):
                    signal.pthread_kill(main, signal.SIGINT)
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def phase(self, phase: str) -> None:
        """What is being done now."""
        self.state |= {"phase": phase, "users": None, "load": None}
        self._write()

    def cell(self, users: int, load: dict[str, Any]) -> None:
        """A report of the load generator."""
        self.state |= {"phase": load.get("phase", "measure"), "users": users, "load": load}
        self._write()

    def cell_done(self) -> None:
        """A cell is on disk."""
        self.state["cells_done"] = self.state.get("cells_done", 0) + 1
        self._write()

    def fail(self, error: BaseException | str) -> None:
        """The session failed; the message is for the user."""
        self.state |= {"phase": "failed", "error": str(error), "kind": type(error).__name__}
        self._write()

    def end(self) -> None:
        """The session is over."""
        self.phase("stopped")

    def _write(self) -> None:
        self.state["written_s"] = time.time()
        temporary = self.path.with_name(f"{STATE_FILE}.{os.getpid()}")
        with contextlib.suppress(OSError):  # progress is a courtesy: a full disk shows elsewhere
            temporary.write_text(json.dumps(self.state), encoding="utf-8")
            temporary.replace(self.path)
        self._show()

    def _show(self) -> None:
        """One line in the notebook, replaced in place."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if get_ipython() is None:
            return
        text = {"text/plain": line(self.state)}
        if self._display is None:
            self._display = display(text, raw=True, display_id=True)
        else:
            self._display.update(text, raw=True)


def read(run: Path) -> dict[str, Any]:
    """The state last written in a run's folder; empty where there is none."""
    try:
        state: dict[str, Any] = json.loads((run / STATE_FILE).read_text(encoding="utf-8"))
        return state
    except (OSError, json.JSONDecodeError):
        return {}


def line(state: dict[str, Any]) -> str:
    """The state in one line."""
    done = f"{state.get('cells_done', 0)}/{state.get('cells', 0)} {state.get('unit', 'loads')}"
    parts = [state.get("session", ""), done]
    if state.get("users"):
        parts.append(count_of(state["users"], "user"))
    parts.append(str(state.get("phase", "")))
    report = state.get("load") or {}
    if report:
        parts.append(f"{report.get('done', 0)} requests")
        if report.get("errors"):
            parts.append(f"{report['errors']} errors")
        parts.append(f"about {report.get('live_tok_s') or 0:.0f} tok/s")
    return " | ".join(parts)
