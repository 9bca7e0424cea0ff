"""Live progress of a measurement: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stages.documents.cell import PassKey

_PLAIN_EVERY_S = 10.0


class PassProgress:
    """Counts passes and estimates the time left. The total is an estimate until the end."""

    def __init__(self, title: str, expected_passes: int, done: int = 0) -> None:
        self._title = title
        self._expected = expected_passes
        self._done = self._earlier = done
        self._first_done = self._said = time.monotonic()
        # A shell may ask for colours (FORCE_COLOR); a bar belongs on a terminal that can move.
        self._console = Console(file=sys.stdout, force_terminal=sys.stdout.isatty())
        self._has_bar = self._console.is_terminal and not self._console.is_dumb_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("passes"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._has_bar,
        )
        self._task = self._progress.add_task(title, total=expected_passes, completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        # No line breaks, so that a line can be searched and a path copied.
        line = f"{self._title}: {text}"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def notify(self, problem: str, key: PassKey | None) -> None:
        """Count a finished pass (``key``) and print its problem, if it has one."""
        if problem:
            where = (
                f" ({key.workload}, chunk {key.chunk_size}, {key.phase} {key.run})" if key else ""
            )
            self.say(problem + where)
        if key is None:
            return
        self._done += 1
        if self._done == self._earlier + 1:
            # The server's start is over: estimate the pace from the passes that follow.
            self._first_done = time.monotonic()
        total = max(self._expected, self._done)
        self._progress.update(self._task, completed=self._done, total=total)
        if not self._has_bar:
            self._say_plainly(key, total)

    def _say_plainly(self, key: PassKey, total: int) -> None:
        now = time.monotonic()
        if now - self._said < _PLAIN_EVERY_S and self._done != self._expected:
            return
        self._said = now
        left = ""
        if (here := self._done - self._earlier - 1) > 0:
            pace = (now - self._first_done) / here
            left = f", about {pace * (total - self._done):.0f} s left"
        self.say(f"{key.phase}, {self._done} of about {total} passes{left}")
