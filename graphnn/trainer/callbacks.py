"""What may be told of the course of a training, and may end it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphnn.files import require_writable
from graphnn.ops.errors import GraphError
from graphnn.ops.source import caller
from graphnn.trainer.history import EpochRow, Figure, require_figure
from graphnn.trainer.table import HEADER, table_line

if TYPE_CHECKING:
    from graphnn.trainer.loop import Trainer

Phase = Literal["training", "train figures", "test figures"]

OnBatch = Callable[[Phase, int, int], object]
"""What is told of progress after each batch: which pass it is, how many batches are done, and how many there are."""


class Callback:
    """Base of what `Trainer.fit` calls: a subclass defines the methods that it needs.

    A callback that is a function of `Trainer.rows`, with nothing of its own to remember, is exact after a resumption
    from a checkpoint, too. It may call `Trainer.stop`.

    Examples
    --------
    >>> class Threshold(Callback):
    ...     def on_epoch(self, trainer, row):
    ...         if row.test_error < 0.01:
    ...             trainer.stop()
    """

    def on_start(self, trainer: Trainer) -> None:
        """Be told that the training begins; `Trainer.rows` are those of the checkpoint from which it is resumed."""

    def on_batch(self, trainer: Trainer, phase: Phase, done: int, total: int) -> None:
        """Be told that another batch of a pass is done."""

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Be told what an epoch came to; the row is the last one of `Trainer.rows`."""


class Log(Callback):
    """Writes a line an epoch, as ``graphnn train`` does.

    Parameters
    ----------
    write : callable
        What is done with each line.

    Examples
    --------
    >>> lines = []
    >>> log = Log(lines.append)
    """

    def __init__(self, write: Callable[[str], object] = print) -> None:
        self.write = write

    def on_start(self, trainer: Trainer) -> None:
        """Write the header, and the lines of epochs that a checkpoint has."""
        self.write(HEADER)
        for row in trainer.rows:
            self.write(table_line(row))

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Write a line."""
        self.write(table_line(row))


class EarlyStopping(Callback):
    """Ends a training when a figure has not become better for some epochs.

    Parameters
    ----------
    monitor : {"test_loss", "test_error", "train_loss", "train_error"}
        The figure.
    patience : int
        Epochs in a row without a new best one after which to end.
    min_delta : float
        By how much a figure has to fall below the best one to be a new best one.

    Raises
    ------
    GraphError
        If there is no such figure, or a number is out of its range.

    Examples
    --------
    >>> stopping = EarlyStopping("test_error", patience=3)
    """

    def __init__(self, monitor: Figure = "test_loss", patience: int = 5, min_delta: float = 0.0) -> None:
        require_figure(monitor, "EarlyStopping")
        if patience < 1 or not min_delta >= 0:
            raise GraphError(
                f"EarlyStopping: patience is {patience}, min_delta is {min_delta}",
                expected="a patience of 1 epoch or more, and 0 or more",
                where=str(caller()),
            )
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta

    def on_start(self, trainer: Trainer) -> None:
        """End a training that had been ended before its checkpoint."""
        self._look(trainer)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Look whether it is time."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        best, waited = math.inf, 0
        for row in trainer.rows:
            value = row.figure(self.monitor)
            is_better = value < best - self.min_delta or (value < best == math.inf)
            best, waited = (value, 0) if is_better else (best, waited + 1)
        if waited >= self.patience:
            trainer.stop()


class BestCheckpoint(Callback):
    """Keeps the weights of the best epoch in a file, which `graphnn.load` reads.

    Parameters
    ----------
    path : str or Path
        Such as ``"best.safetensors"``; replaced at each new best.
    monitor : {"test_error", "test_loss", "train_error", "train_loss"}
        The figure; of equal ones the first epoch is the best.

    Raises
    ------
    GraphError
        If there is no such figure, or, when a training begins, nothing can be written there.

    Examples
    --------
    >>> keeping = BestCheckpoint("best.safetensors")
    """

    def __init__(self, path: str | Path, monitor: Figure = "test_error") -> None:
        require_figure(monitor, "BestCheckpoint")
        self.path = path
        self.monitor = monitor

    def on_start(self, trainer: Trainer) -> None:
        """Find out before a long training that the file can't be written."""
        require_writable(self.path)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Write the file if the epoch is the best so far."""
        before = min((known.figure(self.monitor) for known in trainer.rows[:-1]), default=None)
        if before is None or row.figure(self.monitor) < before:
            trainer.save(self.path)


class Functions(Callback):
    """Two functions as a callback."""

    def __init__(self, on_epoch: Callable[[EpochRow], object] | None, on_batch: OnBatch | None) -> None:
        self._on_epoch = on_epoch
        self._on_batch = on_batch

    def on_batch(self, trainer: Trainer, phase: Phase, done: int, total: int) -> None:
        """Call the one."""
        if self._on_batch is not None:
            self._on_batch(phase, done, total)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Call the other."""
        if self._on_epoch is not None:
            self._on_epoch(row)
