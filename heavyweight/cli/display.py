"""One progress display for a study: done, left, current cell, live tok/s."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from heavyweight import progress
from heavyweight.design import Step
from heavyweight.job import Job


class StudyDisplay:
    """Redraws one block of lines on a terminal; elsewhere prints a line where something changed.

    Args:
        job: the study.
        minutes: what a session of each arm should take.
        console: standard error.
    """

    def __init__(self, job: Job, minutes: dict[str, float], console: Console) -> None:
        self.job, self.minutes, self.console = job, minutes, console
        self.loads = {step.name: step.cells for step in job.steps}
        self.total = sum(self.loads.values())
        self.finished = {step.name for step in job.steps} - {step.name for step in job.left()}
        self._session: Step | None = None
        self._session_begun_s = 0.0
        self._last = ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} cells"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self.task = self.bar.add_task(job.folder.run.run, total=self.total, left="")
        self.live = Live(console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def update(self, session: Step, state: dict[str, Any]) -> None:
        """A session reports; called several times a second."""
        if session is not self._session:
            if self._session:
                self.finished.add(self._session.name)
            self._session, self._session_begun_s = session, time.monotonic()
            if not self.console.is_terminal:
                place = len(self.finished - {session.name}) + 1
                self.console.print(
                    f"{session.name} | step {place} of {len(self.job.steps)} | "
                    f"{self._left(session)}",
                    markup=False,
                )
        line = progress.line(state) if state else f"{session.name} | opening"
        if self.console.is_terminal:
            done = sum(self.loads[name] for name in self.finished) + state.get("cells_done", 0)
            self.bar.update(self.task, completed=done, left=self._left(session))
            self.live.update(Group(self.bar, Text(line)))
            return
        stage = line.partition(" requests")[0].rpartition(" | ")[0] if state.get("load") else line
        if stage != self._last:
            self._last = stage
            self.console.print(line, markup=False)

    def _left(self, session: Step) -> str:
        """Minutes left by the plan, less what the running session has used of its own."""
        used = (time.monotonic() - self._session_begun_s) / 60
        others = sum(
            self.minutes.get(other.arm, 0.0)
            for other in self.job.steps
            if other.name not in self.finished and other is not session
        )
        left = max(0.0, self.minutes.get(session.arm, 0.0) - used) + others
        return f"about {left:.0f} min left"
