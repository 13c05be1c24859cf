"""Where the lines of a training go: below them runs a progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress

REFRESH_SECONDS = 0.1


class Display:
    """Shows lines and progress on standard output. A context manager, so that the bar goes in the end."""

    def __init__(self) -> None:
        self._progress = _progress_bar() if sys.stdout.isatty() else None
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.add_task("", total=None, note="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def line(self, text: str) -> None:
        """Show a line, at once."""
        if self._progress is None:
            click.echo(text)  # which flushes
        else:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int, note: Callable[[], str]) -> None:
        """Show how far something is, with a note that is asked for only where it is shown."""
        if self._progress is None:
            return
        now = time.monotonic()
        # Drawing costs more than a step of a small network.
        if done == total or now - self._shown >= REFRESH_SECONDS:
            self._shown = now
            self._progress.update(
                self._progress.task_ids[0], description=what, completed=done, total=total, note=note(), refresh=True
            )


def _progress_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
    # Refreshed by hand: a thread that draws would take turns with the training.
    return Progress(*columns, console=Console(file=sys.stdout), auto_refresh=False, transient=True)
